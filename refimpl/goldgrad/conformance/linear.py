"""The linear part of each forward function, written again: what a vjp must be the adjoint of.

A function of the operator table whose result is a gradient is the transpose of a linear map J, which is the
derivative of the exact accumulator (rounding and clamp left out, the mask as given).  Here J is applied to a tangent
in float64, by padding with zeros and sliding windows instead of the interpreter's taps, so that a fault of the one is
not a fault of the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..numerics import F64
from ..ops._window import Pad, Pair
from .case import Case


@dataclass(frozen=True)
class Linear:
    """The map whose transpose a function is: ``apply(case, made_of(case), tangent)`` has the cotangent's shape."""

    cotangent: str
    """The operand that is the gradient coming in."""
    made_of: Callable[[Case], F64]
    """The array of factors that J multiplies with: weights, or codes less their zero point."""
    apply: Callable[[Case, F64, F64], F64]
    terms: Callable[[Case], int]
    """No element of the gradient is a sum of more terms."""


LINEAR: dict[str, Linear] = {}
"""By function."""


def exact(case: Case, name: str) -> F64:
    """An operand in float64."""
    array = case.operands[name]
    assert array is not None
    return array.astype(np.float64)


def weight(case: Case) -> F64:
    """The weight, the channels that train in their place."""
    w, channels = exact(case, "w"), case.operands["channels"]
    if channels is not None:
        w[..., channels] = exact(case, "trained")
    return w


def shape(case: Case, name: str) -> tuple[int, ...]:
    """An operand's shape."""
    return exact(case, name).shape


def windows(
    x: F64,
    kernel: Pair,
    stride: Pair = (1, 1),
    pad: Pad = (0, 0, 0, 0),
    dilation: Pair = (1, 1),
    fill: float = 0.0,
) -> F64:
    """[N, H, W, C] to [N, OH, OW, C, KH, KW]: what each tap of each output sees, ``fill`` where it sees padding."""
    padded = np.pad(x, ((0, 0), pad[:2], pad[2:], (0, 0)), constant_values=fill)
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    seen = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(1, 2))
    return seen[:, :: stride[0], :: stride[1], :, :: dilation[0], :: dilation[1]]


def geometry(case: Case) -> dict[str, Any]:
    """Stride, padding and dilation, as far as the case has them."""
    return {name: case.attributes[name] for name in ("stride", "pad", "dilation") if name in case.attributes}


def _convolve(case: Case, x: F64, w: F64) -> F64:
    seen = windows(x, (w.shape[1], w.shape[2]), **geometry(case))
    return np.tensordot(seen, w, axes=((3, 4, 5), (3, 1, 2)))


LINEAR["conv2d.vjp_x"] = Linear(
    cotangent="g",
    made_of=weight,
    apply=lambda case, w, v: _convolve(case, v, w),
    terms=lambda case: math.prod(shape(case, "w")[:3]),
)
LINEAR["conv2d.vjp_w"] = Linear(
    cotangent="g",
    made_of=lambda case: exact(case, "x") - case.attributes["x_zero"],
    apply=_convolve,
    terms=lambda case: math.prod(shape(case, "g")[:3]),
)
LINEAR["bias_gradient.forward"] = Linear(
    cotangent="g",
    made_of=lambda case: np.ones(shape(case, "g")),
    apply=lambda case, ones, v: ones * v,
    terms=lambda case: math.prod(shape(case, "g")[:-1]),
)


def _depthwise(case: Case, x: F64, w: F64) -> F64:
    product: F64 = np.einsum("nhwckl,klc->nhwc", windows(x, (w.shape[0], w.shape[1]), **geometry(case)), w)
    return product


def _sliced(case: Case, x: F64, w: F64) -> F64:
    """The accumulators of the channels that the slice has; those of the others do not depend on its weights."""
    channels = case.operands["channels"]
    if channels is None:
        return _depthwise(case, x, w)
    result = np.zeros(shape(case, "g"))
    result[..., channels] = _depthwise(case, x, w)
    return result


LINEAR["depthwise_conv2d.vjp_x"] = Linear(
    cotangent="g",
    made_of=weight,
    apply=lambda case, w, v: _depthwise(case, v, w),
    terms=lambda case: math.prod(shape(case, "w")[:2]),
)
LINEAR["depthwise_conv2d.vjp_w"] = Linear(
    cotangent="g",
    made_of=lambda case: exact(case, "x") - case.attributes["x_zero"],
    apply=_sliced,
    terms=lambda case: math.prod(shape(case, "g")[:3]),
)
LINEAR["fully_connected.vjp_x"] = Linear(
    cotangent="g",
    made_of=weight,
    apply=lambda case, w, v: v @ w.T,
    terms=lambda case: shape(case, "w")[0],
)
LINEAR["fully_connected.vjp_w"] = Linear(
    cotangent="g",
    made_of=lambda case: exact(case, "x") - case.attributes["x_zero"],
    apply=lambda case, x, v: x @ v.T,
    terms=lambda case: shape(case, "g")[0],
)


def _through(case: Case, cotangent: str) -> F64:
    """1 where the clamp let the element through, 0 elsewhere; read bit by bit."""
    mask, size = case.operands["mask"], shape(case, cotangent)
    assert mask is not None
    channel = np.arange(size[-1])
    bits: F64 = (mask[..., channel // 8] >> (channel % 8).astype(np.uint8) & 1).astype(np.float64)
    return bits


LINEAR["mask_scale.forward"] = Linear(
    cotangent="gy",
    made_of=lambda case: _through(case, "gy") * exact(case, "m"),
    apply=lambda case, factors, v: factors * v,
    terms=lambda case: 1,
)
LINEAR["add.vjp_x"] = Linear(
    cotangent="gy",
    made_of=lambda case: _through(case, "gy") * exact(case, "m"),
    apply=lambda case, factors, v: factors * v,
    terms=lambda case: 1,
)


def _shares(case: Case) -> F64:
    """Of each output: the multiplier, divided by how many pixels its window sees; 0 where the clamp held it."""
    ones = np.ones((1, *case.attributes["in_hw"], 1))
    pixels = windows(ones, case.attributes["kernel"], **geometry(case)).sum(axis=(4, 5))
    shares: F64 = _through(case, "gy") * exact(case, "m") / pixels
    return shares


def _means(case: Case, shares: F64, v: F64) -> F64:
    sums: F64 = windows(v, case.attributes["kernel"], **geometry(case)).sum(axis=(4, 5))
    return shares * sums


LINEAR["avg_pool2d.vjp_x"] = Linear(
    cotangent="gy",
    made_of=_shares,
    apply=lambda case, shares, v: shares * windows(v, case.attributes["kernel"], **geometry(case)).sum(axis=(4, 5)),
    terms=lambda case: math.prod(case.attributes["kernel"]) + 1,
)


def _winners(case: Case, through: F64, v: F64) -> F64:
    """The tangent at the tap that the index names; padding and taps that there are not have none."""
    seen = windows(v, case.attributes["kernel"], **geometry(case))
    seen = seen.reshape(*seen.shape[:4], -1)
    index = exact(case, "index").astype(int)[..., None]
    named = np.take_along_axis(seen, np.minimum(index, seen.shape[4] - 1), axis=4)
    won: F64 = np.where(index < seen.shape[4], named, 0)[..., 0]
    return through * won


LINEAR["max_pool2d.vjp_x"] = Linear(
    cotangent="gy",
    made_of=lambda case: _through(case, "gy"),
    apply=_winners,
    terms=lambda case: math.prod(case.attributes["kernel"]),
)
