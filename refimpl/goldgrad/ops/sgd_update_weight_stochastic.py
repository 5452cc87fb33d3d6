"""SGD on int8 weights with stochastic rounding (specs/ops/sgd_update_weight_stochastic.md).

Shapes as in ``sgd_update_weight``; seed int32 [1] and step int32 [1] choose the draws.  With ``dense_channels``, w is
the trained part of a split weight: it, dw and q have K channels, ``channels`` are their numbers in the dense weight.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..errors import require
from ..numerics import F32, I8, I32, float32, fma32
from ..rules import rule
from ._function import Shape, Type, function
from ._weight_slice import W_MAX, check_channels, check_types, factors, put, select

U32 = npt.NDArray[np.uint32]


@rule("UPS-C1", "UPS-C2")
def types(
    w: Type,
    dw: Type,
    q: Type,
    lr: Type,
    seed: Type,
    step: Type,
    channels: Type | None = None,
    *,
    dense_channels: int | None = None,
) -> tuple[Type]:
    """Type of w_new, or the constraint that the operands break."""
    check_types(w, dw, q, lr, channels if dense_channels is None else None)
    kept = w.shape[-1]
    require(
        dense_channels is None or (channels == Type((kept,), "int32") and kept <= dense_channels),
        "UPS-C2",
        f"w is {w}, channels is {channels}, dense_channels is {dense_channels}",
        f"give {Type((kept,), 'int32')}, and at least {kept} dense channels",
    )
    one = Type((1,), "int32")
    require((seed, step) == (one, one), "UPS-C1", f"seed is {seed}, step is {step}", f"give {one} for each")
    return (w,)


@rule("UPS-S3")
def mix(x: U32) -> U32:
    """A bijection of 32-bit words that spreads every input bit over the output."""
    x = x + np.uint32(0x9E3779B9)
    x = (x ^ x >> np.uint32(16)) * np.uint32(0x85EBCA6B)
    x = (x ^ x >> np.uint32(13)) * np.uint32(0xC2B2AE35)
    return x ^ x >> np.uint32(16)


@rule("UPS-S4")
def draws(shape: Shape, seed: I32, step: I32) -> U32:
    """One 32-bit draw an element of the dense weight, a function of seed, step and the element's index alone."""
    index = np.arange(np.prod(shape, dtype=np.int64), dtype=np.uint32).reshape(shape)
    return mix(index ^ mix(step.view(np.uint32) ^ mix(seed.view(np.uint32))))


@rule("UPS-S2", "UPS-S5")
def round_stochastically(v: F32, draw: U32) -> I8:
    """v clamped to [-127, 127], away from zero if draw < fraction of |v| in 32 bits, else towards it; NaN gives 0."""
    size = np.minimum(np.abs(np.nan_to_num(v, nan=0.0)), np.float32(W_MAX)).astype(np.float64)  # from here on exact
    whole = np.floor(size)
    away = draw < np.floor((size - whole) * 2.0**32)
    codes: I8 = np.copysign(whole + away, v).astype(np.int8)
    return codes


@function("w dw q lr seed step channels?", "w_new", types, aliases="w_new=w:UPS-A1", updates="w")
@rule("UPS-S1", "UPS-S6", "UPS-F1")
def update(
    w: I8,
    dw: F32,
    q: F32,
    lr: F32,
    seed: I32,
    step: I32,
    channels: I32 | None = None,
    *,
    dense_channels: int | None = None,
) -> I8:
    """v = fma32(-(lr * q), dw, w) as in sgd_update_weight, rounded up or down by a draw."""
    of = w.shape[-1] if dense_channels is None else dense_channels
    check_channels(channels, of)
    inside = channels if dense_channels is None else None  # which of w's channels train
    v = fma32(factors(w, q, lr, inside), dw, float32(select(w, inside)))
    draw = draws((*w.shape[:-1], of), seed, step)
    return put(w, round_stochastically(v, draw if channels is None else draw[..., channels]), inside)
