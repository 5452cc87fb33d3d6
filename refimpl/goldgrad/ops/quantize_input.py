"""An image to int8 codes of the network's input (specs/ops/quantize_input.md).

Shapes: x uint8 or float32 of any shape, m float32 [1], y int8 of x's shape.  There is no gradient: nothing before
the image trains.
"""

from __future__ import annotations

from ..errors import require
from ..numerics import F32, I8, Array, clamp, mul32, requantize, rne
from ..rules import rule
from ._checks import SCALAR, check_operand
from ._function import Type, function
from ._quantization import check_codes, widen


@rule("QIN-C1", "QIN-C2", "QIN-C3", "QIN-C4")
def types_from_uint8(x: Type, m: Type, *, x_zero: int, y_zero: int) -> tuple[Type]:
    """Type of y, or the constraint that the operands break."""
    require(0 <= x_zero <= 255, "QIN-C4", f"x_zero is {x_zero}", "give the byte that means 0, from 0 to 255")
    return _types(x, m, y_zero, "uint8")


@function("x m", "y", types_from_uint8, aliases="y=x:QIN-A1")
@rule("QIN-S1", "QIN-A1", "QIN-F1")
def from_uint8(x: Array, m: F32, *, x_zero: int, y_zero: int) -> I8:
    """y: requantize(x - x_zero) over all int8 codes; m is s_x / s_y."""
    return requantize(widen(x, x_zero), m, y_zero, -128, 127)[0]


@rule("QIN-C1", "QIN-C2", "QIN-C3")
def types_from_float32(x: Type, m: Type, *, y_zero: int) -> tuple[Type]:
    """Type of y, or the constraint that the operands break."""
    return _types(x, m, y_zero, "float32")


@function("x m", "y", types_from_float32, aliases="y=x:QIN-A2")
@rule("QIN-S2", "QIN-A2", "QIN-F1")
def from_float32(x: F32, m: F32, *, y_zero: int) -> I8:
    """y: clamp(rne(x * m) + y_zero, -128, 127); m is 1 / s_y."""
    return clamp(rne(mul32(x, m)) + y_zero, -128, 127)[0]


def _types(x: Type, m: Type, y_zero: int, dtype: str) -> tuple[Type]:
    require(
        x.dtype == dtype and len(x.shape) >= 1 and min(x.shape) >= 1,
        "QIN-C1",
        f"x is {x}",
        f"give {dtype} with samples on the first axis, no axis empty",
    )
    check_operand("QIN-C2", "m", m, SCALAR)
    check_codes("QIN-C3", y_zero=y_zero)
    return (Type(x.shape, "int8"),)
