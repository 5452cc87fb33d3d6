"""What the weight updates share: operands, layouts, and the slice that trains (specs/ops/sgd_update_weight.md)."""

from __future__ import annotations

import numpy as np

from ..errors import require
from ..numerics import F32, I8, I32, mul32
from ..rules import rule
from ._function import Shape, Type

W_MAX = 127
"""Weights are symmetric: codes in [-127, 127]."""


@rule("UPW-S4")
def scale_axis(shape: Shape) -> int:
    """The axis with a scale an element: the first of OHWI and OI, the last of HWC.  Slices lie along the last."""
    return -1 if len(shape) == 3 else 0


@rule("UPW-C1", "UPW-C2", "UPW-C3", "UPW-C4")
def check_types(w: Type, dw: Type, q: Type, lr: Type, channels: Type | None) -> None:
    """Raise unless the operands that every weight update has fit each other."""
    require(
        w.dtype == "int8" and len(w.shape) in (2, 3, 4) and min(w.shape) >= 1,
        "UPW-C1",
        f"w is {w}",
        "give int8 [O, KH, KW, I], [O, I] or [KH, KW, C], no axis empty",
    )
    of = w.shape[-1]
    require(
        channels is None or (channels.dtype == "int32" and len(channels.shape) == 1 and 1 <= channels.shape[0] <= of),
        "UPW-C4",
        f"channels is {channels}, w has {of} on its last axis",
        f"give int32 [K] with K from 1 to {of}, or nothing for all",
    )
    compact = Type((*w.shape[:-1], of if channels is None else channels.shape[0]), "float32")
    require(dw == compact, "UPW-C2", f"dw is {dw}", f"give the gradient of the channels that train, {compact}")
    factors = Type((w.shape[scale_axis(w.shape)],), "float32")
    require(
        (q, lr) == (factors, Type((1,), "float32")),
        "UPW-C3",
        f"q is {q}, lr is {lr}",
        f"give {factors}, one a scale of w, and float32[1]",
    )


@rule("UPW-C5")
def check_channels(channels: I32 | None, of: int) -> None:
    """Raise unless ``channels`` ascends strictly from 0 or more to less than ``of``."""
    require(
        channels is None or bool((np.diff(channels) > 0).all() and channels[0] >= 0 and channels[-1] < of),
        "UPW-C5",
        f"channels is {None if channels is None else channels.tolist()}",
        f"list each channel once, in ascending order, from 0 to {of - 1}",
    )


@rule("UPW-S1")
def factors(w: I8, q: F32, lr: F32, channels: I32 | None) -> F32:
    """k = -(lr * q), shaped to multiply the gradient of the channels that train."""
    return along(w, -mul32(lr, q), channels)


@rule("UPW-S4")
def along(w: I8, scales: F32, channels: I32 | None) -> F32:
    """One number a scale of w, shaped to multiply the gradient of the channels that train."""
    if scale_axis(w.shape) == 0:
        return scales.reshape(-1, *[1] * (w.ndim - 1))
    return scales if channels is None else scales[channels]


@rule("UPW-S3")
def select(w: I8, channels: I32 | None) -> I8:
    """The elements of w that train, in the order of dw."""
    check_channels(channels, w.shape[-1])
    return w if channels is None else w[..., channels]


@rule("UPW-S3", "UPW-F1")
def put(w: I8, codes: I8, channels: I32 | None) -> I8:
    """A copy of w in which the elements that train are ``codes``; frozen elements keep every bit."""
    result = w.copy()
    result[..., slice(None) if channels is None else channels] = codes
    return result
