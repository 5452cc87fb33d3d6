"""Depthwise convolution, int8 forward and float32 backward (specs/ops/depthwise_conv2d.md).

Shapes: x int8 [N, H, W, C], w int8 [KH, KW, C], b int32 [C], m float32 [C], y int8 [N, OH, OW, C],
mask uint8 [N, OH, OW, ceil(C / 8)].  Gradients are float32, of the loss with respect to the integer
codes; g is the gradient of the accumulator (after ``mask_scale``), of y's shape.
Each channel has its own kernel and sees no other channel.  trained int8 [KH, KW, K] and channels int32 [K] split w:
they replace its channels ``channels``.
"""

from __future__ import annotations

import numpy as np

from ..errors import require
from ..numerics import F32, F64, I8, I32, Array, float32, fma32, requantize
from ..rules import rule
from . import bias_gradient
from ._checks import check_gradient, check_operand, check_start, has_axes
from ._function import Type, function
from ._quantization import check_codes, widen
from ._split_weight import check_split, merge
from ._window import Pad, Pair, Window
from .mask import mask_type, pack
from .save_channels import check_channels


@rule("DW-C1", "DW-C2", "DW-C3", "DW-C4", "DW-C8")
def types(
    x: Type,
    w: Type,
    b: Type,
    m: Type,
    trained: Type | None = None,
    channels: Type | None = None,
    *,
    x_zero: int,
    y_zero: int,
    lo: int = -128,
    hi: int = 127,
    stride: Pair = (1, 1),
    pad: Pad = (0, 0, 0, 0),
    dilation: Pair = (1, 1),
) -> tuple[Type, Type]:
    """Types of y and mask, or the constraint that the operands break."""
    require(
        has_axes(x, "int8", 4) and has_axes(w, "int8", 3),
        "DW-C1",
        f"x is {x}, w is {w}",
        "give int8 [N, H, W, C] and int8 [KH, KW, C], no axis empty",
    )
    count = w.shape[2]
    require(
        count == x.shape[3],
        "DW-C2",
        f"w has {count} channels, x has {x.shape[3]}",
        "make them equal",
    )
    require(
        (b, m) == (Type((count,), "int32"), Type((count,), "float32")),
        "DW-C3",
        f"b is {b}, m is {m}, w has {count} channels",
        "give int32 and float32, one a channel",
    )
    check_split("DW-C8", w, trained, channels)
    check_codes("DW-C4", x_zero=x_zero, y_zero=y_zero, lo=lo, hi=hi)
    window = Window(x.shape[1:3], w.shape[:2], stride, pad, dilation)
    y = (x.shape[0], *window.out_hw, count)
    return Type(y, "int8"), mask_type(y)


@rule("DW-S1")
def accumulate(
    x: I8,
    w: I8,
    b: I32,
    trained: I8 | None = None,
    channels: I32 | None = None,
    *,
    x_zero: int,
    stride: Pair = (1, 1),
    pad: Pad = (0, 0, 0, 0),
    dilation: Pair = (1, 1),
) -> F64:
    """The accumulators, exact integers in float64 (exact below 2^53), of y's shape."""
    w = merge(w, trained, channels)
    window = Window(x.shape[1:3], w.shape[:2], stride, pad, dilation)
    codes, weights = widen(x, x_zero), widen(w)
    acc = np.zeros((x.shape[0], *window.out_hw, w.shape[2])) + b
    for (kh, kw), (oh, ow), (ih, iw) in window.taps():
        acc[:, oh, ow] += codes[:, ih, iw] * weights[kh, kw]
    return acc


@function("x w b m trained? channels?", "y mask?", types)
@rule("DW-S2", "DW-S3", "DW-S7", "DW-C6", "DW-A1", "DW-F1")
def forward(
    x: I8,
    w: I8,
    b: I32,
    m: F32,
    trained: I8 | None = None,
    channels: I32 | None = None,
    *,
    x_zero: int,
    y_zero: int,
    lo: int = -128,
    hi: int = 127,
    stride: Pair = (1, 1),
    pad: Pad = (0, 0, 0, 0),
    dilation: Pair = (1, 1),
) -> tuple[I8, Array]:
    """Codes y and their mask: requantize(b + sum of (x - x_zero) * w over the taps that meet the map)."""
    acc = accumulate(x, w, b, trained, channels, x_zero=x_zero, stride=stride, pad=pad, dilation=dilation)
    y, mask = requantize(acc, m, y_zero, lo, hi)
    return y, pack(mask)


