"""SGD on a float32 master copy, from which the int8 weights are rounded (specs/ops/sgd_update_weight_master.md).

Shapes as in ``sgd_update_weight``; master float32, of dw's shape, in units of codes.
"""

from __future__ import annotations

import numpy as np

from ..errors import require
from ..numerics import F32, I8, I32, fma32
from ..rules import rule
from ._function import Type, function
from ._weight_slice import W_MAX, check_types, factors, put, select
from .sgd_update_weight import round_weight


@rule("UPM-C1")
def types(w: Type, dw: Type, q: Type, lr: Type, master: Type, channels: Type | None = None) -> tuple[Type, Type]:
    """Types of w_new and master_new, or the constraint that the operands break."""
    check_types(w, dw, q, lr, channels)
    require(master == dw, "UPM-C1", f"master is {master}", f"give one float32 for each weight that trains, {dw}")
    return w, master


@function(
    "w dw q lr master channels?",
    "w_new master_new",
    types,
    aliases="w_new=w:UPM-A1 master_new=master:UPM-A2",
    updates="w",
)
@rule("UPM-S1", "UPM-S2", "UPM-S3", "UPM-F1")
def update(w: I8, dw: F32, q: F32, lr: F32, master: F32, channels: I32 | None = None) -> tuple[I8, F32]:
    """master_new = clamp(fma32(-(lr * q), dw, master), -127, 127), +0 for NaN; w_new = rne(master_new)."""
    select(w, channels)  # UPW-C5
    v = fma32(factors(w, q, lr, channels), dw, master)
    master_new = np.where(np.isnan(v), np.float32(0), np.clip(v, np.float32(-W_MAX), np.float32(W_MAX)))
    return put(w, round_weight(master_new), channels), master_new
