"""sgd_update_weight against its page: constraints, scalar loops in exact fractions, C, and the frame."""

from __future__ import annotations

import numpy as np
import pytest

import c_kernels
from goldgrad import kernels
from goldgrad.errors import ConstraintError
from goldgrad.ops import FUNCTIONS, Type, sgd_update_weight
from weight_updates import SHAPES, operands, scalar_update, scales

NAME = "sgd_update_weight.update"
one = np.ones(1, np.float32)


def step(w, dw, lr=1.0, q=1.0, channels=None):
    """Update a weight given as a row [1, I]; both the reference and C."""
    arrays = [np.array([w], np.int8), np.array([dw], np.float32), np.float32([q]), np.float32([lr])]
    channels = None if channels is None else np.array(channels, np.int32)
    return c_kernels.check(NAME, *arrays, channels)[0][0].tolist()


@pytest.mark.parametrize(
    ("rule", "operand", "type_"),
    [
        pytest.param("UPW-C1", "w", Type((2, 3), "uint8"), marks=pytest.mark.rules("UPW-C1")),
        pytest.param("UPW-C1", "w", Type((3,), "int8"), marks=pytest.mark.rules("UPW-C1")),
        pytest.param("UPW-C1", "w", Type((2, 1, 1, 1, 3), "int8"), marks=pytest.mark.rules("UPW-C1")),
        pytest.param("UPW-C1", "w", Type((2, 0), "int8"), marks=pytest.mark.rules("UPW-C1")),
        pytest.param("UPW-C2", "dw", Type((2, 3), "float32"), marks=pytest.mark.rules("UPW-C2")),
        pytest.param("UPW-C2", "dw", Type((2, 2), "float64"), marks=pytest.mark.rules("UPW-C2")),
        pytest.param("UPW-C3", "q", Type((3,), "float32"), marks=pytest.mark.rules("UPW-C3")),
        pytest.param("UPW-C3", "lr", Type((), "float32"), marks=pytest.mark.rules("UPW-C3")),
        pytest.param("UPW-C4", "channels", Type((2,), "int64"), marks=pytest.mark.rules("UPW-C4")),
        pytest.param("UPW-C4", "channels", Type((0,), "int32"), marks=pytest.mark.rules("UPW-C4")),
        pytest.param("UPW-C4", "channels", Type((4,), "int32"), marks=pytest.mark.rules("UPW-C4")),
    ],
)
def test_types_that_do_not_fit(rule, operand, type_):
    good = {
        "w": Type((2, 3), "int8"),
        "dw": Type((2, 2), "float32"),
        "q": Type((2,), "float32"),
        "lr": Type((1,), "float32"),
        "channels": Type((2,), "int32"),
    }
    assert sgd_update_weight.types(**good) == (good["w"],)
    with pytest.raises(ConstraintError) as caught:
        sgd_update_weight.types(**{**good, operand: type_})
    assert caught.value.rule == rule
    assert str(type_) in caught.value.fault


@pytest.mark.rules("UPW-C5")
@pytest.mark.parametrize("channels", [[1, 0], [1, 1], [-1, 0], [2, 3]])
def test_channels_that_do_not_ascend_or_do_not_exist(channels):
    w, dw = np.zeros((2, 3), np.int8), np.zeros((2, 2), np.float32)
    with pytest.raises(ConstraintError) as caught:
        sgd_update_weight.update(w, dw, np.ones(2, np.float32), one, np.array(channels, np.int32))
    assert caught.value.rule == "UPW-C5"
    assert str(channels) in caught.value.fault
    assert "from 0 to 2" in caught.value.remedy


