"""SGD with momentum on int8 weights (specs/ops/sgd_update_weight_momentum.md).

Shapes as in ``sgd_update_weight``; velocity float32, of dw's shape, in units of the gradient; mu float32 [1].
"""

from __future__ import annotations

from ..errors import require
from ..numerics import F32, I8, I32, fma32
from ..rules import rule
from . import sgd_update_weight
from ._function import Type, function
from ._weight_slice import check_types


@rule("UPMO-C1")
def types(
    w: Type, dw: Type, q: Type, lr: Type, velocity: Type, mu: Type, channels: Type | None = None
) -> tuple[Type, Type]:
    """Types of w_new and velocity_new, or the constraint that the operands break."""
    check_types(w, dw, q, lr, channels)
    require(
        (velocity, mu) == (dw, Type((1,), "float32")),
        "UPMO-C1",
        f"velocity is {velocity}, mu is {mu}",
        f"give one float32 for each weight that trains, {dw}, and float32[1]",
    )
    return w, velocity


@function(
    "w dw q lr velocity mu channels?",
    "w_new velocity_new",
    types,
    aliases="w_new=w:UPMO-A1 velocity_new=velocity:UPMO-A2",
    updates="w",
)
@rule("UPMO-S1", "UPMO-S2", "UPMO-S3", "UPMO-F1")
def update(w: I8, dw: F32, q: F32, lr: F32, velocity: F32, mu: F32, channels: I32 | None = None) -> tuple[I8, F32]:
    """velocity_new = fma32(mu, velocity, dw); w_new is sgd_update_weight's with velocity_new for dw."""
    velocity_new = fma32(mu, velocity, dw)
    return sgd_update_weight.update(w, velocity_new, q, lr, channels), velocity_new
