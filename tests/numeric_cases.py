"""Operands that are hard on float32 arithmetic, by the array."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

Triple = tuple[np.ndarray, np.ndarray, np.ndarray]

TINY, LARGEST = 2.0**-149, float(np.finfo(np.float32).max)
SPECIAL = np.float32([0, 1, 1.5, 1 + 2.0**-23, 1 - 2.0**-24, 2.0**-24, TINY, 2.0**-126 - TINY, 2.0**-126])
SPECIAL = np.concatenate([SPECIAL, np.float32([2.0**-75, 2.0**23, 2.0**31, 2.0**64, LARGEST, np.inf, np.nan])])
SPECIAL = np.concatenate([SPECIAL, -SPECIAL])


def f32(x: object) -> np.ndarray:
    """float32, with no word about overflow."""
    with np.errstate(all="ignore"):
        return np.asarray(x, np.float64).astype(np.float32)


def any_bits(rng: np.random.Generator, n: int) -> np.ndarray:
    """All float32 alike: every exponent, infinities and NaN."""
    return rng.integers(0, 2**32, n, dtype=np.uint32).view(np.float32)


def significands(rng: np.random.Generator, n: int) -> np.ndarray:
    """+-[1, 2): 24 random bits."""
    bits = rng.integers(0, 2**24, n, dtype=np.uint32)
    return (bits >> 23 << 31 | bits & 0x7FFFFF | 0x3F800000).view(np.float32)


def _random_bits(rng: np.random.Generator, n: int) -> Triple:
    return any_bits(rng, n), any_bits(rng, n), any_bits(rng, n)


def _one_magnitude(rng: np.random.Generator, n: int) -> Triple:
    """Product and addend within 2^30 of each other: every alignment of their bits."""
    return significands(rng, n), significands(rng, n), np.ldexp(significands(rng, n), rng.integers(-30, 31, n))


def _near_one(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Factors whose product is 1, or differs from 1 by k 2^-23 or by k^2 2^-46, which float64 forgets beside a 1."""
    k, off = rng.integers(0, 64, n), rng.choice([-1, 0, 0, 0, 0, 1], n)
    k *= rng.random(n) < 0.7
    return 1 + k * 2.0**-23, 1 - (k + off) * 2.0**-23


def _halfway(rng: np.random.Generator, n: int) -> Triple:
    """The product is half an ulp of the addend, or a hair more or less."""
    a, b = _near_one(rng, n)
    scale, part = rng.integers(-60, 61, n), rng.integers(-30, 31, n)
    c = np.ldexp(significands(rng, n).astype(np.float64), scale)
    return f32(np.ldexp(a, part)), f32(np.ldexp(b * rng.choice([-1, 1], n), scale - 24 - part)), f32(c)


def _cancellation(rng: np.random.Generator, n: int) -> Triple:
    """The addend is the product with the other sign, rounded to float32, or a neighbour of that."""
    a, b = significands(rng, n), significands(rng, n)
    c = -f32(a.astype(np.float64) * b)
    away = rng.integers(-2, 3, n, dtype=np.int32)
    scale = rng.integers(-60, 61, n)
    c = (c.view(np.int32) + away).view(np.float32)
    return np.ldexp(a, scale), b, np.ldexp(c, scale)


def _subnormal(rng: np.random.Generator, n: int) -> Triple:
    """The result is subnormal or about the smallest normal; often halfway between two subnormals, or nearly so."""
    a, b = _near_one(rng, n)
    b = b * np.where(rng.random(n) < 0.3, significands(rng, n), rng.choice([-3, -1, 1, 3], n))
    scale, part = np.where(rng.random(n) < 0.5, -150, rng.integers(-152, -125, n)), rng.integers(-60, 61, n)
    c = rng.integers(-(2**24), 2**24, n) * (rng.random(n) < 0.8) * TINY
    return f32(np.ldexp(a, part)), f32(np.ldexp(b, scale - part)), f32(c)


def _overflow(rng: np.random.Generator, n: int) -> Triple:
    """The addend is about the largest number; the product about half an ulp of that, or large itself."""
    a, b = _near_one(rng, n)
    scale, part = np.where(rng.random(n) < 0.7, 103, rng.integers(100, 128, n)), rng.integers(30, 71, n)
    c = LARGEST * rng.choice([-1, 1, 1 - 2.0**-24, 0.5, 0], n)
    return f32(np.ldexp(a, part)), f32(np.ldexp(b * rng.choice([-1, 1], n), scale - part)), f32(c)


def _training(rng: np.random.Generator, n: int) -> Triple:
    """What a chain of gradients sees: masked gradients, int8 codes, sums of many magnitudes."""
    a = rng.standard_normal(n) * (rng.random(n) < 0.6)
    return f32(a * 2.0 ** rng.integers(-20, 1, n)), f32(rng.integers(-255, 256, n)), f32(rng.standard_normal(n) * 30)


KINDS: tuple[Callable[[np.random.Generator, int], Triple], ...] = (
    _random_bits,
    _one_magnitude,
    _halfway,
    _cancellation,
    _subnormal,
    _overflow,
    _training,
)


def special_triples() -> Triple:
    """Every three special values."""
    a, b, c = np.meshgrid(SPECIAL, SPECIAL, SPECIAL)
    return a.ravel(), b.ravel(), c.ravel()


def triples(rng: np.random.Generator, each: int, block: int = 2**18) -> Iterator[tuple[str, Triple]]:
    """The special triples, then ``each`` of every kind, in blocks."""
    yield "special", special_triples()
    for kind in KINDS:
        for start in range(0, each, block):
            yield kind.__name__, kind(rng, min(block, each - start))
