"""specs/numerics.md over operands that hypothesis finds."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import exact
from goldgrad import numerics
from goldgrad.kernels import numerics as in_c
from goldgrad.numerics import INT32_MAX, INT32_MIN, same_bits

float32s = st.floats(width=32).map(np.float32)
finite = st.floats(width=32, allow_nan=False, allow_infinity=False).map(np.float32)
int32s = st.integers(INT32_MIN, INT32_MAX)
codes = st.integers(-128, 127)
vectors = st.lists(st.tuples(float32s, float32s), max_size=12)


def assert_same(want, got):
    want, got = np.asarray(want), np.asarray(got)
    assert np.all(same_bits(want, got)), (
        f"{[float(v).hex() for v in got.flat]} != {[float(v).hex() for v in want.flat]}"
    )


@given(float32s, float32s, float32s)
@pytest.mark.rules("NUM-N3", "NUM-N9")
def test_fma_is_exact_and_c(a, b, c):
    want = exact.fma(a, b, c)
    assert_same(want, numerics.fma32(a, b, c))
    assert_same(want, in_c.fma32(a, b, c))


@given(finite, finite)
@pytest.mark.rules("NUM-N3")
def test_fma_finds_what_a_product_lost(a, b):
    product = numerics.mul32(a, b)
    assume(np.isfinite(product))
    lost = Fraction(float(a)) * Fraction(float(b)) - Fraction(float(product))
    got = numerics.fma32(a, b, -product)
    assert got == (exact.nearest(lost) if lost else 0)


@given(finite, finite)
@pytest.mark.rules("NUM-N2", "NUM-N3", "NUM-N12")
def test_sums_and_products_are_special_cases_of_fma(a, b):
    assert_same(numerics.fma32(a, 1, b), numerics.add32(a, b))
    assert_same(numerics.fma32(b, -1, a), numerics.sub32(a, b))
    zero = np.copysign(np.float32(0), np.copysign(1, a) * np.copysign(1, b))  # of the product's sign: adds nothing
    assert_same(numerics.fma32(a, b, zero), numerics.mul32(a, b))


@given(vectors, vectors, float32s)
@pytest.mark.rules("NUM-N4")
def test_a_chain_goes_on_where_it_stopped(first, second, start):
    def columns(pairs):
        return (np.float32([a for a, _ in pairs]), np.float32([b for _, b in pairs]))

    whole = numerics.chain(*columns(first + second), start)
    assert_same(whole, numerics.chain(*columns(second), numerics.chain(*columns(first), start)))
    assert_same(whole, in_c.chain(*columns(first + second), start))


@given(float32s)
@pytest.mark.rules("NUM-N5")
def test_rne_is_exact_and_c(x):
    assert numerics.rne(x) == in_c.rne(x) == exact.rne(x)


@given(int32s, float32s, codes, codes, codes)
@pytest.mark.rules("NUM-N6")
def test_requantize_is_exact_and_c(acc, m, zero, lo, hi):
    lo, hi = min(lo, hi), max(lo, hi)
    code = exact.rne(exact.mul(numerics.float32(acc), m)) + zero
    want = exact.clamp(code, lo, hi), lo <= code <= hi
    for provider in numerics, in_c:
        y, inside = provider.requantize(acc, m, zero, lo, hi)
        assert (int(y), bool(inside)) == want


@given(int32s, int32s, st.floats(0, 1, width=32), codes)
@pytest.mark.rules("NUM-N6")
def test_requantize_is_monotonic(acc, other, m, zero):
    y, _ = numerics.requantize(np.int32(sorted([acc, other])), m, zero, -128, 127)
    assert y[0] <= y[1]


@given(st.integers(-(2**63), 2**63 - 1), int32s, int32s)
@pytest.mark.rules("NUM-N7")
def test_saturate_is_exact_and_c(x, lo, hi):
    lo, hi = min(lo, hi), max(lo, hi)
    assert numerics.saturate(x, lo, hi) == in_c.saturate(x, lo, hi) == exact.clamp(x, lo, hi)


@given(float32s)
@pytest.mark.rules("NUM-N10", "NUM-N11")
def test_exp_and_log_are_c(x):
    assert_same(numerics.exp32(x), in_c.exp32(x))
    assert_same(numerics.log32(x), in_c.log32(x))


@given(st.floats(-87, 88, width=32).map(np.float32))
@pytest.mark.rules("NUM-N10", "NUM-N11")
def test_log_undoes_exp(x):
    y = numerics.exp32(x)
    assert abs(float(numerics.log32(y)) - float(x)) <= 2.0**-23 * (1 + abs(float(x)))


@given(st.lists(st.tuples(finite, finite), min_size=1, max_size=12), st.permutations(range(12)))
@pytest.mark.rules("NUM-N15")
def test_every_order_stays_within_the_dot_bound(terms, order):
    products = [Fraction(float(a)) * Fraction(float(b)) for a, b in terms]
    magnitude = sum(map(abs, products))
    assume(magnitude < 2**130)
    bound = float(numerics.dot_bound(float(magnitude), len(terms)))
    total = np.float32(0)
    with np.errstate(all="ignore"):
        for i in order:
            if i < len(terms):
                total = total + terms[i][0] * terms[i][1]
    assert bound == np.inf or abs(Fraction(float(total)) - sum(products)) <= Fraction(bound)
