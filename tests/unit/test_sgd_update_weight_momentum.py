"""sgd_update_weight_momentum against its page."""

from __future__ import annotations

import numpy as np
import pytest

import c_kernels
import exact
from goldgrad.errors import ConstraintError
from goldgrad.numerics import same_bits
from goldgrad.ops import FUNCTIONS, Type, sgd_update_weight_momentum
from weight_updates import SHAPES, operands, scalar_update

NAME = "sgd_update_weight_momentum.update"
one = np.ones(1, np.float32)


def with_velocity(rng, w, dw, q, lr, channels):
    mu = rng.choice(np.float32([0, 0.9, 0.9, 0.5, 1]), 1)
    return [w, dw, q, lr, exact.floats(rng, *dw.shape, hard=0.1), mu, channels]


@pytest.mark.rules("UPMO-C1")
@pytest.mark.parametrize(
    ("velocity", "mu"),
    [
        (Type((2, 3), "float32"), Type((1,), "float32")),
        (Type((2, 2), "float32"), Type((), "float32")),
        (Type((2, 2), "int32"), Type((1,), "float32")),
    ],
)
def test_types_that_do_not_fit(velocity, mu):
    w, dw, q, one_ = Type((2, 3), "int8"), Type((2, 2), "float32"), Type((2,), "float32"), Type((1,), "float32")
    channels = Type((2,), "int32")
    assert sgd_update_weight_momentum.types(w, dw, q, one_, dw, one_, channels) == (w, dw)
    with pytest.raises(ConstraintError, match=r"UPMO-C1: velocity is .*, mu is .*; give"):
        sgd_update_weight_momentum.types(w, dw, q, one_, velocity, mu, channels)
    with pytest.raises(ConstraintError, match="UPW-C2"):
        sgd_update_weight_momentum.types(w, q, q, one_, dw, one_, channels)


@pytest.mark.rules("UPW-C5")
def test_channels_that_do_not_exist():
    w, dw = np.zeros((2, 3), np.int8), np.zeros((2, 1), np.float32)
    with pytest.raises(ConstraintError, match="UPW-C5"):
        sgd_update_weight_momentum.update(w, dw, np.ones(2, np.float32), one, dw, one, np.array([3], np.int32))


@pytest.mark.rules("UPMO-S1", "UPMO-S2", "UPMO-S3", "UPMO-F1")
@pytest.mark.parametrize("sliced", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_update_is_the_scalar_loop_and_c_is_the_update(shape, sliced):
    rng = np.random.default_rng([*shape, sliced])
    for _ in range(10):
        arrays = with_velocity(rng, *operands(rng, shape, sliced))
        w_new, velocity_new = c_kernels.check(NAME, *arrays)
        w, dw, q, lr, velocity, mu, channels = arrays
        expected = [exact.fma(mu[0], v, d) for v, d in zip(velocity.ravel(), dw.ravel(), strict=True)]
        assert same_bits(velocity_new, np.array(expected, np.float32).reshape(dw.shape)).all()
        np.testing.assert_array_equal(w_new, scalar_update(w, velocity_new, q, lr, channels))
        c_kernels.check_in_place(NAME, "w_new", "w", *arrays)
        c_kernels.check_in_place(NAME, "velocity_new", "velocity", *arrays)


@pytest.mark.rules("UPMO-A1", "UPMO-A2")
def test_alias_table_and_what_it_updates():
    assert c_kernels.pairs(NAME) == {("w_new", "w", "UPMO-A1"), ("velocity_new", "velocity", "UPMO-A2")}
    assert FUNCTIONS[NAME].updates == "w"


@pytest.mark.rules("UPMO-S1", "UPMO-S2")
def test_velocity_decays_and_drives_the_weight():
    w, velocity = np.array([[0]], np.int8), np.zeros((1, 1), np.float32)
    dw, half = np.array([[-8]], np.float32), np.float32([0.5])
    seen = []
    for _ in range(3):
        w, velocity = sgd_update_weight_momentum.update(w, dw, one, one, velocity, half)
        seen.append((w.item(), velocity.item()))
    assert seen == [(8, -8.0), (20, -12.0), (34, -14.0)]


@pytest.mark.rules("UPMO-S3")
def test_a_velocity_is_not_repaired():
    w = np.full((1, 2), 9, np.int8)
    velocity = np.array([[np.nan, np.inf]], np.float32)
    w_new, velocity_new = c_kernels.check(NAME, w, np.zeros((1, 2), np.float32), one, one, velocity, one, None)
    assert w_new.tolist() == [[0, -127]]
    assert same_bits(velocity_new, velocity).all()


@pytest.mark.rules("UPMO-F1")
def test_frozen_elements_keep_every_bit():
    w = np.arange(-128, 128).astype(np.int8).reshape(2, 128)
    dw = np.full((2, 1), np.nan, np.float32)
    w_new, _ = c_kernels.check(NAME, w, dw, np.ones(2, np.float32), one, dw, one, np.array([7], np.int32))
    np.testing.assert_array_equal(np.delete(w_new, 7, axis=1), np.delete(w, 7, axis=1))
