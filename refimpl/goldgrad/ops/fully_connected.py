"""Fully connected layer, int8 forward and float32 backward (specs/ops/fully_connected.md).

Shapes: x int8 [N, ...] with I elements a sample (flattened in raster order), w int8 [O, I], b int32 [O],
m float32 [O], y int8 [N, O], mask uint8 [N, ceil(O / 8)].  Gradients are float32, of the loss with respect to the
integer codes; g is the gradient of the accumulator (after ``mask_scale``), of y's shape.  trained int8 [O, K] and
channels int32 [K] split w: they replace its input channels ``channels``.
"""

from __future__ import annotations

from math import prod

import numpy as np

from ..errors import require
from ..numerics import F32, F64, I8, I32, Array, float32, fma32, requantize
from ..rules import rule
from . import bias_gradient
from ._checks import check_gradient, check_operand, check_start, has_axes, has_channels
from ._function import Shape, Type, function
from ._quantization import check_codes, widen
from ._split_weight import check_split, merge
from .mask import mask_type, pack


@rule("FC-C1", "FC-C2", "FC-C3", "FC-C4", "FC-C7")
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
) -> tuple[Type, Type]:
    """Types of y and mask, or the constraint that the operands break."""
    inputs = _elements(x)
    _check_weight(w)
    require(
        w.shape[1] == inputs,
        "FC-C2",
        f"w has {w.shape[1]} input channels, x has {inputs}",
        "make them equal",
    )
    outputs = w.shape[0]
    require(
        (b, m) == (Type((outputs,), "int32"), Type((outputs,), "float32")),
        "FC-C3",
        f"b is {b}, m is {m}, w has {outputs} output channels",
        "give int32 and float32, one an output channel",
    )
    check_split("FC-C7", w, trained, channels)
    check_codes("FC-C4", x_zero=x_zero, y_zero=y_zero, lo=lo, hi=hi)
    y = (x.shape[0], outputs)
    return Type(y, "int8"), mask_type(y)


@rule("FC-S1")
def accumulate(x: I8, w: I8, b: I32, trained: I8 | None = None, channels: I32 | None = None, *, x_zero: int) -> F64:
    """The accumulators, exact integers in float64 (exact below 2^53), of y's shape."""
    return _flat(widen(x, x_zero)) @ widen(merge(w, trained, channels)).T + b


@function("x w b m trained? channels?", "y mask?", types)
@rule("FC-S2", "FC-S3", "FC-S7", "FC-C6", "FC-A1", "FC-F1")
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
) -> tuple[I8, Array]:
    """y and its mask: requantize(b + sum of (x - x_zero) * w over the input channels)."""
    acc = accumulate(x, w, b, trained, channels, x_zero=x_zero)
    y, mask = requantize(acc, m, y_zero, lo, hi)
    return y, pack(mask)


@rule("FC-C5", "FC-C7")
def types_vjp_x(
    g: Type,
    w: Type,
    dx0: Type | None = None,
    trained: Type | None = None,
    channels: Type | None = None,
    *,
    in_shape: Shape | None = None,
) -> tuple[Type]:
    """Type of dx, or the constraint that the operands break."""
    _check_weight(w)
    shape = in_shape or w.shape[1:]
    require(
        min(shape) >= 1 and prod(shape) == w.shape[1],
        "FC-C2",
        f"in_shape is {in_shape}, w has {w.shape[1]} input channels",
        "give the shape of a sample of x",
    )
    samples = check_gradient("FC-C5", "g", g, w.shape[:1])
    dx = Type((samples, *shape), "float32")
    check_start("FC-C5", "dx0", dx0, dx)
    check_split("FC-C7", w, trained, channels)
    return (dx,)


@function("g w dx0? trained? channels?", "dx", types_vjp_x, aliases="dx=dx0:FC-A2")
@rule("FC-S4", "FC-S7", "FC-A2", "FC-F1")
def vjp_x(
    g: F32,
    w: I8,
    dx0: F32 | None = None,
    trained: I8 | None = None,
    channels: I32 | None = None,
    *,
    in_shape: Shape | None = None,
) -> F32:
    """Gradient of x: from dx0 (or +0), a chain over output channels in ascending order.

    ``in_shape`` is the shape of a sample of x; without it, [I].
    """
    weights = float32(merge(w, trained, channels))
    dx = np.zeros((g.shape[0], w.shape[1]), np.float32) if dx0 is None else _flat(dx0)
    for o in range(w.shape[0]):
        dx = fma32(g[:, o, None], weights[o], dx)
    return dx.reshape(g.shape[0], *(in_shape or w.shape[1:]))


@rule("FC-C5")
def types_vjp_w(g: Type, x: Type, dw0: Type | None = None, *, x_zero: int) -> tuple[Type]:
    """Type of dw, or the constraint that the operands break."""
    inputs = _elements(x)
    check_codes("FC-C4", x_zero=x_zero)
    check_operand("FC-C5", "g", g, Type((x.shape[0], *g.shape[-1:]), "float32"))
    dw = Type((g.shape[1], inputs), "float32")
    check_start("FC-C5", "dw0", dw0, dw)
    return (dw,)


@function("g x dw0?", "dw", types_vjp_w, aliases="dw=dw0:FC-A3")
@rule("FC-S5", "FC-S6", "FC-A3", "FC-F1")
def vjp_w(g: F32, x: I8, dw0: F32 | None = None, *, x_zero: int) -> F32:
    """Gradient of w: from dw0 (or +0), a chain over samples.

    x may hold a slice of the input channels (``save_channels``); dw then has those channels only.
    """
    codes = float32(_flat(widen(x, x_zero)))
    dw = np.zeros((g.shape[1], codes.shape[1]), np.float32) if dw0 is None else dw0
    for n in range(x.shape[0]):
        dw = fma32(g[n, :, None], codes[n], dw)
    return dw


vjp_b = bias_gradient.forward
"""Gradient of b: the sum of g over samples (specs/ops/bias_gradient.md)."""


def _flat(x: Array) -> Array:
    """[N, ...] as [N, I]."""
    return x.reshape(x.shape[0], -1)


def _elements(x: Type) -> int:
    """I, the elements of a sample of x."""
    require(has_channels(x, "int8"), "FC-C1", f"x is {x}", "give int8 [N, ...], no axis empty")
    return prod(x.shape[1:])


def _check_weight(w: Type) -> None:
    require(has_axes(w, "int8", 2), "FC-C1", f"w is {w}", "give int8 [O, I], no axis empty")
