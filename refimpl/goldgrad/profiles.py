"""Semantics of others, as named variants of goldgrad's functions (specs/profiles.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import GoldgradError, require, show
from .numerics import (
    F32,
    F64,
    I8,
    I32,
    I64,
    INT32_MAX,
    Array,
    add32,
    clamp,
    div64,
    fixed_multiplier,
    float32,
    half_away,
    mul32,
    sub32,
    truncated,
)
from .ops import avg_pool2d, conv2d, depthwise_conv2d, fully_connected, softmax_cross_entropy
from .ops._quantization import widen
from .ops._weight_slice import along, put, select
from .ops.mask import pack
from .rules import rule

Run = Callable[..., Any]
Rescale = Callable[[F64, Array], I64]
"""Accumulators, channels last, and one multiplier a channel, float32 or float64, to integers at the output's scale."""


@dataclass(frozen=True)
class Profile:
    """A named variant: the functions that differ from goldgrad's."""

    name: str
    about: str
    functions: Mapping[str, Run]


@rule("PROF-S1", "PROF-C4")
def _truncating(acc: F64, m: Array) -> I64:
    product = mul32(float32(acc), m)
    require(
        bool((np.abs(product) < 2.0**31 - 128).all()),
        "PROF-C4",
        "an accumulator times its multiplier leaves int32 with a zero point",
        "give smaller multipliers",
    )
    return truncated(product)


@rule("PROF-S6", "PROF-C1")
def fixed_point(acc: F64, m: Array) -> tuple[I64, I64, I64]:
    """Accumulators, multipliers M up to 2^31, and exponents e."""
    factor, e = fixed_multiplier(m)
    require(bool((e <= 30).all()), "PROF-C1", f"a multiplier has the exponent {e.max()}", "give one below 2^30")
    whole = acc.astype(np.int64)
    require(
        bool((np.abs(whole) << np.maximum(e, 0) <= INT32_MAX).all()),
        "PROF-C1",
        "an accumulator times a power of two leaves int32",
        "give smaller multipliers",
    )
    return whole, factor, e


@rule("PROF-S7")
def _double_rounding(acc: F64, m: Array) -> I64:
    whole, factor, e = fixed_point(acc, m)
    high = ((whole << np.maximum(e, 0)) * factor + (1 << 30)) >> 31
    right = np.maximum(-e, 0)
    result: I64 = (high >> right) + ((high & ((1 << right) - 1)) > (((1 << right) - 1) >> 1) + (high < 0))
    return result


@rule("PROF-S8")
def _single_rounding(acc: F64, m: Array) -> I64:
    whole, factor, e = fixed_point(acc, m)
    result: I64 = ((whole * factor >> (30 - e)) + 1) >> 1
    return result


def _forward(accumulate: Callable[..., F64], rescale: Rescale) -> Run:
    """The forward function of a layer with another last step."""

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
        **geometry: Any,
    ) -> tuple[I8, Array]:
        acc = accumulate(x, w, b, trained, channels, x_zero=x_zero, **geometry)
        y, mask = clamp(rescale(acc, m) + y_zero, lo, hi)
        return y, pack(mask)

    return forward


def _layers(rescale: Rescale) -> dict[str, Run]:
    modules = {"conv2d": conv2d, "depthwise_conv2d": depthwise_conv2d, "fully_connected": fully_connected}
    return {f"{name}.forward": _forward(module.accumulate, rescale) for name, module in modules.items()}


def _sum(codes: Callable[[F64, F64, F32, F32, int], I64]) -> Run:
    """A sum of activations, of operands less their zero points, their multipliers and y's zero point."""

    def forward(
        x1: I8,
        x2: I8,
        m1: F32,
        m2: F32,
        *,
        x1_zero: int,
        x2_zero: int,
        y_zero: int,
        lo: int = -128,
        hi: int = 127,
    ) -> tuple[I8, Array]:
        y, mask = clamp(codes(widen(x1, x1_zero), widen(x2, x2_zero), m1, m2, y_zero), lo, hi)
        return y, pack(mask)

    return forward


@rule("PROF-S9")
def _float_sum(x1: F64, x2: F64, m1: F32, m2: F32, y_zero: int) -> I64:
    total = add32(mul32(float32(x1), m1), mul32(float32(x2), m2))
    return half_away(add32(total, float32(y_zero)).astype(np.float64))


LEFT_SHIFT = 2.0**20
"""What TFLite multiplies the operands of a sum by, so that they keep bits below a code."""


