"""Maximum pooling, int8 forward and float32 backward (specs/ops/max_pool2d.md).

Shapes: x int8 [N, H, W, C], y int8 [N, OH, OW, C], mask uint8 [N, OH, OW, ceil(C / 8)],
index uint8 [N, OH, OW, C].  x and y share scale and zero point, so no multiplier takes part.
gy is the gradient of the loss with respect to the codes of y, float32 of y's shape.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import require
from ..numerics import F32, I8, Array, add32, clamp
from ..rules import rule
from ._checks import check_gradient, check_operand, check_start, has_axes
from ._function import Type, function
from ._quantization import check_codes
from ._window import Pad, Pair, Window
from .mask import mask_type, pack, unpack


@rule("MAXP-C3", "MAXP-C4")
def _window(in_hw: Sequence[int], kernel: Pair, stride: Pair, pad: Pad, dilation: Pair) -> Window:
    window = Window(tuple(in_hw), kernel, stride, pad, dilation)
    taps = kernel[0] * kernel[1]
    require(taps <= 256, "MAXP-C3", f"a kernel of {kernel} has {taps} taps", "use at most 256: an index is one byte")
    unmet = window.unmet()
    require(unmet is None, "MAXP-C4", f"output {unmet} meets no pixel of the map", "pad or dilate less")
    return window


@rule("MAXP-C1", "MAXP-C2")
def types(
    x: Type,
    *,
    kernel: Pair,
    lo: int = -128,
    hi: int = 127,
    stride: Pair = (1, 1),
    pad: Pad = (0, 0, 0, 0),
    dilation: Pair = (1, 1),
) -> tuple[Type, Type, Type]:
    """Types of y, mask and index, or the constraint that the operand breaks."""
    require(has_axes(x, "int8", 4), "MAXP-C1", f"x is {x}", "give int8 [N, H, W, C], no axis empty")
    check_codes("MAXP-C2", lo=lo, hi=hi)
    window = _window(x.shape[1:3], kernel, stride, pad, dilation)
    y = (x.shape[0], *window.out_hw, x.shape[3])
    return Type(y, "int8"), mask_type(y), Type(y, "uint8")


@function("x", "y mask? index?", types)
@rule("MAXP-S1", "MAXP-S2", "MAXP-S3", "MAXP-A1", "MAXP-F1")
def forward(
    x: I8,
    *,
    kernel: Pair,
    lo: int = -128,
    hi: int = 127,
    stride: Pair = (1, 1),
    pad: Pad = (0, 0, 0, 0),
    dilation: Pair = (1, 1),
) -> tuple[I8, Array, Array]:
    """Codes y, their mask, and which tap holds the largest code (the first of equals)."""
    window = _window(x.shape[1:3], kernel, stride, pad, dilation)
    shape = (x.shape[0], *window.out_hw, x.shape[3])
    largest = np.full(shape, -129, np.int64)  # below every code: the first tap that meets the map wins
    index = np.zeros(shape, np.uint8)
    for (kh, kw), (oh, ow), (ih, iw) in window.taps():
        wins = x[:, ih, iw] > largest[:, oh, ow]
        largest[:, oh, ow] = np.where(wins, x[:, ih, iw], largest[:, oh, ow])
        index[:, oh, ow] = np.where(wins, kh * kernel[1] + kw, index[:, oh, ow])
    y, mask = clamp(largest, lo, hi)
    return y, pack(mask), index


@rule("MAXP-C5")
def types_vjp_x(
    gy: Type,
    index: Type,
    mask: Type,
    dx0: Type | None = None,
    *,
    in_hw: Pair,
    kernel: Pair,
    stride: Pair = (1, 1),
    pad: Pad = (0, 0, 0, 0),
    dilation: Pair = (1, 1),
) -> tuple[Type]:
    """Type of dx, or the constraint that the operands break."""
    window = _window(in_hw, kernel, stride, pad, dilation)
    channels = max((1, *gy.shape[-1:]))
    samples = check_gradient("MAXP-C5", "gy", gy, (*window.out_hw, channels))
    check_operand("MAXP-C5", "index", index, Type(gy.shape, "uint8"))
    check_operand("MAXP-C5", "mask", mask, mask_type(gy.shape))
    dx = Type((samples, *in_hw, channels), "float32")
    check_start("MAXP-C5", "dx0", dx0, dx)
    return (dx,)


@function("gy index mask dx0?", "dx", types_vjp_x, aliases="dx=dx0:MAXP-A2")
@rule("MAXP-S4", "MAXP-S5", "MAXP-F1")
def vjp_x(
    gy: F32,
    index: Array,
    mask: Array,
    dx0: F32 | None = None,
    *,
    in_hw: Pair,
    kernel: Pair,
    stride: Pair = (1, 1),
    pad: Pad = (0, 0, 0, 0),
    dilation: Pair = (1, 1),
) -> F32:
    """Gradient of x: from dx0 (or +0), gy added for the outputs that the pixel won and that the clamp let through."""
    window = _window(in_hw, kernel, stride, pad, dilation)
    number = np.arange(kernel[0] * kernel[1]).reshape(*kernel, 1)  # of each tap, as index gives it
    inside = unpack(mask, gy.shape[3])
    dx = np.zeros((gy.shape[0], *in_hw, gy.shape[3]), np.float32) if dx0 is None else dx0.copy()
    for (oh, ow), (kh, kw), (ih, iw) in window.pixels():
        won = inside[:, oh, ow, None, None] & (index[:, oh, ow, None, None] == number[kh, kw])
        dx[:, ih, iw] = np.where(won, add32(dx[:, ih, iw], gy[:, oh, ow, None, None]), dx[:, ih, iw])
    return dx
