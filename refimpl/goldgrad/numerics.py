"""The only place that rounds: float32 as a Cortex-M7 computes it (specs/numerics.md).

Every function works element by element on NumPy arrays and broadcasts.  Floats are float32 in and
out; float64 appears only inside, where it is exact.  Nothing here depends on the order in which NumPy
sums: reductions are chains of :func:`fma32`, one rounding a step, in the order the caller writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .rules import rule

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I8 = npt.NDArray[np.int8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
Array = npt.NDArray[Any]

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
quiet = np.errstate(all="ignore")
"""Overflow, underflow and NaN are results here, not events: no NumPy warning."""


@rule("NUM-N1")
@quiet
def float32(x: npt.ArrayLike) -> F32:
    """Nearest float32, ties to even, of an integer (exact below 2^53) or float64."""
    return np.asarray(x).astype(np.float64).astype(np.float32)


@rule("NUM-N2")
@quiet
def mul32(a: npt.ArrayLike, b: npt.ArrayLike) -> F32:
    """a * b, rounded once."""
    return np.multiply(_f32(a), _f32(b))


@rule("NUM-N2")
@quiet
def add32(a: npt.ArrayLike, b: npt.ArrayLike) -> F32:
    """a + b, rounded once."""
    return np.add(_f32(a), _f32(b))


@rule("NUM-N2")
@quiet
def sub32(a: npt.ArrayLike, b: npt.ArrayLike) -> F32:
    """a - b, rounded once."""
    return np.subtract(_f32(a), _f32(b))


@rule("NUM-N2")
@quiet
def div32(a: npt.ArrayLike, b: npt.ArrayLike) -> F32:
    """a / b, rounded once."""
    return np.divide(_f32(a), _f32(b))


@rule("NUM-N3")
@quiet
def fma32(a: npt.ArrayLike, b: npt.ArrayLike, c: npt.ArrayLike) -> F32:
    """a * b + c with one rounding, as VFMA.F32 and C's fmaf.

    The product of two float32 is exact in float64.  Its sum with c is rounded there, and the
    two-sum recovers what that rounding lost; where it lost something and the last bit is even, the
    neighbour towards the true sum has an odd one ("round to odd").  53 bits rounded to odd and then
    to 24 or fewer give the same as one rounding of the exact value.
    """
    product = np.multiply(_f32(a), _f32(b), dtype=np.float64)
    addend = np.asarray(_f32(c), dtype=np.float64)
    total = np.atleast_1d(product + addend)
    back = total - product
    lost = (product - (total - back)) + (addend - back)  # two-sum: total + lost is the exact value
    bits = total.view(np.int64)
    inexact = (lost != 0) & ((bits & 1) == 0) & np.isfinite(total)
    outward = (lost > 0) == (total > 0)  # the exact value is farther from zero than the rounded one
    bits += np.where(outward, 1, -1) * inexact
    return total.astype(np.float32).reshape(np.shape(product + addend))


@rule("NUM-N4")
def chain(a: Sequence[Any] | Array, b: Sequence[Any] | Array, start: npt.ArrayLike = 0.0) -> F32:
    """start, then fma32(a[i], b[i], sum) for i = 0, 1, ...: the ordered reduction along axis 0."""
    total = float32(start)
    for left, right in zip(a, b, strict=True):
        total = fma32(left, right, total)
    return total


@rule("NUM-N5")
@quiet
def rne(x: npt.ArrayLike) -> I64:
    """Nearest integer, ties to even, saturated to int32; NaN gives 0 (VCVTN.S32.F32).

    Returned as int64 so that what is added next cannot wrap.
    """
    rounded = np.rint(_f32(x)).astype(np.float64)
    return np.nan_to_num(np.clip(rounded, INT32_MIN, INT32_MAX), nan=0.0).astype(np.int64)


@rule("NUM-N6")
def requantize(acc: npt.ArrayLike, m: npt.ArrayLike, zero: int, lo: int, hi: int) -> tuple[I8, Array]:
    """int32 accumulators to int8 codes, and where the clamp let them through.

    y = clamp(rne(float32(acc) * m) + zero, lo, hi); the mask is True where the value before the
    clamp lies in [lo, hi].
    """
    return clamp(rne(mul32(float32(acc), m)) + zero, lo, hi)


@rule("NUM-N6")
def clamp(code: I64, lo: int, hi: int) -> tuple[I8, Array]:
    """The last step of requantization: exact integers to int8 codes in [lo, hi], and where they were inside already."""
    return np.clip(code, lo, hi).astype(np.int8), (lo <= code) & (code <= hi)


@rule("NUM-N7")
def saturate(x: npt.ArrayLike, lo: int = INT32_MIN, hi: int = INT32_MAX) -> I64:
    """An exact integer, clamped to [lo, hi]."""
    return np.clip(np.asarray(x, dtype=np.int64), lo, hi)


@rule("NUM-N8")
@quiet
def multiplier(numerator: npt.ArrayLike, denominator: npt.ArrayLike = 1.0) -> F32:
    """numerator / denominator of scales in float64, rounded to float32 once: a constant of the compiled model."""
    return (np.asarray(numerator, np.float64) / np.asarray(denominator, np.float64)).astype(np.float32)


@rule("NUM-N9")
def same_bits(a: Array, b: Array) -> Array:
    """True where a and b are the same value of the same type: equal bits, any two NaNs alike (NUM-N9)."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return np.zeros(np.broadcast_shapes(a.shape, b.shape), dtype=bool)
    if a.dtype != np.float32:
        return np.asarray(a == b)
    bits = np.ascontiguousarray(a).view(np.int32) == np.ascontiguousarray(b).view(np.int32)
    return bits | (np.isnan(a) & np.isnan(b))


def _f32(x: npt.ArrayLike) -> F32:
    """x as float32 without changing it: a float32 array, or a Python number that float32 holds exactly."""
    array = np.asarray(x)
    return array if array.dtype == np.float32 else array.astype(np.float32)


def rne_exact(x: npt.ArrayLike) -> F64:
    """The nearest integer of a float64, ties to even: for constants made at compile time, not for the device."""
    return np.rint(np.asarray(x, np.float64))
