"""specs/numerics.md, all but exp32 and log32"""

import ctypes
import math
import platform
from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import pytest

import exact
from goldgrad import GoldgradError, numerics
from goldgrad.kernels import numerics as in_c
from goldgrad.numerics import INT32_MAX, INT32_MIN, same_bits
from numeric_cases import KINDS, LARGEST, SPECIAL, TINY, any_bits, f32, special_triples, triples

ROOT = Path(__file__).resolve().parents[2]
BOTH = pytest.mark.parametrize("provider", [numerics, in_c], ids=["reference", "c"])


def assert_same(want, got, *operands):
    """Equal bits, NaN being one value; otherwise shows the first operands that tell."""
    wrong = np.flatnonzero(~same_bits(want, got))
    if wrong.size:
        at = [np.broadcast_to(x, want.shape).flat[wrong[0]] for x in operands]
        raise AssertionError(
            f"{wrong.size} of {want.size} differ, first: {', '.join(float(x).hex() for x in at)} gives "
            f"{float(got.flat[wrong[0]]).hex()}, expected {float(want.flat[wrong[0]]).hex()}"
        )


def some_triples(each):
    """A few of every kind of triple, and all special ones."""
    rng = np.random.default_rng(1)
    columns = zip(special_triples(), *(kind(rng, each) for kind in KINDS), strict=True)
    return tuple(np.concatenate(column) for column in columns)


# --- float32(int), NUM-N1


@BOTH
@pytest.mark.rules("NUM-N1")
def test_integers_round_to_nearest_even(provider):
    rng = np.random.default_rng(2)
    edges = [2**24 + i for i in range(-4, 9)] + [INT32_MAX - i for i in range(200)] + [2**30 + 64, 2**30 + 192]
    integers = np.concatenate([np.int64(edges), -np.int64(edges), [0, INT32_MIN], rng.integers(-(2**31), 2**31, 5000)])
    want = np.float32([exact.nearest(Fraction(int(i))) if i else 0.0 for i in integers])
    assert_same(want, provider.float32(integers.astype(np.int32)), integers)


# --- mul32, add32, sub32, div32, NUM-N2

FRACTIONS = {
    "mul32": lambda a, b: a * b,
    "add32": lambda a, b: a + b,
    "sub32": lambda a, b: a - b,
    "div32": lambda a, b: a / b,
}


