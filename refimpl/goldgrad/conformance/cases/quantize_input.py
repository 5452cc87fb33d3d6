"""Cases of quantize_input (specs/ops/quantize_input.md)."""

from __future__ import annotations

import numpy as np

from ..case import Case
from ..strategies import Draw, cases_of


@cases_of("quantize_input.from_uint8")
def from_uint8(d: Draw) -> Case:
    """Any bytes; some are to become codes of the same scale, as an image mostly is: 128 less, or nearly that."""
    x, m = d.integers(d.map_shape(), 0, 255, "uint8"), d.multipliers(1)
    x_zero, y_zero = d.whole(0, 255), d.zero_point()
    if d.of((False, True, False)):
        m, x_zero = np.ones(1, np.float32), min(max(y_zero + 128 + d.of((0, 1, 0)), 0), 255)
    return Case("quantize_input.from_uint8", (x, m), {"x_zero": x_zero, "y_zero": y_zero})


@cases_of("quantize_input.from_float32")
def from_float32(d: Draw) -> Case:
    """Any floats: halves are ties, infinities saturate, NaN is the zero point."""
    shape, kind = d.map_shape(), d.of(("halves", "floats", "special", "halves", "special"))
    x = d.halves(shape) if kind == "halves" else d.floats(shape)
    x, m = d.with_specials(x) if kind == "special" else x, d.multipliers(1)
    return Case("quantize_input.from_float32", (x, m), {"y_zero": d.zero_point()})
