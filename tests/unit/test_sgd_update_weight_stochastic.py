"""sgd_update_weight_stochastic against its page: generator, rounding at the exact threshold, mean, slices."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

import c_kernels
import exact
from goldgrad import kernels, ops
from goldgrad.errors import ConstraintError
from goldgrad.ops import FUNCTIONS, Type, sgd_update_weight_stochastic
from goldgrad.ops.sgd_update_weight_stochastic import draws, mix, round_stochastically
from weight_updates import SHAPES, elements, operands

NAME = "sgd_update_weight_stochastic.update"
WORD = 2**32
one = np.ones(1, np.float32)


def scalar_mix(x):
    x = (x + 0x9E3779B9) % WORD
    x = ((x ^ x >> 16) * 0x85EBCA6B) % WORD
    x = ((x ^ x >> 13) * 0xC2B2AE35) % WORD
    return x ^ x >> 16


def unmix(x):
    """The inverse of mix, step by step: that it exists is what makes mix a bijection."""
    x = (x ^ x >> 16) * pow(0xC2B2AE35, -1, WORD) % WORD
    x = (x ^ x >> 13 ^ x >> 26) * pow(0x85EBCA6B, -1, WORD) % WORD
    return ((x ^ x >> 16) - 0x9E3779B9) % WORD


def scalar_round(v, draw):
    if math.isnan(v):
        return 0
    size = Fraction(min(abs(float(v)), 127.0))
    whole = size.numerator // size.denominator
    code = whole + (draw < math.floor((size - whole) * WORD))
    return -code if v < 0 else code


def scalar_update(w, dw, q, lr, seed, step, channels=None):
    w_new = w.copy()
    key = scalar_mix(int(step[0]) % WORD ^ scalar_mix(int(seed[0]) % WORD))
    for dense, at, k in elements(w, dw, q, lr, channels):
        e = int(np.ravel_multi_index(dense, w.shape))
        w_new[dense] = scalar_round(exact.fma(k, dw[at], np.float32(w[dense])), scalar_mix(e ^ key))
    return w_new


def with_draws(rng, w, dw, q, lr, channels):
    seed, step = rng.integers(-(2**31), 2**31, (2, 1)).astype(np.int32)
    return [w, dw + exact.floats(rng, *dw.shape), q, lr, seed, step, channels]


@pytest.mark.rules("UPS-C1")
@pytest.mark.parametrize("bad", [Type((), "int32"), Type((1,), "uint32"), Type((2,), "int32")])
def test_types_that_do_not_fit(bad):
    w, dw, q = Type((2, 3), "int8"), Type((2, 2), "float32"), Type((2,), "float32")
    rate, number, channels = Type((1,), "float32"), Type((1,), "int32"), Type((2,), "int32")
    assert sgd_update_weight_stochastic.types(w, dw, q, rate, number, number, channels) == (w,)
    for seed, step in ((bad, number), (number, bad)):
        with pytest.raises(ConstraintError, match=r"UPS-C1: seed is .*, step is .*; give int32\[1\] for each"):
            sgd_update_weight_stochastic.types(w, dw, q, rate, seed, step, channels)
    with pytest.raises(ConstraintError, match="UPW-C1"):
        sgd_update_weight_stochastic.types(dw, dw, q, rate, number, number, channels)


@pytest.mark.rules("UPW-C5")
def test_channels_that_do_not_exist():
    w, dw, zero = np.zeros((2, 3), np.int8), np.zeros((2, 1), np.float32), np.zeros(1, np.int32)
    with pytest.raises(ConstraintError, match="UPW-C5"):
        sgd_update_weight_stochastic.update(w, dw, np.ones(2, np.float32), one, zero, zero, np.array([3], np.int32))


@pytest.mark.rules("UPS-S1", "UPS-S2", "UPS-S4", "UPS-S5", "UPS-F1")
@pytest.mark.parametrize("sliced", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_update_is_the_scalar_loop_and_c_is_the_update(shape, sliced):
    rng = np.random.default_rng([*shape, sliced])
    for _ in range(10):
        arrays = with_draws(rng, *operands(rng, shape, sliced))
        (w_new,) = c_kernels.check(NAME, *arrays)
        np.testing.assert_array_equal(w_new, scalar_update(*arrays))
        c_kernels.check_in_place(NAME, "w_new", "w", *arrays)


@pytest.mark.rules("UPS-A1")
def test_alias_table_and_what_it_updates():
    assert c_kernels.pairs(NAME) == {("w_new", "w", "UPS-A1")}
    assert FUNCTIONS[NAME].updates == "w"


@pytest.mark.rules("UPS-S3")
def test_mix_is_the_written_function_and_invertible():
    words = [0, 1, WORD - 1, *np.random.default_rng(0).integers(0, WORD, 2000).tolist()]
    mixed = mix(np.array(words, np.uint32)).tolist()
    assert mixed[:3] == [0x92CA2F0E, 0x96A0F96B, 0x36DEB503]
    assert mixed == [scalar_mix(word) for word in words]
    assert [unmix(word) for word in mixed] == words


@pytest.mark.rules("UPS-S4")
def test_draws_are_a_function_of_seed_step_and_element_alone():
    seed, step = np.array([-7], np.int32), np.array([2**31 - 1], np.int32)
    drawn = draws((5, 3, 4), seed, step)
    key = scalar_mix(2**31 - 1 ^ scalar_mix(WORD - 7))
    assert drawn.ravel().tolist() == [scalar_mix(e ^ key) for e in range(60)]
    assert len(np.unique(draws((1 << 16,), seed, step))) == 1 << 16  # no draw twice in one step
    assert (draws((60,), seed, step) != draws((60,), seed + 1, step)).all()
    assert (draws((60,), seed, step) != draws((60,), seed, step - 1)).all()


@pytest.mark.rules("UPS-S2")
@pytest.mark.parametrize("v", [0.5, 1.25, 126.99999, 2.0**-9, 0.1, 1e-3, 2.0**-32, 2.0**-33, 1e-45, 3.0, 0.0, 127.0])
def test_exactly_the_stated_draws_round_away(v):
    v = np.float32(v)
    whole = math.floor(v)
    part = Fraction(float(v)) - whole
    away = math.floor(part * WORD)
    assert part - Fraction(away, WORD) < Fraction(1, WORD)
    if v >= 2.0**-9:
        assert Fraction(away, WORD) == part
    around = [draw for draw in (0, away - 1, away, away + 1, WORD - 1) if 0 <= draw < WORD]
    codes = round_stochastically(np.full(len(around), v), np.array(around, np.uint32))
    assert codes.tolist() == [whole + (draw < away) for draw in around]
    codes = round_stochastically(np.full(len(around), -v), np.array(around, np.uint32))
    assert codes.tolist() == [-(whole + (draw < away)) for draw in around]


@pytest.mark.rules("UPS-S2")
def test_mean_of_many_draws_is_the_exact_step():
    n = 1 << 18
    w, dw = np.full((1, n), 10, np.int8), np.full((1, n), 0.3, np.float32)
    counts = []
    for number in range(4):
        step = np.array([number], np.int32)
        (w_new,) = c_kernels.check(NAME, w, dw, one, one, np.array([5], np.int32), step, None)
        assert set(np.unique(w_new)) == {9, 10}
        counts.append(int((w_new == 10).sum()))
    # binomial with p = 0.7: five standard deviations of the count are 5 * sqrt(0.21 n), about 1,173
    assert all(abs(count - 0.7 * n) < 5 * math.sqrt(0.21 * n) for count in counts)
    assert len(set(counts)) > 1


@pytest.mark.rules("UPS-S2")
def test_an_integer_keeps_its_code_for_sure():
    w = np.arange(-127, 128).astype(np.int8).reshape(1, -1)
    for lr, dw in ((0.0, 123.4), (1.0, 0.0)):
        for number in range(20):
            step = np.array([number], np.int32)
            gradient = np.full(w.shape, dw, np.float32)
            (w_new,) = c_kernels.check(NAME, w, gradient, one, np.float32([lr]), step, step, None)
            np.testing.assert_array_equal(w_new, w)


@pytest.mark.rules("UPS-S4")
@pytest.mark.parametrize("shape", SHAPES)
def test_slicing_does_not_change_the_draws(shape):
    rng = np.random.default_rng(shape)
    for _ in range(10):
        w, dense, q, lr, seed, step, _ = with_draws(rng, *operands(rng, shape, sliced=False))
        *_, channels = operands(rng, shape)
        everything = sgd_update_weight_stochastic.update(w, dense, q, lr, seed, step)
        sliced = sgd_update_weight_stochastic.update(w, dense[..., channels], q, lr, seed, step, channels)
        trains = np.isin(np.arange(shape[-1]), channels)
        np.testing.assert_array_equal(sliced, np.where(trains, everything, w))


@pytest.mark.rules("UPS-S6", "UPS-S4", "UPS-A1", "UPS-F1")
@pytest.mark.parametrize("shape", SHAPES)
def test_the_trained_part_of_a_split_weight_gets_the_draws_of_the_dense_one(shape):
    rng = np.random.default_rng(shape)
    for _ in range(10):
        w, dw, q, lr, seed, step, channels = with_draws(rng, *operands(rng, shape))
        (dense,) = c_kernels.check(NAME, w, dw, q, lr, seed, step, channels)
        factors = q[channels] if len(shape) == 3 else q
        part = [w[..., channels].copy(), dw, factors, lr, seed, step, channels]
        (w_new,) = c_kernels.check(NAME, *part, dense_channels=shape[-1])
        np.testing.assert_array_equal(w_new, dense[..., channels])
        c_kernels.check_in_place(NAME, "w_new", "w", *part, dense_channels=shape[-1])


@pytest.mark.rules("UPS-C2")
def test_parts_that_do_not_fit():
    w, dw, q = Type((2, 3), "int8"), Type((2, 3), "float32"), Type((2,), "float32")
    rate, number = Type((1,), "float32"), Type((1,), "int32")
    arrays, good = (w, dw, q, rate, number, number), Type((3,), "int32")
    assert sgd_update_weight_stochastic.types(*arrays, good, dense_channels=3) == (w,)
    for channels, of in ((None, 5), (Type((2,), "int32"), 5), (Type((3,), "float32"), 5), (good, 2)):
        with pytest.raises(
            ConstraintError, match=r"UPS-C2: w is .*, dense_channels is .; give int32\[3\], and at least 3"
        ):
            sgd_update_weight_stochastic.types(*arrays, channels, dense_channels=of)
    with pytest.raises(ConstraintError, match="UPW-C2"):
        sgd_update_weight_stochastic.types(w, Type((2, 2), "float32"), *arrays[2:], good, dense_channels=9)


@pytest.mark.rules("UPS-C2")
@pytest.mark.parametrize("namespace", [ops, kernels])
@pytest.mark.parametrize("channels", [[1, 0], [2, 2], [-1, 0], [0, 5]])
def test_numbers_of_channels_that_the_dense_weight_does_not_have(namespace, channels):
    w, dw, zero = np.zeros((2, 2), np.int8), np.zeros((2, 2), np.float32), np.zeros(1, np.int32)
    arrays = w, dw, np.ones(2, np.float32), one, zero, zero
    namespace.sgd_update_weight_stochastic.update(*arrays, np.int32([0, 4]), dense_channels=5)
    with pytest.raises(ConstraintError, match=r"UPW-C5: channels is \[.*; list each .* from 0 to 4"):
        namespace.sgd_update_weight_stochastic.update(*arrays, np.int32(channels), dense_channels=5)


@pytest.mark.rules("UPS-S5")
def test_what_is_not_finite():
    w, dw = np.full((1, 3), 5, np.int8), np.array([[np.nan, np.inf, -np.inf]], np.float32)
    for number in range(20):
        step = np.array([number], np.int32)
        assert c_kernels.check(NAME, w, dw, one, one, step, step, None)[0].tolist() == [[0, -127, 127]]


@pytest.mark.rules("UPS-F1")
def test_frozen_elements_keep_every_bit():
    w = np.arange(-128, 128).astype(np.int8).reshape(2, 128)
    dw, zero = np.full((2, 1), 0.5, np.float32), np.zeros(1, np.int32)
    (w_new,) = c_kernels.check(NAME, w, dw, np.ones(2, np.float32), one, zero, zero, np.array([7], np.int32))
    np.testing.assert_array_equal(np.delete(w_new, 7, axis=1), np.delete(w, 7, axis=1))
