"""Mask, scale, sum and step of a bias, in one pass over a gradient (specs/ops/bias_step.md).

Shapes: gy float32 [..., C], mask uint8 [..., ceil(C / 8)], m and q float32 [C], b int32 [C], limit int32 [1],
lr float32 [1], b_new int32 [C], g float32 [..., C].
"""

from __future__ import annotations

from ..errors import require
from ..numerics import F32, I32, Array
from ..rules import rule
from . import bias_gradient, mask_scale, sgd_update_bias
from ._function import Type, function


@rule("STEP-C1")
def types(gy: Type, mask: Type, m: Type, b: Type, q: Type, limit: Type, lr: Type) -> tuple[Type, Type]:
    """Types of b_new and g, or the constraint that the operands break."""
    (g,) = mask_scale.types(gy, mask, m)
    (db,) = bias_gradient.types(g)
    (b_new,) = sgd_update_bias.types(b, Type(b.shape, db.dtype), q, limit, lr)
    require(b.shape == db.shape, "STEP-C1", f"gy is {gy}, b is {b}", f"give a bias for each of {gy.shape[-1]} channels")
    return b_new, g


@function("gy mask m b q limit lr", "b_new g", types, aliases="b_new=b:STEP-A1 g=gy:STEP-A2", updates="b")
@rule("STEP-S1", "STEP-A1", "STEP-A2", "STEP-F1")
def update(gy: F32, mask: Array, m: F32, b: I32, q: F32, limit: I32, lr: F32) -> tuple[I32, F32]:
    """b_new and g: what mask_scale, bias_gradient and sgd_update_bias give one after the other."""
    g = mask_scale.forward(gy, mask, m)
    return sgd_update_bias.update(b, bias_gradient.forward(g), q, limit, lr), g
