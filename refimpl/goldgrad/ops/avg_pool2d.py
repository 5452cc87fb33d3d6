"""Average pooling, int8 forward and float32 backward (specs/ops/avg_pool2d.md).

Shapes: x int8 [N, H, W, C], m float32 [1], y int8 [N, OH, OW, C], mask uint8 [N, OH, OW, ceil(C / 8)].
gy is the gradient of the loss with respect to the codes of y, float32 of y's shape.
Global average pooling is the window of the whole map: ``forward(x, m, **global_window(in_hw), ...)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import require
from ..numerics import F32, F64, I8, Array, div32, float32, fma32, requantize
from ..rules import rule
from ._checks import check_gradient, check_operand, check_start, has_axes
from ._function import Type, function
from ._quantization import check_codes, widen
from ._window import Pad, Pair, Window
from .mask import mask_type, pack, unpack

MOST_TAPS = 2**23
"""So many times the largest |x - x_zero|, 255, is still an int32."""


def global_window(in_hw: Sequence[int]) -> dict[str, Any]:
    """Attributes that make the window the whole map: one output, the mean of all pixels."""
    return {"kernel": (in_hw[0], in_hw[1])}


@rule("AVGP-C4", "AVGP-C5")
def _window(in_hw: Sequence[int], kernel: Pair, stride: Pair, pad: Pad, dilation: Pair) -> Window:
    window = Window(tuple(in_hw), kernel, stride, pad, dilation)
    taps = kernel[0] * kernel[1]
    require(taps <= MOST_TAPS, "AVGP-C4", f"a kernel of {kernel} has {taps} taps", f"use at most {MOST_TAPS}")
    unmet = window.unmet()
    require(unmet is None, "AVGP-C5", f"output {unmet} meets no pixel of the map", "pad or dilate less")
    return window


@rule("AVGP-C1", "AVGP-C2", "AVGP-C3")
def types(
    x: Type,
    m: Type,
    *,
    kernel: Pair,
    x_zero: int,
    y_zero: int,
    lo: int = -128,
    hi: int = 127,
    stride: Pair = (1, 1),
    pad: Pad = (0, 0, 0, 0),
    dilation: Pair = (1, 1),
) -> tuple[Type, Type]:
    """Types of y and mask, or the constraint that the operands break."""
    require(has_axes(x, "int8", 4), "AVGP-C1", f"x is {x}", "give int8 [N, H, W, C], no axis empty")
    check_operand("AVGP-C2", "m", m, Type((1,), "float32"))
    check_codes("AVGP-C3", x_zero=x_zero, y_zero=y_zero, lo=lo, hi=hi)
    window = _window(x.shape[1:3], kernel, stride, pad, dilation)
    y = (x.shape[0], *window.out_hw, x.shape[3])
    return Type(y, "int8"), mask_type(y)


def _count(window: Window) -> F64:
    """How many pixels the window of each output meets, [OH, OW, 1]."""
    count = np.zeros((*window.out_hw, 1))
    for _, (oh, ow), _ in window.taps():
        count[oh, ow] += 1
    return count


@rule("AVGP-S2")
def _multiplier(m: F32, count: F64) -> F32:
    """The share of each output's pixels: m divided by how many of them its window meets, float32 [OH, OW, 1]."""
    return div32(m, float32(count))


@rule("AVGP-S1")
def accumulate(
    x: I8,
    *,
    kernel: Pair,
    x_zero: int,
    stride: Pair = (1, 1),
    pad: Pad = (0, 0, 0, 0),
    dilation: Pair = (1, 1),
) -> tuple[F64, F64]:
    """The accumulators, exact integers of y's shape, and how many pixels each output meets, [OH, OW, 1]."""
    window = _window(x.shape[1:3], kernel, stride, pad, dilation)
    codes = widen(x, x_zero)
    acc = np.zeros((x.shape[0], *window.out_hw, x.shape[3]))  # float64: exact below 2^53
    for _, (oh, ow), (ih, iw) in window.taps():
        acc[:, oh, ow] += codes[:, ih, iw]
    return acc, _count(window)


@function("x m", "y mask?", types)
@rule("AVGP-S3", "AVGP-S4", "AVGP-A1", "AVGP-F1")
def forward(
    x: I8,
    m: F32,
    *,
    kernel: Pair,
    x_zero: int,
    y_zero: int,
    lo: int = -128,
    hi: int = 127,
    stride: Pair = (1, 1),
    pad: Pad = (0, 0, 0, 0),
    dilation: Pair = (1, 1),
) -> tuple[I8, Array]:
    """Codes y and their mask: requantize(sum of x - x_zero over the taps that meet the map, m / their number)."""
    acc, count = accumulate(x, kernel=kernel, x_zero=x_zero, stride=stride, pad=pad, dilation=dilation)
    y, mask = requantize(acc, _multiplier(m, count), y_zero, lo, hi)
    return y, pack(mask)


@rule("AVGP-C2", "AVGP-C6")
def types_vjp_x(
    gy: Type,
    mask: Type,
    m: Type,
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
    samples = check_gradient("AVGP-C6", "gy", gy, (*window.out_hw, channels))
    check_operand("AVGP-C6", "mask", mask, mask_type(gy.shape))
    check_operand("AVGP-C2", "m", m, Type((1,), "float32"))
    dx = Type((samples, *in_hw, channels), "float32")
    check_start("AVGP-C6", "dx0", dx0, dx)
    return (dx,)


@function("gy mask m dx0?", "dx", types_vjp_x, aliases="dx=dx0:AVGP-A2")
@rule("AVGP-S5", "AVGP-F1")
def vjp_x(
    gy: F32,
    mask: Array,
    m: F32,
    dx0: F32 | None = None,
    *,
    in_hw: Pair,
    kernel: Pair,
    stride: Pair = (1, 1),
    pad: Pad = (0, 0, 0, 0),
    dilation: Pair = (1, 1),
) -> F32:
    """Gradient of x: from dx0 (or +0), a chain over the outputs that hold the pixel and that the clamp let through."""
    window = _window(in_hw, kernel, stride, pad, dilation)
    share, inside = _multiplier(m, _count(window)), unpack(mask, gy.shape[3])
    dx = np.zeros((gy.shape[0], *in_hw, gy.shape[3]), np.float32) if dx0 is None else dx0.copy()
    for (oh, ow), _, (ih, iw) in window.pixels():
        longer = fma32(gy[:, oh, ow, None, None], share[oh, ow], dx[:, ih, iw])
        dx[:, ih, iw] = np.where(inside[:, oh, ow, None, None], longer, dx[:, ih, iw])
    return dx
