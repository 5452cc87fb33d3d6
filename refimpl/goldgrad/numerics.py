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

from .errors import GoldgradError
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


def _f32(x: npt.ArrayLike) -> F32:
    """x as float32 without changing it: a float32 array, or a Python number that float32 holds exactly."""
    array = np.asarray(x)
    return array if array.dtype == np.float32 else array.astype(np.float32)


@rule("NUM-N12")
@quiet
def check_state() -> None:
    """Raise unless float32 keeps subnormals and rounds to nearest even, in this thread, now."""
    u = 2.0**-24
    sums = np.add(_f32([1, 1, -1]), _f32([u, 1.5 * u, -1.5 * u]))
    small = np.multiply(_f32([2.0**-126, 2.0**-149]), _f32([0.5, 1]))
    if sums.tolist() != [1, 1 + 2 * u, -1 - 2 * u] or small.tolist() != [2.0**-127, 2.0**-149]:
        raise GoldgradError(
            "NUM-N12: this process flushes subnormals to zero or does not round to nearest; find the library that"
            " changes the state of the FPU (built with -ffast-math, say) and import it after goldgrad, or not at all"
        )


check_state()


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

    In blocks that stay in the cache: the iterator broadcasts, widens to float64, and allocates the result.
    """
    with np.nditer([_f32(a), _f32(b), _f32(c), None], **_IN_FLOAT64) as blocks:
        for x, y, z, result in blocks:
            _fma(x * y, z, result)
        return blocks.operands[3]


_IN_FLOAT64: dict[str, Any] = {
    "flags": ["external_loop", "buffered", "zerosize_ok"],
    "op_flags": [["readonly"]] * 3 + [["writeonly", "allocate"]],
    "op_dtypes": [np.float64] * 3 + [np.float32],
    "order": "C",
    "buffersize": 4096,
}
_BELOW, _ABOVE = 1 - 2.0**-52, 1 + 2.0**-52


def _fma(product: F64, addend: F64, result: F32) -> None:
    """result = product + addend, rounded to float32 once; the product of two float32 is exact in float64.

    Their sum is rounded to 53 bits first.  Where a hair less and a hair more round to the same float32, so
    does the exact sum.  Elsewhere the two-sum tells what the first rounding lost; where it lost something
    and the last bit is even, the neighbour towards the exact sum has an odd one ("round to odd"), and 53
    bits rounded to odd and then to 24 or fewer give the same as one rounding.
    """
    total = product + addend
    result[...] = total * _BELOW
    doubtful = result != (total * _ABOVE).astype(np.float32)
    if not np.count_nonzero(doubtful):
        return
    result[...] = total
    back = total - product
    lost = (product - (total - back)) + (addend - back)  # two-sum: total + lost is the exact value
    at = np.flatnonzero(doubtful & (lost != 0))
    if at.size:
        even = (total[at].view(np.int64) & 1) == 0
        result[at] = np.where(even, np.nextafter(total[at], lost[at] * np.inf), total[at])


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


def rne_exact(x: npt.ArrayLike) -> F64:
    """The nearest integer of a float64, ties to even: for constants made at compile time, not for the device."""
    return np.rint(np.asarray(x, np.float64))


def _hex(constants: str) -> tuple[float, ...]:
    return tuple(map(float.fromhex, constants.split()))


LOG2_E = float.fromhex("0x1.715476p+0")
EXP_LN2 = _hex("0x1.62e43p-1 -0x1.05c61p-29")
"""ln 2 as a float32, and the float32 nearest to the rest."""
EXP = _hex("0x1p+0 0x1p+0 0x1.fffff8p-2 0x1.55548ep-3 0x1.555b98p-5 0x1.123bdap-7 0x1.685168p-10")
"""e0 ... e6 of NUM-N10, as specs/tools/fit_exp_log.py prints them; lowest power first."""
EXP_LEAST, EXP_MOST = -104.0, 89.0
"""From here on, e^x rounds to 0, to infinity."""


@rule("NUM-N10")
@quiet
def exp32(x: npt.ArrayLike) -> F32:
    """e^x within 0.9 ulp: a polynomial on |r| <= ln2 / 2, times a power of two with one rounding."""
    x = np.clip(_f32(x), np.float32(EXP_LEAST), np.float32(EXP_MOST))  # NaN stays
    n = rne(mul32(x, LOG2_E)).astype(np.int32)
    high, low = EXP_LN2
    r = fma32(float32(n), -low, fma32(float32(n), -high, x))
    return float32(np.ldexp(_polynomial(EXP, r).astype(np.float64), n))  # exact in float64


LOG_LN2 = _hex("0x1.62e4p-1 0x1.7f7d1cp-20")
"""ln 2 in 16 bits, so that its product with any exponent is exact, and the float32 nearest to the rest."""
LOG = _hex(
    "-0x1.fffff8p-2 0x1.555558p-2 -0x1.000432p-2 0x1.99a016p-3 -0x1.5422bp-3"
    " 0x1.22b8bep-3 -0x1.0fa384p-3 0x1.06b52p-3 -0x1.325abp-4"
)
"""l2 ... l10 of NUM-N11, lowest power first."""
SQRT_HALF = float.fromhex("0x1.6a09e6p-1")


@rule("NUM-N11")
@quiet
def log32(x: npt.ArrayLike) -> F32:
    """Natural logarithm within 0.9 ulp: -inf of zero, NaN of negative numbers."""
    x = _f32(x)
    m, e = np.frexp(x)  # x = m * 2^e, 1/2 <= m < 1; exact, for subnormals too
    small = m < np.float32(SQRT_HALF)
    f = sub32(np.where(small, m + m, m), 1.0)  # exact
    n = float32(e - small)
    high, low = LOG_LN2
    square = mul32(f, _polynomial(LOG, f))  # (log(1 + f) - f) / f
    head = mul32(n, high)  # exact
    total = add32(head, f)
    lost = sub32(f, sub32(total, head))  # exact: what that sum lost
    y = add32(total, fma32(square, f, fma32(n, low, lost)))
    y = np.where(x == 0, np.float32(-np.inf), np.where(x == np.inf, x, y))
    return float32(np.where(x >= 0, y, np.nan))


def _polynomial(coefficients: Sequence[float], x: F32) -> F32:
    """Horner's rule from the highest power down, one rounding a step."""
    total: F32 = np.float32(coefficients[-1])  # type: ignore[assignment]
    for c in reversed(coefficients[:-1]):
        total = fma32(total, x, c)
    return total