def _fixed_point_sum(rescale: Rescale) -> Run:
    """TFLite's sum of two activations, with one of its roundings."""

    @rule("PROF-S11", "PROF-C3")
    def codes(x1: F64, x2: F64, m1: F32, m2: F32, y_zero: int) -> I64:
        twice = 2.0 * np.maximum(m1, m2).astype(np.float64)  # exact, as is a product with LEFT_SHIFT
        fits = bool((twice > 0).all() and (twice < LEFT_SHIFT).all())
        require(fits, "PROF-C3", f"the multipliers are {m1[0]} and {m2[0]}", "give one above 0, and both below 2^19")
        total = rescale(x1 * LEFT_SHIFT, div64(m1, twice)) + rescale(x2 * LEFT_SHIFT, div64(m2, twice))
        return rescale(total.astype(np.float64), div64(twice, LEFT_SHIFT)) + y_zero

    return _sum(codes)


@rule("PROF-S10")
def _integer_mean(
    x: I8, m: F32, *, x_zero: int, y_zero: int, lo: int = -128, hi: int = 127, **geometry: Any
) -> tuple[I8, Array]:
    total, count = avg_pool2d.accumulate(x, x_zero=0, **geometry)
    y, mask = clamp(half_away(div64(total, count)), lo, hi)  # in float64, no mean is taken for a half that is none
    return y, pack(mask)


@rule("PROF-S2")
def _raw(vjp_w: Run) -> Run:
    def from_raw_codes(*arrays: Any, x_zero: int, **geometry: Any) -> Any:
        return vjp_w(*arrays, x_zero=0, **geometry)

    return from_raw_codes


@rule("PROF-C2")
def _check_finite(gradient: F32) -> None:
    require(bool(np.isfinite(gradient).all()), "PROF-C2", "a gradient is not finite", "give finite ones")


@rule("PROF-S3")
def _wrapping_weight(w: I8, dw: F32, q: F32, lr: F32, channels: I32 | None = None) -> I8:
    _check_finite(dw)
    change = mul32(mul32(dw, along(w, q, channels)), lr)
    v = truncated(sub32(float32(select(w, channels)), change))
    return put(w, v.astype(np.int8), channels)


@rule("PROF-S4")
def _wrapping_bias(b: I32, db: F32, q: F32, limit: I32, lr: F32) -> I32:
    _check_finite(db)
    return (b - truncated(mul32(mul32(db, q), lr))).astype(np.int32)


@rule("PROF-S5")
def _codes_as_logits(loss: Run) -> Run:
    def without_scale(q: I8, target: Array, s: F32) -> Any:
        return loss(q, target, np.ones(1, np.float32))

    return without_scale


def _tflite(rescale: Rescale) -> dict[str, Run]:
    """What TFLite computes otherwise; its maximum is goldgrad's (MAXP-S1)."""
    return {
        **_layers(rescale),
        "add.forward": _fixed_point_sum(rescale),
        "avg_pool2d.forward": _integer_mean,
    }


PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            "tte",
            "the C kernels of the Tiny Training Engine",
            {
                **_layers(_truncating),
                "add.forward": _sum(_float_sum),
                "avg_pool2d.forward": _integer_mean,
                "conv2d.vjp_w": _raw(conv2d.vjp_w),
                "depthwise_conv2d.vjp_w": _raw(depthwise_conv2d.vjp_w),
                "fully_connected.vjp_w": _raw(fully_connected.vjp_w),
                "sgd_update_weight.update": _wrapping_weight,
                "sgd_update_bias.update": _wrapping_bias,
                "softmax_cross_entropy.forward": _codes_as_logits(softmax_cross_entropy.forward),
                "softmax_cross_entropy.from_probabilities": _codes_as_logits(softmax_cross_entropy.from_probabilities),
            },
        ),
        Profile("tflite-double-rounding", "TFLite's fixed point, two roundings", _tflite(_double_rounding)),
        Profile("tflite-single-rounding", "TFLite's fixed point, one rounding", _tflite(_single_rounding)),
    )
}
GOLDGRAD = "goldgrad"


def functions_of(name: str) -> Mapping[str, Run]:
    """The functions of a profile that differ from goldgrad's; none for goldgrad itself."""
    if name == GOLDGRAD:
        return {}
    if name not in PROFILES:
        raise GoldgradError(f"there are no semantics {show(name)}; use {GOLDGRAD}, {', '.join(PROFILES)}")
    return PROFILES[name].functions
