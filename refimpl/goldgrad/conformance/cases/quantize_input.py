"""Cases of quantize_input (specs/ops/quantize_input.md)."""

from __future__ import annotations

from ..case import Case
from ..strategies import Draw, cases_of


@cases_of("quantize_input.from_uint8")
def from_uint8(d: Draw) -> Case:
    """Any bytes."""
    x, m = d.integers(d.map_shape(), 0, 255, "uint8"), d.multipliers(1)
    return Case("quantize_input.from_uint8", (x, m), {"x_zero": d.whole(0, 255), "y_zero": d.zero_point()})


@cases_of("quantize_input.from_float32")
def from_float32(d: Draw) -> Case:
    """Any floats: halves are ties, infinities saturate, NaN is the zero point."""
    shape, kind = d.map_shape(), d.of(("halves", "floats", "special", "halves", "special"))
    x = d.halves(shape) if kind == "halves" else d.floats(shape)
    x, m = d.with_specials(x) if kind == "special" else x, d.multipliers(1)
    return Case("quantize_input.from_float32", (x, m), {"y_zero": d.zero_point()})
