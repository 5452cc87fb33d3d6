"""Sum of two activations, each at a scale of its own, int8 forward and float32 backward (specs/ops/add.md).

Shapes: x1 and x2 int8 [..., C], m1 and m2 float32 [1], y int8 [..., C], mask uint8 [..., ceil(C / 8)].
gy is the gradient of the loss with respect to the codes of y, float32 [..., C].
"""

from __future__ import annotations

import numpy as np

from ..errors import require
from ..numerics import F32, I8, Array, chain, clamp, float32, fma32, rne
from ..rules import rule
from ._checks import SCALAR, check_operand, check_start, has_channels
from ._function import Type, function
from ._quantization import check_codes, widen
from .mask import mask_type, pack, unpack


@rule("ADD-C1", "ADD-C2", "ADD-C3")
def types(
    x1: Type,
    x2: Type,
    m1: Type,
    m2: Type,
    *,
    x1_zero: int,
    x2_zero: int,
    y_zero: int,
    lo: int = -128,
    hi: int = 127,
) -> tuple[Type, Type]:
    """Types of y and mask, or the constraint that the operands break."""
    require(
        x1 == x2 and has_channels(x1, "int8"),
        "ADD-C1",
        f"x1 is {x1}, x2 is {x2}",
        "give int8 of one shape, with channels on the last of at least two axes, no axis empty",
    )
    require(m1 == m2 == SCALAR, "ADD-C2", f"m1 is {m1}, m2 is {m2}", f"give one multiplier each, {SCALAR}")
    check_codes("ADD-C3", x1_zero=x1_zero, x2_zero=x2_zero, y_zero=y_zero, lo=lo, hi=hi)
    return x1, mask_type(x1.shape)


@function("x1 x2 m1 m2", "y mask?", types, aliases="y=x1:ADD-A1 y=x2:ADD-A1")
@rule("ADD-S1", "ADD-S2", "ADD-S3", "ADD-A1", "ADD-F1")
def forward(
    x1: I8,
    x2: I8,
    m1: F32,
    m2: F32,
    *,
    x1_zero: int,
    x2_zero: int,
    y_zero: int,
    lo: int = -128,
    hi: int = 127,
) -> tuple[I8, Array]:
    """y and its mask: clamp(rne(m1 * (x1 - x1_zero) + m2 * (x2 - x2_zero)) + y_zero, lo, hi)."""
    total = chain([m1, m2], [float32(widen(x1, x1_zero)), float32(widen(x2, x2_zero))])
    y, mask = clamp(rne(total) + y_zero, lo, hi)
    return y, pack(mask)


@rule("ADD-C4")
def types_vjp_x(gy: Type, mask: Type, m: Type, dx0: Type | None = None) -> tuple[Type]:
    """Type of dx, or the constraint that the operands break."""
    require(
        has_channels(gy, "float32"),
        "ADD-C4",
        f"gy is {gy}",
        "give the gradient of y, float32 with channels on the last of at least two axes, no axis empty",
    )
    check_operand("ADD-C4", "mask", mask, mask_type(gy.shape))
    check_operand("ADD-C2", "m", m, SCALAR)
    check_start("ADD-C4", "dx0", dx0, gy)
    return (gy,)


@function("gy mask m dx0?", "dx", types_vjp_x, aliases="dx=gy:ADD-A2 dx=dx0:ADD-A2")
@rule("ADD-S4", "ADD-A2", "ADD-F1")
def vjp_x(gy: F32, mask: Array, m: F32, dx0: F32 | None = None) -> F32:
    """Gradient of x1 (with m = m1) or of x2 (with m2): from dx0 (or +0), gy * m added where the mask is 1."""
    start = np.zeros_like(gy) if dx0 is None else dx0
    return np.where(unpack(mask, gy.shape[-1]), fma32(gy, m, start), start)
