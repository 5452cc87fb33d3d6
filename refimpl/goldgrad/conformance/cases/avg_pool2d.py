"""Cases of avg_pool2d (specs/ops/avg_pool2d.md)."""

from __future__ import annotations

import numpy as np

from ..case import Case
from ..strategies import Draw, cases_of
from ._window import large_window, pool_window, share


@cases_of("avg_pool2d.forward")
def forward(d: Draw) -> Case:
    """Any window whose outputs all meet the map, so that the number of pixels in a mean varies; some are large, and
    nearly all of their codes at one end, so that narrow sums overflow.
    """
    is_large = not d.only and d.of((False, False, False, True, False))
    s = large_window(d) if is_large else pool_window(d)
    x, m = d.codes((s.batch, *s.in_hw, s.channels(d))), d.multipliers(1)
    if is_large:
        x = np.where(d.random.random(x.shape) < 0.02, x, np.int8(d.of((-128, 127))))
    codes = {"x_zero": d.zero_point(), **d.output_codes()}
    return Case("avg_pool2d.forward", (x, m), {"kernel": s.kernel, **codes, **s.geometry})


@cases_of("avg_pool2d.vjp_x")
def vjp_x(d: Draw) -> Case:
    """Any mask; the chain starts from nothing or from somewhere."""
    s = pool_window(d)
    count = s.channels(d)
    pixels = (s.batch, *s.out_hw)
    arrays = (d.floats((*pixels, count)), d.masks(pixels, count), share(d, s), d.perhaps((s.batch, *s.in_hw, count)))
    return Case("avg_pool2d.vjp_x", arrays, {"in_hw": s.in_hw, "kernel": s.kernel, **s.geometry})
