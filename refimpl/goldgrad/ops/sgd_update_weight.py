"""SGD on int8 weights in place, with quantization-aware scaling (specs/ops/sgd_update_weight.md).

Shapes: w int8 [O, KH, KW, I], [O, I] or [KH, KW, C]; dw float32, as w with K channels on the last axis; q float32 [O]
(or [C]); lr float32 [1]; channels int32 [K], the channels that train (None: all).
"""

from __future__ import annotations

import numpy as np

from ..numerics import F32, I8, I32, float32, fma32, rne
from ..rules import rule
from ._function import Type, function
from ._weight_slice import W_MAX, check_types, factors, put, select


def types(w: Type, dw: Type, q: Type, lr: Type, channels: Type | None = None) -> tuple[Type]:
    """Type of w_new, or the constraint that the operands break."""
    check_types(w, dw, q, lr, channels)
    return (w,)


@rule("UPW-S2", "UPW-S5")
def round_weight(v: F32) -> I8:
    """Nearest code, ties to even, clamped to [-127, 127]; NaN gives 0."""
    return np.clip(rne(v), -W_MAX, W_MAX).astype(np.int8)


@function("w dw q lr channels?", "w_new", types, aliases="w_new=w:UPW-A1", updates="w")
@rule("UPW-S1", "UPW-S2", "UPW-F1", "UPW-F2")
def update(w: I8, dw: F32, q: F32, lr: F32, channels: I32 | None = None) -> I8:
    """w_new = clamp(rne(fma32(-(lr * q), dw, w)), -127, 127) where it trains, w elsewhere."""
    v = fma32(factors(w, q, lr, channels), dw, float32(select(w, channels)))
    return put(w, round_weight(v), channels)
