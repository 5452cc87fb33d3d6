"""Gradient of an accumulator from the gradient of its codes: mask, then multiply (specs/ops/mask_scale.md).

Shapes: gy float32 [..., C], mask uint8 [..., ceil(C / 8)], m float32 [C], g float32 [..., C].
"""

from __future__ import annotations

import numpy as np

from ..errors import require
from ..numerics import F32, Array, mul32
from ..rules import rule
from ._checks import check_operand, has_channels
from ._function import Type, function
from .mask import mask_type, unpack


@rule("SCALE-C1", "SCALE-C2", "SCALE-C3")
def types(gy: Type, mask: Type, m: Type) -> tuple[Type]:
    """Type of g, or the constraint that the operands break."""
    require(
        has_channels(gy, "float32"),
        "SCALE-C1",
        f"gy is {gy}",
        "give float32 with channels on the last of at least two axes, no axis empty",
    )
    check_operand("SCALE-C2", "mask", mask, mask_type(gy.shape))
    check_operand("SCALE-C3", "m", m, Type(gy.shape[-1:], "float32"))
    return (gy,)


@function("gy mask m", "g", types, aliases="g=gy:SCALE-A1")
@rule("SCALE-S1", "SCALE-S2", "SCALE-A1", "SCALE-F1")
def forward(gy: F32, mask: Array, m: F32) -> F32:
    """g: gy * m[c] where the mask is 1, +0 where it is 0."""
    return np.where(unpack(mask, gy.shape[-1]), mul32(gy, m), np.float32(0))