@pytest.mark.rules("UPW-S1", "UPW-S2", "UPW-S3", "UPW-S4", "UPW-S5", "UPW-F1", "UPW-F2")
@pytest.mark.parametrize("sliced", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_update_is_the_scalar_loop_and_c_is_the_update(shape, sliced):
    rng = np.random.default_rng([*shape, sliced])
    for _ in range(10):
        arrays = operands(rng, shape, sliced)
        (w_new,) = c_kernels.check(NAME, *arrays)
        np.testing.assert_array_equal(w_new, scalar_update(*arrays))
        c_kernels.check_in_place(NAME, "w_new", "w", *arrays)


@pytest.mark.rules("UPW-A1")
def test_alias_table_and_what_it_updates():
    assert c_kernels.pairs(NAME) == {("w_new", "w", "UPW-A1")}
    assert FUNCTIONS[NAME].updates == "w"


@pytest.mark.rules("UPW-S2")
def test_saturates_and_never_wraps():
    assert step([126, -126, 127, -127, 127], [-3, 3, -1e9, 1e9, 254]) == [127, -127, 127, -127, -127]


@pytest.mark.rules("UPW-S2")
@pytest.mark.parametrize(
    ("w", "dw", "w_new"),
    [(0, -0.5, 0), (0, 0.5, 0), (0, -1.5, 2), (1, -0.5, 2), (-1, 0.5, -2), (126, -0.5, 126), (-126, 0.5, -126)],
)
def test_ties_go_to_even(w, dw, w_new):
    assert step([w], [dw]) == [w_new]


@pytest.mark.rules("UPW-S2")
def test_product_and_sum_are_rounded_once():
    k, dw = float.fromhex("0x1.001p0"), float.fromhex("0x1.7fe802p0")
    assert k * dw > 1.5 == np.float32(k * dw)  # a product rounded on its own would end in a tie
    assert step([-1], [-dw], q=k) == [1]


@pytest.mark.rules("UPW-S1")
def test_factor_is_rounded_before_the_gradient_multiplies_it():
    lr, q, dw = 1 + 1698 / 4096, 1 + 1705 / 4096, float.fromhex("0x1.ff237p-3")
    assert np.float32(lr * q * dw) > 0.5 == np.float32(float(np.float32(lr * q)) * dw)
    assert step([0], [-dw], lr=lr, q=q) == [0]  # the tie, not beyond it


@pytest.mark.rules("UPW-S5")
def test_what_is_not_finite():
    inf, nan = np.inf, np.nan
    assert step([5, 5, 5, 5], [nan, inf, -inf, 0]) == [0, -127, 127, 5]
    assert step([5, 5, 5, 5], [nan, inf, -inf, 1], lr=0) == [0, 0, 0, 5]  # 0 * inf is NaN
    assert step([5, 5], [1, 0], q=inf) == [-127, 0]
    assert step([5], [1], lr=nan) == [0]


@pytest.mark.rules("UPW-S2")
@pytest.mark.parametrize("shape", [(4, 3, 3, 8), (5, 9), (3, 3, 16)])
def test_rate_zero_keeps_every_weight(shape):
    rng = np.random.default_rng(1)
    w, dw, q, _, channels = operands(rng, shape, hard=0)
    (w_new,) = c_kernels.check(NAME, w, dw, q, np.zeros(1, np.float32), channels)
    np.testing.assert_array_equal(w_new, w)


@pytest.mark.rules("UPW-S3", "UPW-F1")
@pytest.mark.parametrize("shape", SHAPES)
def test_slice_is_the_masked_dense_update(shape):
    rng = np.random.default_rng(shape)
    for _ in range(20):
        w, dense, q, lr, _ = operands(rng, shape, sliced=False)
        *_, channels = operands(rng, shape)
        everything = sgd_update_weight.update(w, dense, q, lr)
        sliced = sgd_update_weight.update(w, dense[..., channels], q, lr, channels)
        trains = np.isin(np.arange(shape[-1]), channels)
        np.testing.assert_array_equal(sliced, np.where(trains, everything, w))


@pytest.mark.rules("UPW-F1")
def test_frozen_elements_keep_every_bit_whatever_they_are():
    w = np.arange(-128, 128).astype(np.int8).reshape(2, 128)  # -128 too, which no model has
    dw = np.full((2, 1), np.nan, np.float32)
    channels = np.array([7], np.int32)
    (w_new,) = c_kernels.check(NAME, w, dw, np.full(2, np.inf, np.float32), one, channels)
    np.testing.assert_array_equal(np.delete(w_new, 7, axis=1), np.delete(w, 7, axis=1))
    assert w_new[:, 7].tolist() == [0, 0]


@pytest.mark.rules("UPW-S4")
def test_scale_axis_of_each_layout():
    q = np.float32([1, 2])
    for shape in [(2, 1, 1, 1), (2, 1), (1, 1, 2)]:
        w, dw = np.full(shape, 10, np.int8), np.full(shape, -1, np.float32)
        assert scales(shape) == 2
        assert sgd_update_weight.update(w, dw, q, one).ravel().tolist() == [11, 12]
        assert kernels.sgd_update_weight.update(w, dw, q, one).ravel().tolist() == [11, 12]
    channels = np.array([1], np.int32)  # HWC: the factor is the channel's, not the first
    w, dw = np.full((1, 1, 2), 10, np.int8), np.full((1, 1, 1), -1, np.float32)
    assert c_kernels.check(NAME, w, dw, q, one, channels)[0].ravel().tolist() == [10, 12]
