"""Float32 arithmetic on scalars in exact fractions: a second opinion that shares nothing with goldgrad.numerics.

Arguments and results are np.float32; what is exact is a Python int or Fraction.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np


def nearest(value: Fraction) -> np.float32:
    """The float32 nearest to a rational that is not 0, ties to even; overflow gives an infinity."""
    exponent = abs(value.numerator).bit_length() - value.denominator.bit_length()
    exponent -= abs(value) < Fraction(2) ** exponent
    unit = max(exponent - 23, -149)  # the last place; subnormals share one
    code = round(value / Fraction(2) ** unit)
    if abs(code) * Fraction(2) ** unit >= 2**128:
        return np.float32(math.copysign(math.inf, value))
    return np.float32(math.copysign(math.ldexp(code, unit), value))


def fma(a: np.float32, b: np.float32, c: np.float32) -> np.float32:
    """a * b + c, rounded once."""
    x, y, z = float(a), float(b), float(c)
    if math.isfinite(x) and math.isfinite(y) and math.isfinite(z):
        value = Fraction(x) * Fraction(y) + Fraction(z)
        if value:
            return nearest(value)
    return np.float32(x * y + z)  # infinities, NaN, and a zero with its sign


def mul(a: np.float32, b: np.float32) -> np.float32:
    """a * b, rounded once."""
    x, y = float(a), float(b)
    if math.isfinite(x) and math.isfinite(y) and x and y:
        return nearest(Fraction(x) * Fraction(y))
    return np.float32(x * y)


def rne(x: np.float32) -> int:
    """Nearest integer, ties to even, saturated to int32; NaN gives 0."""
    if math.isnan(x):
        return 0
    if math.isinf(x):
        return 2**31 - 1 if x > 0 else -(2**31)
    return min(max(round(Fraction(float(x))), -(2**31)), 2**31 - 1)


def clamp(code: int, lo: int, hi: int) -> int:
    """The code in [lo, hi] nearest to ``code``."""
    return min(max(code, lo), hi)


HARD = np.float32([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 1e-38, -1.1754942e-38, 3e38, -3.4028235e38])
"""Zeros, infinities, NaN, subnormals, and numbers that overflow."""


def floats(rng: np.random.Generator, *shape: int, hard: float = 0.0) -> np.ndarray:
    """Random float32 of many magnitudes, a share ``hard`` of them from HARD."""
    plain = rng.standard_normal(shape) * 2.0 ** rng.integers(-20, 20, shape)
    return np.where(rng.random(shape) < hard, rng.choice(HARD, shape), plain.astype(np.float32))


def codes(rng: np.random.Generator, *shape: int, dtype: str = "int8") -> np.ndarray:
    """Random codes over the whole range of the type, its ends often."""
    info = np.iinfo(dtype)
    plain = rng.integers(info.min, info.max + 1, shape)
    return np.where(rng.random(shape) < 0.1, rng.choice([info.min, info.max], shape), plain).astype(dtype)


def packed(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """A random mask of an array of ``shape``, packed, padding bits 0."""
    return np.packbits(rng.random(shape) < 0.7, axis=-1, bitorder="little")
