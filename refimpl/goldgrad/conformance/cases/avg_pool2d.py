"""Cases of avg_pool2d (specs/ops/avg_pool2d.md)."""

from __future__ import annotations

import numpy as np

from ...numerics import float32
from ..case import Case
from ..strategies import Draw, cases_of
from ._window import large_window, pool_window, share


@cases_of("avg_pool2d.forward")
def forward(d: Draw) -> Case:
    """Any window whose outputs all meet the map, so that the number of pixels in a mean varies; or a large one."""
    if not d.only and d.of((False, False, False, True, False)):
        return large(d)
    s = pool_window(d)
    x, m = d.codes((s.batch, *s.in_hw, s.channels(d))), d.multipliers(1)
    codes = {"x_zero": d.zero_point(), **d.output_codes()}
    return Case("avg_pool2d.forward", (x, m), {"kernel": s.kernel, **codes, **s.geometry})


def large(d: Draw) -> Case:
    """A whole map of more pixels than a byte counts, nearly all at one end of the codes: narrow sums overflow, and the
    mean is well within its range.
    """
    s = large_window(d)
    shape = (1, *s.in_hw, s.channels(d))
    x = np.where(d.random.random(shape) < 0.02, d.codes(shape), np.int8(d.of((-128, 127))))
    m = float32(d.random.uniform(0.2, 0.8, 1))
    codes = {"x_zero": d.of((0, 1, -3)), "y_zero": d.of((0, 3)), "lo": -128, "hi": 127}
    return Case("avg_pool2d.forward", (x, m), {"kernel": s.kernel, **codes, **s.geometry})


@cases_of("avg_pool2d.vjp_x")
def vjp_x(d: Draw) -> Case:
    """Any mask; the chain starts from nothing or from somewhere."""
    s = pool_window(d)
    count = s.channels(d)
    pixels = (s.batch, *s.out_hw)
    arrays = (d.floats((*pixels, count)), d.masks(pixels, count), share(d, s), d.perhaps((s.batch, *s.in_hw, count)))
    return Case("avg_pool2d.vjp_x", arrays, {"in_hw": s.in_hw, "kernel": s.kernel, **s.geometry})