@BOTH
@pytest.mark.parametrize("name", FRACTIONS)
@pytest.mark.rules("NUM-N2", "NUM-N12")
def test_elementary_operations_against_fractions(name, provider):
    a, b, c = some_triples(500)
    b = np.where(np.arange(b.size) % 2, b, c)
    finite = np.isfinite(a) & np.isfinite(b) & ((b != 0) | (name != "div32"))
    a, b = a[finite], b[finite]
    results = [FRACTIONS[name](Fraction(x), Fraction(y)) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    real = np.array([r != 0 for r in results])
    want = np.float32([exact.nearest(r) for r in results if r])
    assert_same(want, getattr(provider, name)(a, b)[real], a[real], b[real])
    assert np.all(getattr(provider, name)(a, b)[~real] == 0)


@BOTH
@pytest.mark.rules("NUM-N2", "NUM-N9")
def test_infinities_nan_and_the_sign_of_zero(provider):
    inf, nan = math.inf, math.nan
    table = [
        ("mul32", inf, 0, nan),
        ("mul32", -inf, 2, -inf),
        ("mul32", -0.0, 3, -0.0),
        ("mul32", -TINY, 0.25, -0.0),
        ("mul32", LARGEST, -2, -inf),
        ("add32", inf, -inf, nan),
        ("add32", 1, -1, 0.0),
        ("add32", -0.0, -0.0, -0.0),
        ("add32", -0.0, 0.0, 0.0),
        ("sub32", inf, inf, nan),
        ("sub32", -0.0, 0.0, -0.0),
        ("sub32", 5, 5, 0.0),
        ("div32", 1, -0.0, -inf),
        ("div32", 0, 0, nan),
        ("div32", -inf, inf, nan),
        ("div32", 1, -inf, -0.0),
        ("div32", nan, 1, nan),
    ]
    for name, a, b, want in table:
        got = getattr(provider, name)(np.float32(a), np.float32(b))
        assert same_bits(np.asarray(np.float32(want)), np.asarray(got)), (name, a, b, want, got)


@pytest.mark.rules("NUM-N2", "NUM-N12")
@pytest.mark.parametrize("name", FRACTIONS)
def test_elementary_operations_are_c(name):
    rng = np.random.default_rng(3)
    for _, (a, b, c) in triples(rng, 2**17):
        for x, y in ((a, b), (a, c)):
            assert_same(getattr(numerics, name)(x, y), getattr(in_c, name)(x, y), x, y)


@BOTH
@pytest.mark.rules("NUM-N12")
def test_subnormals_are_kept(provider):
    assert provider.mul32(np.float32(2.0**-126), np.float32(0.5)) == np.float32(2.0**-127)
    assert provider.add32(np.float32(TINY), np.float32(TINY)) == np.float32(2 * TINY)
    assert provider.fma32(np.float32(TINY), np.float32(3), np.float32(-TINY)) == np.float32(2 * TINY)
    assert provider.div32(np.float32(TINY), np.float32(TINY)) == 1


UPWARD = {"x86_64": 0x800, "aarch64": 0x400000}
"""FE_UPWARD of <fenv.h>."""


@pytest.mark.rules("NUM-N12")
@pytest.mark.skipif(
    platform.system() != "Linux" or platform.machine() not in UPWARD, reason="knows fesetround on Linux only"
)
def test_another_rounding_mode_is_noticed():
    libm = ctypes.CDLL(None)
    numerics.check_state()
    libm.fesetround(UPWARD[platform.machine()])
    try:
        with pytest.raises(GoldgradError, match="NUM-N12"):
            numerics.check_state()
    finally:
        libm.fesetround(0)
    numerics.check_state()


# --- fma32, NUM-N3


@BOTH
@pytest.mark.rules("NUM-N3", "NUM-N9")
def test_fma_against_fractions(provider):
    a, b, c = some_triples(1500)
    with np.errstate(all="ignore"):
        want = np.float32([exact.fma(*operands) for operands in zip(a, b, c, strict=True)])
    assert_same(want, provider.fma32(a, b, c), a, b, c)


@BOTH
@pytest.mark.rules("NUM-N3")
def test_fma_rounds_once(provider):
    u = 2.0**-24
    near = 1 + 2 * u, 1 - 2 * u  # their product is 1 - 4 u^2, which float64 forgets beside a 1
    table = [
        (1, u, 1, 1),  # a tie, to even
        (1, u, 1 + 2 * u, 1 + 4 * u),
        (near[0], near[1] * u, 1 + 2 * u, 1 + 2 * u),  # less than a tie
        (near[0], near[0] * u, 1, 1 + 2 * u),  # more than a tie
        (near[0], near[1], -1, -4 * u * u),  # cancellation leaves what rounding would lose
        (near[0], near[1] * 2.0**103, LARGEST, LARGEST),  # less than halfway to infinity
        (1, 2.0**103, LARGEST, math.inf),
        (near[0], near[1] * 2.0**-150, 2.0**-126, 2.0**-126),  # halfway between two subnormals, less a hair
        (near[0], near[0] * 2.0**-150, 2.0**-126, 2.0**-126 + TINY),
        (2.0**-75, 2.0**-75, 0, 0),  # half the least subnormal, to even
        (2.0**-75 * near[0], 2.0**-75, 0, TINY),
    ]
    for a, b, c, want in table:
        for sign in 1.0, -1.0:
            got = provider.fma32(np.float32(sign * a), np.float32(b), np.float32(sign * c))
            assert got == np.float32(sign * want), (a, b, c, want, got)


@BOTH
@pytest.mark.rules("NUM-N3")
def test_fma_sign_of_zero(provider):
    def fma(a, b, c):
        return float(provider.fma32(np.float32(a), np.float32(b), np.float32(c)))

    for a, b, c in product((-0.0, 0.0), (-1, 1), (-0.0, 0.0)):
        product_negative = math.copysign(1, a) * b < 0
        assert math.copysign(1, fma(a, b, c)) == (-1 if product_negative and math.copysign(1, c) < 0 else 1)
    assert math.copysign(1, fma(2, 3, -6)) == 1  # cancellation gives +0
    assert math.copysign(1, fma(-TINY, 0.25, 0.0)) == -1  # underflow keeps its sign: a rounded -0, not an exact 0


@pytest.mark.rules("NUM-N3", "NUM-N13")
def test_fma_is_fmaf_on_ten_million_triples():
    rng = np.random.default_rng(4)
    total, rounded_twice_differs = 0, 0
    for kind, (a, b, c) in triples(rng, 3 * 2**19):
        want = in_c.fma32(a, b, c)
        try:
            assert_same(want, numerics.fma32(a, b, c), a, b, c)
        except AssertionError as fault:
            raise AssertionError(f"{kind}: {fault}") from None
        total += a.size
        with np.errstate(all="ignore"):
            naive = (a.astype(np.float64) * b + c).astype(np.float32)
        rounded_twice_differs += np.count_nonzero(~same_bits(want, naive))
    assert total >= 10_000_000
    assert rounded_twice_differs >= 100_000  # or the triples are not hard


@pytest.mark.rules("NUM-N3")
def test_fma_broadcasts_and_keeps_shapes():
    a, b, c = np.float32([[1], [2], [3]]), np.float32([10, 20]), np.float32([[[1]], [[2]]])
    assert numerics.fma32(a, b, c).tolist() == (a * b + c).tolist()
    assert numerics.fma32(a.T, b[:1], 0).flags.c_contiguous
    assert numerics.fma32(1, 2, 3).shape == ()
    assert numerics.fma32(np.zeros((0, 3), np.float32), 1, b[:1]).shape == (0, 3)
    big = np.arange(3 * 5000, dtype=np.float32).reshape(3, 5000)  # more than a block of the iterator
    assert np.array_equal(numerics.fma32(big[:, ::-1], 2, big), 2 * big[:, ::-1] + big)
    assert numerics.fma32(big[0], 1, 1).dtype == np.float32
    unchanged = big.copy()
    numerics.fma32(big, big, big)
    assert np.array_equal(big, unchanged)


# --- chain, NUM-N4


@BOTH
@pytest.mark.rules("NUM-N4")
def test_chain_is_one_fma_after_the_other(provider):
    rng = np.random.default_rng(5)
    for n in 0, 1, 2, 7, 64:
        a, b, start = exact.floats(rng, n), exact.floats(rng, n), exact.floats(rng, 1)[0]
        want = start
        for x, y in zip(a, b, strict=True):
            want = exact.fma(x, y, want)
        assert same_bits(np.asarray(want), np.asarray(provider.chain(a, b, start)))


@BOTH
@pytest.mark.rules("NUM-N4")
def test_order_and_start_of_a_chain_are_seen(provider):
    big, one = np.float32([2.0**24, 1, -(2.0**24)]), np.ones(3, np.float32)
    assert provider.chain(big, one) == 0  # the 1 is lost: 2^24 + 1 is a tie
    assert provider.chain(big[[0, 2, 1]], one) == 1
    assert provider.chain(big, one, np.float32(2)) == 4  # (2^24 + 2) + 1 is a tie, to the even 2^24 + 4


@BOTH
@pytest.mark.rules("NUM-N4")
def test_a_chain_from_plus_zero_never_comes_to_minus_zero(provider):
    for values in ([-0.0, -0.0], [1.0, -1.0], [-0.0, 3.0, -3.0, -0.0], [-TINY * 0.0]):
        assert math.copysign(1, provider.chain(np.float32(values), np.ones(len(values), np.float32))) == 1


@pytest.mark.rules("NUM-N4")
def test_chains_run_side_by_side():
    rng = np.random.default_rng(6)
    a, b = exact.floats(rng, 9, 4, 1), exact.floats(rng, 9, 5)
    together = numerics.chain(a, b)
    assert together.shape == (4, 5)
    for i, j in np.ndindex(4, 5):
        assert same_bits(np.asarray(in_c.chain(a[:, i, 0], b[:, j])), together[i, j])


# --- rne, NUM-N5


@BOTH
@pytest.mark.rules("NUM-N5")
def test_rne_against_fractions(provider):
    rng = np.random.default_rng(7)
    halves = np.arange(-4001, 4001, dtype=np.float32) / 2
    near = np.concatenate([np.nextafter(halves, np.float32(np.inf)), np.nextafter(halves, np.float32(-np.inf))])
    powers = np.float32([s * 2.0**e for e in range(-149, 128) for s in (-1, 1)])
    about = np.concatenate(
        [np.nextafter(powers, np.float32(0)), np.nextafter(powers, np.copysign(np.float32(1e38), powers))]
    )
    uniform = np.ldexp(rng.standard_normal(5000), rng.integers(-3, 34, 5000)).astype(np.float32)
    x = np.concatenate([halves, near, powers, about, uniform, any_bits(rng, 5000), SPECIAL])
    want = np.int32([exact.rne(value) for value in x])
    assert_same(want, provider.rne(x).astype(np.int32), x)


@BOTH
@pytest.mark.rules("NUM-N5", "NUM-N9")
def test_rne_ties_saturation_and_nan(provider):
    table = [(0.5, 0), (1.5, 2), (2.5, 2), (-0.5, 0), (-1.5, -2), (-2.5, -2), (8388607.5, 8388608), (math.nan, 0)]
    table += [(2.0**31, INT32_MAX), (2.0**31 - 128, 2**31 - 128), (math.inf, INT32_MAX), (-math.inf, INT32_MIN)]
    table += [(-(2.0**31), INT32_MIN), (-(2.0**31) - 256, INT32_MIN), (LARGEST, INT32_MAX), (-LARGEST, INT32_MIN)]
    table += [(8388609.0, 8388609), (-8388609.0, -8388609), (-8388607.5, -8388608), (0.49999997, 0), (-TINY, 0)]
    for x, want in table:
        assert provider.rne(np.float32(x)) == want, (x, want)
    every_nan = np.uint32([0x7F800001, 0x7FC00000, 0xFFC00000, 0xFF800001]).view(np.float32)
    assert provider.rne(every_nan).tolist() == [0] * 4


# --- requantize and its mask, NUM-N6


def requantized(acc, m, zero, lo, hi):
    """One code and its mask by exact fractions."""
    real = Fraction(float(exact.nearest(Fraction(acc)))) * Fraction(m) if acc else Fraction(0)
    code = exact.rne(exact.nearest(real) if real else np.float32(0)) + zero
    return exact.clamp(code, lo, hi), lo <= code <= hi


@BOTH
@pytest.mark.rules("NUM-N6")
@pytest.mark.parametrize(
    ("zero", "lo", "hi"), [(0, -128, 127), (-128, -128, 127), (127, -128, 127), (5, 5, 90), (3, 7, 7)]
)
def test_requantize_against_fractions(zero, lo, hi, provider):
    rng = np.random.default_rng(8)
    n = 4000
    acc = (rng.integers(-(2**31), 2**31, n) >> rng.integers(0, 31, n)).astype(np.int32)
    acc[:4] = INT32_MIN, INT32_MAX, 0, 2**24 + 1
    m = f32(2.0 ** -rng.integers(0, 20, n) * rng.choice([1, 0.5, 0.75, 1 + 2.0**-23, rng.random()], n))
    m[4:12] = TINY, LARGEST, 2.0**-126, 1, 0.5, 2.0**31, 2.0**-31, 2.0**100
    y, inside = provider.requantize(acc, m, zero, lo, hi)
    want = [requantized(int(a), float(s), zero, lo, hi) for a, s in zip(acc, m, strict=True)]
    assert y.dtype == np.int8
    assert inside.dtype == bool
    assert [(int(v), bool(i)) for v, i in zip(y, inside, strict=True)] == want


@BOTH
@pytest.mark.rules("NUM-N6")
def test_the_mask_is_inclusive_after_the_zero_point_and_before_the_clamp(provider):
    acc = np.int32([-12, -11, -10, 8, 9, 10])  # times 1/2: ties go to even
    y, inside = provider.requantize(acc, np.float32(0.5), 3, -2, 7)
    assert y.tolist() == [-2, -2, -2, 7, 7, 7]
    assert inside.tolist() == [False, False, True, True, True, False]  # -3, -6 + 3, -2, 7, 4 + 3, 8


@BOTH
@pytest.mark.rules("NUM-N6")
def test_requantize_at_the_ends_of_int32(provider):
    acc = np.int32([INT32_MIN, INT32_MAX, INT32_MIN, INT32_MAX, 0, 1])
    m = np.float32([1, 1, LARGEST, LARGEST, np.inf, np.nan])  # 0 * inf is NaN, and NaN is code 0
    for zero in -128, 0, 127:
        y, inside = provider.requantize(acc, m, zero, -128, 127)
        assert y.tolist() == [-128, 127, -128, 127, zero, zero]
        assert inside.tolist() == [False, False, False, False, True, True]


@pytest.mark.rules("NUM-N6")
def test_requantize_is_c():
    rng = np.random.default_rng(9)
    n = 500_000
    acc = (rng.integers(-(2**31), 2**31, n) >> rng.integers(0, 31, n)).astype(np.int32)
    for m in any_bits(rng, n), f32(2.0 ** rng.uniform(-32, 2, n)):
        for zero, lo, hi in ((0, -128, 127), (-128, -128, 127), (17, -3, 99)):
            want, got = numerics.requantize(acc, m, zero, lo, hi), in_c.requantize(acc, m, zero, lo, hi)
            assert_same(want[0], got[0], acc, m)
            assert np.array_equal(want[1], got[1])


# --- saturate and multiplier, NUM-N7, NUM-N8


@BOTH
@pytest.mark.rules("NUM-N7")
def test_saturate(provider):
    x = np.int64([-(2**63), -(2**31) - 1, -(2**31), -1, 0, 2**31 - 1, 2**31, 2**63 - 1])
    assert provider.saturate(x).tolist() == [INT32_MIN] * 3 + [-1, 0] + [INT32_MAX] * 3
    assert provider.saturate(x, -7, 5).tolist() == [-7, -7, -7, -1, 0, 5, 5, 5]


@pytest.mark.rules("NUM-N8")
def test_multiplier_rounds_the_float64_quotient_once():
    rng = np.random.default_rng(10)
    s_x, s_w, s_y = (f32(2.0 ** rng.uniform(-20, 4, 3000)).astype(np.float64) for _ in range(3))
    want = []
    for x, w, y in zip(s_x, s_w, s_y, strict=True):
        quotient = Fraction(x) * Fraction(w) / Fraction(y)
        double = float(quotient)  # Python rounds a fraction to nearest even
        want.append(exact.nearest(Fraction(double)))
    assert_same(np.float32(want), numerics.multiplier(s_x * s_w, s_y), s_x, s_w, s_y)
    assert numerics.multiplier(1.0, 3.0).dtype == np.float32
    # in float32 throughout, some would differ
    assert np.any(f32(f32(s_x * s_w) / s_y) != numerics.multiplier(s_x * s_w, s_y))


# --- NaN, classes of conformance: NUM-N9, NUM-N14 ... NUM-N17


@pytest.mark.rules("NUM-N9", "NUM-N14")
def test_same_bits():
    nans = np.uint32([0x7F800001, 0x7FC00000, 0xFFC12345]).view(np.float32)
    assert np.all(same_bits(nans, nans[::-1]))
    zeros = np.float32([0.0, -0.0])
    assert same_bits(zeros, zeros[::-1]).tolist() == [False, False]
    assert same_bits(np.float32([1, 1]), np.float32([1, np.nextafter(np.float32(1), np.float32(2))])).tolist() == [1, 0]
    assert not np.any(same_bits(np.int8([1]), np.int32([1])))
    assert same_bits(np.int8([1, 2]), np.int8([1, 3])).tolist() == [True, False]


@pytest.mark.rules("NUM-N9")
def test_nan_in_gives_nan_out_until_it_becomes_an_integer():
    nan, one = np.float32(np.nan), np.float32(1)
    for provider in numerics, in_c:
        for operands in ((nan, one, one), (one, nan, one), (one, one, nan)):
            assert np.isnan(provider.fma32(*operands))
        for name in FRACTIONS:
            assert np.isnan(getattr(provider, name)(nan, one))
            assert np.isnan(getattr(provider, name)(one, nan))
        assert np.isnan(provider.exp32(nan))
        assert np.isnan(provider.log32(nan))
        assert np.isnan(provider.chain(np.float32([1, np.nan, 1]), np.ones(3, np.float32)))


def sum_in_some_order(rng, terms, fused):
    """A float32 sum by a random binary tree; products rounded first, or fused into the addition of two."""
    with np.errstate(all="ignore"):
        parts = [numerics.mul32(a, b) if not fused or rng.random() < 0.5 else (a, b) for a, b in terms]
    while len(parts) > 1:
        i, j = rng.permutation(len(parts))[:2]
        left, right = parts[i], parts[j]
        if isinstance(right, tuple) and isinstance(left, tuple):
            right = numerics.mul32(*right)
        if isinstance(right, tuple):
            left, right = right, left
        both = numerics.fma32(*left, right) if isinstance(left, tuple) else numerics.add32(left, right)
        parts = [part for k, part in enumerate(parts) if k not in (i, j)] + [both]
    return float(numerics.mul32(*parts[0]) if isinstance(parts[0], tuple) else parts[0])


@pytest.mark.rules("NUM-N15")
@pytest.mark.parametrize("scale", [0, -70, 20], ids=["ordinary", "subnormal", "large"])
def test_no_order_exceeds_the_dot_bound(scale):
    rng = np.random.default_rng(11)
    for n in (1, 2, 3, 10, 40):
        for _ in range(20):
            a, b = (np.ldexp(exact.floats(rng, n), scale) for _ in range(2))
            real = sum(Fraction(float(x)) * Fraction(float(y)) for x, y in zip(a, b, strict=True))
            magnitude = sum(abs(Fraction(float(x)) * Fraction(float(y))) for x, y in zip(a, b, strict=True))
            bound = Fraction(float(numerics.dot_bound(float(magnitude), n)))
            for fused in False, True:
                got = sum_in_some_order(rng, list(zip(a, b, strict=True)), fused)
                assert abs(Fraction(got) - real) <= bound
            u = Fraction(1, 2**24)
            stated = n * u / (1 - n * u) * magnitude + n * Fraction(1, 2**149)
            assert stated <= bound <= stated * (1 + Fraction(1, 2**30)) + Fraction(1, 2**300)


@pytest.mark.rules("NUM-N15")
def test_the_dot_bound_is_no_excuse():
    assert numerics.dot_bound(1.0, 1) < 1.01 * 2.0**-24  # one product: one rounding
    assert numerics.dot_bound(0.0, 5) == pytest.approx(5 * TINY)
    assert numerics.dot_bound(LARGEST, 2) == math.inf
    assert numerics.dot_bound(math.nan, 2) == math.inf
    bounds = numerics.dot_bound(np.float64([1, 100]), 8)  # element by element: no global tolerance
    assert bounds[1] > 50 * bounds[0]


@pytest.mark.rules("NUM-N16")
def test_codes_in_reach():
    codes, low, high = np.int8([3, 4, 5, 2, 3]), np.int8([3, 3, 3, 3, 4]), np.int8([3, 4, 4, 4, 3])
    assert numerics.codes_in_reach(codes, low, high).tolist() == [True, True, False, False, True]


@pytest.mark.rules("NUM-N17")
def test_ulps():
    one = 1.0
    assert numerics.error_in_ulps(one + 2.0**-23, one) == 1
    assert numerics.error_in_ulps(one - 2.0**-24, one) == 0.5
    assert numerics.error_in_ulps(2.0, 2 - 2.0**-24) == 0.5  # the real result's binade decides
    assert numerics.error_in_ulps(0.0, TINY / 4) == 0.25
    assert numerics.error_in_ulps(3 * TINY, 2.0**-130) == 2.0**19 - 3
    assert numerics.error_in_ulps(2.0**-126, 2.0**-126 - TINY / 2) == 0.5
    assert numerics.error_in_ulps(math.inf, 1e39) == 0
    assert numerics.error_in_ulps(LARGEST, 1e39) == math.inf
    assert numerics.error_in_ulps(LARGEST, LARGEST + 2.0**102) == 0.25
    assert numerics.error_in_ulps(math.inf, math.inf) == 0
    assert numerics.error_in_ulps(math.inf, -math.inf) == math.inf
    assert numerics.error_in_ulps(math.nan, math.nan) == 0
    assert math.isnan(numerics.error_in_ulps(math.nan, 1.0))


# --- what C is compiled with, NUM-N13


@pytest.mark.rules("NUM-N13")
def test_whatever_compiles_the_kernels_makes_them_round_once():
    texts = [path.read_text() for path in (ROOT / "kernels_c" / "python").glob("*.py")]
    compiling = [text for text in texts if '"-std=c11"' in text]
    assert compiling
    for text, flag in product(compiling, ["-ffp-contract=off", "-fno-fast-math", "-fno-math-errno"]):
        assert f'"{flag}"' in text
