"""Cases of max_pool2d (specs/ops/max_pool2d.md)."""

from __future__ import annotations

from ..case import Case
from ..strategies import Draw, cases_of
from ._window import pool_window


@cases_of("max_pool2d.forward")
def forward(d: Draw) -> Case:
    """Any window whose outputs all meet the map; small and constant codes make ties."""
    s = pool_window(d)
    x = d.codes((s.batch, *s.in_hw, s.channels(d)))
    return Case("max_pool2d.forward", (x,), {"kernel": s.kernel, **d.output_range(), **s.geometry})


@cases_of("max_pool2d.vjp_x")
def vjp_x(d: Draw) -> Case:
    """Any index: of a tap on the map, in the padding, or of none (MAXP-S5)."""
    s = pool_window(d)
    count = s.channels(d)
    pixels = (s.batch, *s.out_hw)
    index = d.integers((*pixels, count), 0, 255 if d.of((False, False, False, True)) else s.taps - 1, "uint8")
    arrays = (d.floats((*pixels, count)), index, d.masks(pixels, count), d.perhaps((s.batch, *s.in_hw, count)))
    return Case("max_pool2d.vjp_x", arrays, {"in_hw": s.in_hw, "kernel": s.kernel, **s.geometry})
