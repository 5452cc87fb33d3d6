"""Fit the polynomials of exp32 and log32 (NUM-N10, NUM-N11) and print their constants.

    python specs/tools/fit_exp_log.py

Weighted least squares on Chebyshev nodes, in 60 digits, of the relative error of the whole function: within a small
factor of the best that the degree allows.  The coefficients are rounded to float32 one after the other, lowest power
first; after each, the others are fitted again and so make up for its rounding.  Needs mpmath (the ``test`` extra) and
nothing of this package: what it prints stands in specs/numerics.md, and a test compares.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import mpmath as mp

Real = mp.mpf
Function = Callable[[Real], Real]

mp.mp.dps = 60
NODES = 120
LN2 = mp.log(2)

EXP_TERMS = 5
EXP_REACH = mp.mpf("0.3467")
"""A little over ln2 / 2: the n of NUM-N10 comes from a rounded product."""

LOG_TERMS = 9
LOG_LOW, LOG_HIGH = mp.sqrt(mp.mpf(1) / 2) - 1, mp.sqrt(2) - 1


def exp_target(r: Real) -> Real:
    """Return q in exp(r) = 1 + r + r^2 q(r)."""
    return (mp.expm1(r) - r) / r**2


def log_target(f: Real) -> Real:
    """Return q in log(1 + f) = f + f^2 q(f)."""
    return (mp.log1p(f) - f) / f**2


def round32(x: Real) -> Real:
    """Nearest float32 (every constant here is in the normal range)."""
    return mp.mpf(struct.unpack("f", struct.pack("f", float(x)))[0])


def hex32(x: Real) -> str:
    """Write a float32 as C and float.fromhex read it, without trailing zeros."""
    mantissa, exponent = float(x).hex().split("p")
    return f"{mantissa.rstrip('0').rstrip('.')}p{exponent}"


def split(x: Real, bits: int) -> tuple[Real, Real]:
    """x to so many leading bits, and the float32 nearest to the rest."""
    scale = mp.mpf(2) ** (bits - 1 - mp.floor(mp.log(x, 2)))
    high = mp.nint(x * scale) / scale
    return high, round32(x - high)


def polynomial(coefficients: list[Real], x: Real) -> Real:
    """Sum of c x^k, lowest power first."""
    return mp.fsum(c * x**k for k, c in enumerate(coefficients))


def nodes(low: Real, high: Real) -> list[Real]:
    """Chebyshev nodes of [low, high], an even number: none at the middle, where a weight may vanish."""
    angles = [mp.pi * (i + mp.mpf(1) / 2) / NODES for i in range(NODES)]
    return [(high + low) / 2 + (high - low) / 2 * mp.cos(angle) for angle in angles]


def fit(target: Function, weight: Function, low: Real, high: Real, terms: int) -> tuple[list[Real], Real]:
    """float32 coefficients, lowest power first, and the largest |weight * (target - polynomial)| on the nodes."""
    points = nodes(low, high)
    coefficients: list[Real] = []
    for done in range(terms):
        rows = mp.matrix([[weight(x) * x**k for k in range(done, terms)] for x in points])
        rest = mp.matrix([weight(x) * (target(x) - polynomial(coefficients, x)) for x in points])
        coefficients.append(round32(mp.lu_solve(rows, rest)[0]))  # overdetermined: least squares
    error = [weight(x) * (target(x) - polynomial(coefficients, x)) for x in points]
    return coefficients, max(map(abs, error))


def report(name: str, ln2_bits: int, coefficients: list[Real], error: Real) -> None:
    """Print the constants of a function as the specification lists them."""
    high, low = split(LN2, ln2_bits)
    print(f"{name}: the polynomial is within 2^{float(mp.log(error, 2)):.1f} of the function, relatively")
    print(f"  ln2_hi  {hex32(high)}")
    print(f"  ln2_lo  {hex32(low)}")
    for power, c in enumerate(coefficients, 2):
        print(f"  {name[0]}{power}      {hex32(c)}")


def main() -> None:
    """Print every constant."""
    print(f"log2_e  {hex32(round32(1 / LN2))}")
    report("exp", 24, *fit(exp_target, lambda r: r**2 / mp.exp(r), -EXP_REACH, EXP_REACH, EXP_TERMS))
    report("log", 16, *fit(log_target, lambda f: f**2 / abs(mp.log1p(f)), LOG_LOW, LOG_HIGH, LOG_TERMS))


if __name__ == "__main__":
    main()
