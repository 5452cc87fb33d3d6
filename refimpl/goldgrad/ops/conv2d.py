"""Two-dimensional convolution, int8 forward and float32 backward (specs/ops/conv2d.md).

Shapes: x int8 [N, H, W, I], w int8 [O, KH, KW, I], b int32 [O], m float32 [O], y int8 [N, OH, OW, O],
mask uint8 [N, OH, OW, ceil(O / 8)].  Gradients are float32, of the loss with respect to the integer
codes; g is the gradient of the accumulator (after ``mask_scale``), of y's shape.
A pointwise convolution is the 1 x 1 case.  trained int8 [O, KH, KW, K] and channels int32 [K] split w: they replace
its input channels ``channels``.
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


@rule("CONV-C1", "CONV-C2", "CONV-C3", "CONV-C4", "CONV-C7")
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
        has_axes(x, "int8", 4) and has_axes(w, "int8", 4),
        "CONV-C1",
        f"x is {x}, w is {w}",
        "give int8 [N, H, W, I] and int8 [O, KH, KW, I], no axis empty",
    )
    require(
        w.shape[3] == x.shape[3],
        "CONV-C2",
        f"w has {w.shape[3]} input channels, x has {x.shape[3]}",
        "make them equal",
    )
    outputs = w.shape[0]
    require(
        (b, m) == (Type((outputs,), "int32"), Type((outputs,), "float32")),
        "CONV-C3",
        f"b is {b}, m is {m}, w has {outputs} output channels",
        "give int32 and float32, one an output channel",
    )
    check_split("CONV-C7", w, trained, channels)
    check_codes("CONV-C4", x_zero=x_zero, y_zero=y_zero, lo=lo, hi=hi)
    window = Window(x.shape[1:3], w.shape[1:3], stride, pad, dilation)
    y = (x.shape[0], *window.out_hw, outputs)
    return Type(y, "int8"), mask_type(y)


@rule("CONV-S1")
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
    window = Window(x.shape[1:3], w.shape[1:3], stride, pad, dilation)
    codes, weights = widen(x, x_zero), widen(w)
    acc = np.zeros((x.shape[0], *window.out_hw, w.shape[0])) + b
    for (kh, kw), (oh, ow), (ih, iw) in window.taps():
        acc[:, oh, ow] += codes[:, ih, iw] @ weights[:, kh, kw].T
    return acc


@function("x w b m trained? channels?", "y mask?", types)
@rule("CONV-S2", "CONV-S3", "CONV-S7", "CONV-C6", "CONV-A1", "CONV-F1")
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


@rule("CONV-C1", "CONV-C5", "CONV-C7")
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
    require(has_axes(w, "int8", 4), "CONV-C1", f"w is {w}", "give int8 [O, KH, KW, I], no axis empty")
    window = Window(in_hw, w.shape[1:3], stride, pad, dilation)
    samples = check_gradient("CONV-C5", "g", g, (*window.out_hw, w.shape[0]))
    dx = Type((samples, *in_hw, w.shape[3]), "float32")
    check_start("CONV-C5", "dx0", dx0, dx)
    check_split("CONV-C7", w, trained, channels)
    return (dx,)


@function("g w dx0? trained? channels?", "dx", types_vjp_x, aliases="dx=dx0:CONV-A2")
@rule("CONV-S4", "CONV-S7", "CONV-F1")
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
    """Gradient of x: from dx0 (or +0), a chain over output channels and, in each, over taps in raster order."""
    window = Window(in_hw, w.shape[1:3], stride, pad, dilation)
    weights = float32(merge(w, trained, channels))
    dx = np.zeros((g.shape[0], *in_hw, w.shape[3]), np.float32) if dx0 is None else dx0.copy()
    for o in range(w.shape[0]):
        for (kh, kw), (oh, ow), (ih, iw) in window.taps():
            dx[:, ih, iw] = fma32(g[:, oh, ow, o, None], weights[o, kh, kw], dx[:, ih, iw])
    return dx


@rule("CONV-C1", "CONV-C4", "CONV-C5")
def types_vjp_w(
    g: Type,
    x: Type,
    dw0: Type | None = None,
    *,
    x_zero: int,
    kernel: Pair,
    stride: Pair = (1, 1),
    pad: Pad = (0, 0, 0, 0),
    dilation: Pair = (1, 1),
) -> tuple[Type]:
    """Type of dw, or the constraint that the operands break."""
    require(has_axes(x, "int8", 4), "CONV-C1", f"x is {x}", "give int8 [N, H, W, I], no axis empty")
    check_codes("CONV-C4", x_zero=x_zero)
    window = Window(x.shape[1:3], kernel, stride, pad, dilation)
    outputs = max((1, *g.shape[-1:]))
    check_operand("CONV-C5", "g", g, Type((x.shape[0], *window.out_hw, outputs), "float32"))
    dw = Type((outputs, *kernel, x.shape[3]), "float32")
    check_start("CONV-C5", "dw0", dw0, dw)
    return (dw,)


@function("g x dw0?", "dw", types_vjp_w, aliases="dw=dw0:CONV-A3")
@rule("CONV-S5", "CONV-S6", "CONV-F1")
def vjp_w(
    g: F32,
    x: I8,
    dw0: F32 | None = None,
    *,
    x_zero: int,
    kernel: Pair,
    stride: Pair = (1, 1),
    pad: Pad = (0, 0, 0, 0),
    dilation: Pair = (1, 1),
) -> F32:
    """Gradient of w: from dw0 (or +0), a chain over samples and, in each, over output pixels in raster order.

    x may hold a slice of the input channels (``save_channels``); dw then has those channels only.
    """
    window = Window(x.shape[1:3], kernel, stride, pad, dilation)
    codes = float32(widen(x, x_zero))
    shape = (g.shape[3], *kernel, x.shape[3])
    dw = np.zeros(shape, np.float32) if dw0 is None else dw0.copy()
    for n in range(x.shape[0]):
        for (oh, ow), (kh, kw), (ih, iw) in window.pixels():
            dw[:, kh, kw] = fma32(g[n, oh, ow, :, None, None, None], codes[n, ih, iw], dw[:, kh, kw])
    return dw


vjp_b = bias_gradient.forward
"""Gradient of b: the sum of g over pixels (specs/ops/bias_gradient.md)."""
