"""sgd_update_weight_master against its page."""

from __future__ import annotations

import numpy as np
import pytest

import c_kernels
import exact
from goldgrad.errors import ConstraintError
from goldgrad.numerics import same_bits
from goldgrad.ops import FUNCTIONS, Type, sgd_update_weight, sgd_update_weight_master
from weight_updates import SHAPES, code, elements, operands

NAME = "sgd_update_weight_master.update"
one = np.ones(1, np.float32)


def with_master(rng, w, dw, q, lr, channels):
    """The operands of the master update; the copy is near the codes, also beyond their range and not finite."""
    near = (w if channels is None else w[..., channels]) + rng.normal(0, 1, dw.shape)
    master = np.where(rng.random(dw.shape) < 0.9, near.astype(np.float32), rng.choice(exact.HARD, dw.shape))
    return [w, dw, q, lr, master, channels]


def scalar_update(w, dw, q, lr, master, channels=None):
    w_new, master_new = w.copy(), master.copy()
    for dense, at, k in elements(w, dw, q, lr, channels):
        v = exact.fma(k, dw[at], master[at])
        v = np.float32(0) if np.isnan(v) else min(max(v, np.float32(-127)), np.float32(127))
        w_new[dense], master_new[at] = code(v), v
    return w_new, master_new


@pytest.mark.rules("UPM-C1")
@pytest.mark.parametrize("master", [Type((2, 3), "float32"), Type((2, 2), "int8")])
def test_types_that_do_not_fit(master):
    w, dw, q, lr, channels = (
        Type((2, 3), "int8"),
        Type((2, 2), "float32"),
        Type((2,), "float32"),
        Type((1,), "float32"),
        Type((2,), "int32"),
    )
    assert sgd_update_weight_master.types(w, dw, q, lr, dw, channels) == (w, dw)
    with pytest.raises(ConstraintError, match=r"UPM-C1: master is .*; give one float32 for each weight that trains"):
        sgd_update_weight_master.types(w, dw, q, lr, master, channels)
    with pytest.raises(ConstraintError, match="UPW-C3"):
        sgd_update_weight_master.types(w, dw, lr, lr, dw, channels)


@pytest.mark.rules("UPW-C5")
def test_channels_that_do_not_exist():
    w, dw = np.zeros((2, 3), np.int8), np.zeros((2, 1), np.float32)
    with pytest.raises(ConstraintError, match="UPW-C5"):
        sgd_update_weight_master.update(w, dw, np.ones(2, np.float32), one, dw, np.array([3], np.int32))


@pytest.mark.rules("UPM-S1", "UPM-S2", "UPM-S3", "UPM-F1")
@pytest.mark.parametrize("sliced", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_update_is_the_scalar_loop_and_c_is_the_update(shape, sliced):
    rng = np.random.default_rng([*shape, sliced])
    for _ in range(10):
        arrays = with_master(rng, *operands(rng, shape, sliced))
        w_new, master_new = c_kernels.check(NAME, *arrays)
        expected = scalar_update(*arrays)
        np.testing.assert_array_equal(w_new, expected[0])
        assert same_bits(master_new, expected[1]).all()
        c_kernels.check_in_place(NAME, "w_new", "w", *arrays)
        c_kernels.check_in_place(NAME, "master_new", "master", *arrays)


@pytest.mark.rules("UPM-A1", "UPM-A2")
def test_alias_table_and_what_it_updates():
    assert c_kernels.pairs(NAME) == {("w_new", "w", "UPM-A1"), ("master_new", "master", "UPM-A2")}
    assert FUNCTIONS[NAME].updates == "w"


@pytest.mark.rules("UPM-S1", "UPM-S2")
def test_small_steps_add_up_where_codes_alone_would_stand_still():
    w, dw = np.array([[3]], np.int8), np.array([[-0.25]], np.float32)
    master, codes = w.astype(np.float32), w
    for _ in range(8):
        w, master = sgd_update_weight_master.update(w, dw, one, one, master)
        codes = sgd_update_weight.update(codes, dw, one, one)
    assert (w.item(), master.item(), codes.item()) == (5, 5.0, 3)


@pytest.mark.rules("UPM-S1")
def test_copy_is_clamped_and_comes_back_at_once():
    w, master = np.array([[126]], np.int8), np.array([[126.75]], np.float32)
    w, master = sgd_update_weight_master.update(w, np.array([[-900]], np.float32), one, one, master)
    assert (w.item(), master.item()) == (127, 127.0)
    w, master = sgd_update_weight_master.update(w, np.array([[2]], np.float32), one, one, master)
    assert (w.item(), master.item()) == (125, 125.0)


@pytest.mark.rules("UPM-S2")
def test_code_is_the_copys_rounding_not_the_old_codes():
    (w_new, _) = c_kernels.check(
        NAME, np.array([[100]], np.int8), np.zeros((1, 1), np.float32), one, one, np.array([[2.5]], np.float32), None
    )
    assert w_new.item() == 2


@pytest.mark.rules("UPM-S3")
def test_what_is_not_finite():
    w, q = np.full((1, 4), 9, np.int8), one
    dw = np.array([[np.nan, np.inf, -np.inf, 0]], np.float32)
    master = np.array([[9, 9, 9, np.nan]], np.float32)
    w_new, master_new = c_kernels.check(NAME, w, dw, q, one, master, None)
    assert w_new.tolist() == [[0, -127, 127, 0]]
    assert master_new.tolist() == [[0, -127, 127, 0]]
    assert not np.signbit(master_new[0, 0])


@pytest.mark.rules("UPM-F1")
def test_frozen_elements_keep_every_bit():
    w = np.arange(-128, 128).astype(np.int8).reshape(2, 128)
    dw = np.full((2, 1), np.nan, np.float32)
    w_new, _ = c_kernels.check(NAME, w, dw, np.ones(2, np.float32), one, dw, np.array([7], np.int32))
    np.testing.assert_array_equal(np.delete(w_new, 7, axis=1), np.delete(w, 7, axis=1))