@rule("NUM-N9", "NUM-N14")
def same_bits(a: Array, b: Array) -> Array:
    """True where a and b are the same value of the same type: equal bits, any two NaNs alike (NUM-N9)."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return np.zeros(np.broadcast_shapes(a.shape, b.shape), dtype=bool)
    if a.dtype != np.float32:
        return np.asarray(a == b)
    bits: Array = np.ascontiguousarray(a).view(np.int32) == np.ascontiguousarray(b).view(np.int32)
    return bits | (np.isnan(a) & np.isnan(b))


@rule("NUM-N15")
def dot_bound(magnitude: npt.ArrayLike, terms: npt.ArrayLike) -> F64:
    """How far a float32 sum of products, in any order, may be from the exact sum.

    ``magnitude`` is the sum of |a||b|, ``terms`` the number of products; a start operand counts as one more.
    Infinite where a partial sum could overflow.
    """
    size = np.asarray(magnitude, np.float64)
    count = np.asarray(terms, np.float64)
    unit = count * 2.0**-24
    bound = (unit / (1 - unit) * size + count * 2.0**-149) * (1 + 2.0**-40)  # never less for being float64
    return np.where(size + bound < np.finfo(np.float32).max, bound, np.inf)


@rule("NUM-N16")
def codes_in_reach(codes: Array, at_one_end: Array, at_other_end: Array) -> Array:
    """True where a code is one of those at the ends of a DOT bound, or lies between them."""
    return (np.minimum(at_one_end, at_other_end) <= codes) & (codes <= np.maximum(at_one_end, at_other_end))


@rule("NUM-N17")
@quiet
def error_in_ulps(y: npt.ArrayLike, exact: npt.ArrayLike) -> F64:
    """|y - exact| in units in the last place that float32 has at exact; 0 for two NaNs, and where both are infinite.

    exact is float64; where float32 has no number for it but an infinity, it counts as that.
    """
    got, want = np.asarray(y, np.float64), np.asarray(exact, np.float64)
    want = np.where(np.abs(want) < 2.0**128 - 2.0**103, want, want * np.inf)
    _, exponent = np.frexp(want)
    distance = np.abs(got - want) / np.ldexp(1.0, np.maximum(exponent, -125) - 24)
    return np.where((got == want) | (np.isnan(got) & np.isnan(want)), 0.0, distance)


# --- roundings of others (specs/profiles.md) ---


@rule("PROF-S1", "PROF-S3", "PROF-S4")
@quiet
def truncated(x: F32 | F64) -> I64:
    """The integer toward zero, saturated to int32; NaN gives 0: what VCVT.S32.F32 does."""
    return np.nan_to_num(np.clip(np.trunc(x).astype(np.float64), INT32_MIN, INT32_MAX), nan=0.0).astype(np.int64)


@rule("PROF-S9", "PROF-S10")
@quiet
def half_away(x: F64) -> I64:
    """The nearest integer, a half away from zero, saturated to int32; NaN gives 0."""
    whole = np.trunc(x)
    return truncated(whole + np.copysign(np.abs(x - whole) >= 0.5, x))


@rule("PROF-S6", "PROF-S11")
def fixed_multiplier(m: Array) -> tuple[I64, I64]:
    """M and e of m = M * 2^(e - 31), M the nearest integer, a half up; both 0 for an m below 2^-32."""
    fraction, exponent = np.frexp(m.astype(np.float64))
    factor, e = np.floor(fraction * 2.0**31 + 0.5).astype(np.int64), exponent.astype(np.int64)
    return np.where(e < -31, 0, factor), np.where(e < -31, 0, e)


@rule("PROF-S10", "PROF-S11")
@quiet
def div64(a: npt.ArrayLike, b: npt.ArrayLike) -> F64:
    """a / b in float64, rounded once."""
    return np.divide(np.asarray(a, np.float64), np.asarray(b, np.float64))