@rule("DW-C1", "DW-C5", "DW-C8")
def types_vjp_x(
    g: Type,
    w: Type,
    dx0: Type | None = None,
    trained: Type | None = None,
    channels: Type | None = None,
    *,
    in_hw: Pair,
    stride: Pair = (1, 1),
    pad: Pad = (0, 0, 0, 0),
    dilation: Pair = (1, 1),
) -> tuple[Type]:
    """Type of dx, or the constraint that the operands break."""
    require(has_axes(w, "int8", 3), "DW-C1", f"w is {w}", "give int8 [KH, KW, C], no axis empty")
    window = Window(in_hw, w.shape[:2], stride, pad, dilation)
    samples = check_gradient("DW-C5", "g", g, (*window.out_hw, w.shape[2]))
    dx = Type((samples, *in_hw, w.shape[2]), "float32")
    check_start("DW-C5", "dx0", dx0, dx)
    check_split("DW-C8", w, trained, channels)
    return (dx,)


@function("g w dx0? trained? channels?", "dx", types_vjp_x, aliases="dx=dx0:DW-A2")
@rule("DW-S4", "DW-S7", "DW-F1")
def vjp_x(
    g: F32,
    w: I8,
    dx0: F32 | None = None,
    trained: I8 | None = None,
    channels: I32 | None = None,
    *,
    in_hw: Pair,
    stride: Pair = (1, 1),
    pad: Pad = (0, 0, 0, 0),
    dilation: Pair = (1, 1),
) -> F32:
    """Gradient of x: from dx0 (or +0), a chain over taps in raster order."""
    window = Window(in_hw, w.shape[:2], stride, pad, dilation)
    weights = float32(merge(w, trained, channels))
    dx = np.zeros((g.shape[0], *in_hw, w.shape[2]), np.float32) if dx0 is None else dx0.copy()
    for (kh, kw), (oh, ow), (ih, iw) in window.taps():
        dx[:, ih, iw] = fma32(g[:, oh, ow], weights[kh, kw], dx[:, ih, iw])
    return dx


@rule("DW-C1", "DW-C4", "DW-C5", "DW-C7")
def types_vjp_w(
    g: Type,
    x: Type,
    dw0: Type | None = None,
    channels: Type | None = None,
    *,
    x_zero: int,
    kernel: Pair,
    stride: Pair = (1, 1),
    pad: Pad = (0, 0, 0, 0),
    dilation: Pair = (1, 1),
) -> tuple[Type]:
    """Type of dw, or the constraint that the operands break."""
    require(has_axes(x, "int8", 4), "DW-C1", f"x is {x}", "give int8 [N, H, W, C], no axis empty")
    check_codes("DW-C4", x_zero=x_zero)
    kept = x.shape[3]
    check_start("DW-C7", "channels", channels, Type((kept,), "int32"))
    window = Window(x.shape[1:3], kernel, stride, pad, dilation)
    outputs = kept if channels is None else max((1, *g.shape[-1:]))
    check_operand("DW-C5", "g", g, Type((x.shape[0], *window.out_hw, outputs), "float32"))
    dw = Type((*kernel, kept), "float32")
    check_start("DW-C5", "dw0", dw0, dw)
    return (dw,)


@function("g x dw0? channels?", "dw", types_vjp_w, aliases="dw=dw0:DW-A3")
@rule("DW-S5", "DW-S6", "DW-F1")
def vjp_w(
    g: F32,
    x: I8,
    dw0: F32 | None = None,
    channels: I32 | None = None,
    *,
    x_zero: int,
    kernel: Pair,
    stride: Pair = (1, 1),
    pad: Pad = (0, 0, 0, 0),
    dilation: Pair = (1, 1),
) -> F32:
    """Gradient of w: from dw0 (or +0), a chain over samples and, in each, over output pixels in raster order.

    x may hold a slice of the channels (``save_channels``), ``channels`` of those of g; dw then has those only.
    """
    window = Window(x.shape[1:3], kernel, stride, pad, dilation)
    codes = float32(widen(x, x_zero))
    if channels is not None:
        check_channels(channels, g.shape[3])
        g = g[..., channels]
    dw = np.zeros((*kernel, x.shape[3]), np.float32) if dw0 is None else dw0.copy()
    for n in range(x.shape[0]):
        for (oh, ow), (kh, kw), (ih, iw) in window.pixels():
            dw[kh, kw] = fma32(g[n, oh, ow], codes[n, ih, iw], dw[kh, kw])
    return dw


vjp_b = bias_gradient.forward
"""Gradient of b: the sum of g over pixels (specs/ops/bias_gradient.md)."""
