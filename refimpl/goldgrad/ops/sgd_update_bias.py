"""SGD on int32 biases in place, with quantization-aware scaling (specs/ops/sgd_update_bias.md).

Shapes: b int32 [C], db float32 [C], q float32 [C], limit int32 [1], lr float32 [1].
"""

from __future__ import annotations

import numpy as np

from ..errors import require
from ..numerics import F32, I32, mul32, rne
from ..rules import rule
from ._function import Type, function


@rule("UPB-C1", "UPB-C2")
def types(b: Type, db: Type, q: Type, limit: Type, lr: Type) -> tuple[Type]:
    """Type of b_new, or the constraint that the operands break."""
    require(
        b.dtype == "int32" and len(b.shape) == 1 and b.shape[0] >= 1,
        "UPB-C1",
        f"b is {b}",
        "give int32 [C] with at least one channel",
    )
    floats, whole, one = Type(b.shape, "float32"), Type((1,), "int32"), Type((1,), "float32")
    require(
        (db, q, limit, lr) == (floats, floats, whole, one),
        "UPB-C2",
        f"db is {db}, q is {q}, limit is {limit}, lr is {lr}",
        f"give {floats}, {floats}, {whole} and {one}",
    )
    return (b,)


@rule("UPB-C3")
def check_limit(b: I32, q: F32, limit: I32) -> None:
    """Raise unless every bias that trains lies within the limit."""
    (most,) = limit.astype(np.int64)
    within = ((-most - 1 <= b) & (b <= most) | (q == 0)) & (most >= 0)
    c = int(np.argmin(within))
    require(
        bool(within.all()),
        "UPB-C3",
        f"bias {b[c]} of channel {c} lies outside the limit {most}",
        "set q to 0 for a channel that never trains, and give a limit of 0 or more",
    )


@function("b db q limit lr", "b_new", types, aliases="b_new=b:UPB-A1", updates="b")
@rule("UPB-S1", "UPB-S2", "UPB-S3", "UPB-S4", "UPB-F1")
def update(b: I32, db: F32, q: F32, limit: I32, lr: F32) -> I32:
    """b_new = clamp(b + rne(-(lr * q) * db), -limit - 1, limit), in exact integers; b where q is 0."""
    check_limit(b, q, limit)
    (most,) = limit.astype(np.int64)
    delta = rne(mul32(-mul32(lr, q), db))
    b_new: I32 = np.where(q == 0, b, np.clip(b + delta, -most - 1, most)).astype(np.int32)
    return b_new
