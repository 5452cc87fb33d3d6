"""sgd_update_bias against its page."""

from __future__ import annotations

import numpy as np
import pytest

import c_kernels
import exact
from goldgrad.errors import ConstraintError
from goldgrad.ops import FUNCTIONS, Type, sgd_update_bias

NAME = "sgd_update_bias.update"
MOST = 2**31 - 1
one = np.ones(1, np.float32)


def step(b, db, lr=1.0, q=1.0, limit=MOST):
    """Update one bias; both the reference and C."""
    arrays = [np.array([b], np.int32), np.float32([db]), np.float32([q]), np.array([limit], np.int32)]
    return c_kernels.check(NAME, *arrays, np.float32([lr]))[0].item()


@pytest.mark.parametrize(
    ("rule", "operand", "type_"),
    [
        pytest.param("UPB-C1", "b", Type((3,), "int8"), marks=pytest.mark.rules("UPB-C1")),
        pytest.param("UPB-C1", "b", Type((1, 3), "int32"), marks=pytest.mark.rules("UPB-C1")),
        pytest.param("UPB-C1", "b", Type((0,), "int32"), marks=pytest.mark.rules("UPB-C1")),
        pytest.param("UPB-C2", "db", Type((2,), "float32"), marks=pytest.mark.rules("UPB-C2")),
        pytest.param("UPB-C2", "q", Type((3,), "float64"), marks=pytest.mark.rules("UPB-C2")),
        pytest.param("UPB-C2", "limit", Type((3,), "int32"), marks=pytest.mark.rules("UPB-C2")),
        pytest.param("UPB-C2", "lr", Type((3,), "float32"), marks=pytest.mark.rules("UPB-C2")),
    ],
)
def test_types_that_do_not_fit(rule, operand, type_):
    floats = Type((3,), "float32")
    good = {
        "b": Type((3,), "int32"),
        "db": floats,
        "q": floats,
        "limit": Type((1,), "int32"),
        "lr": Type((1,), "float32"),
    }
    assert sgd_update_bias.types(**good) == (good["b"],)
    with pytest.raises(ConstraintError) as caught:
        sgd_update_bias.types(**{**good, operand: type_})
    assert caught.value.rule == rule
    assert str(type_) in caught.value.fault


@pytest.mark.rules("UPB-C3")
@pytest.mark.parametrize(("b", "limit"), [(101, 100), (-102, 100), (-(2**31), MOST - 1)])
def test_bias_beyond_its_limit(b, limit):
    biases, db, q = np.array([MOST, b], np.int32), np.zeros(2, np.float32), np.float32([0, 1])
    with pytest.raises(ConstraintError) as caught:
        sgd_update_bias.update(biases, db, q, np.array([limit], np.int32), one)
    assert caught.value.rule == "UPB-C3"
    assert f"bias {b} of channel 1 lies outside the limit {limit}" in caught.value.fault
    assert step(-101, 0, limit=100) == -101
    with pytest.raises(ConstraintError, match=r"UPB-C3: bias 0 of channel 0 lies outside the limit -1"):
        step(0, 0, limit=-1)


@pytest.mark.rules("UPB-S1", "UPB-S2", "UPB-S3", "UPB-S4", "UPB-F1")
@pytest.mark.parametrize("channels", [1, 2, 17])
def test_update_is_the_scalar_loop_and_c_is_the_update(channels):
    rng = np.random.default_rng(channels)
    for _ in range(60):
        most = MOST if rng.random() < 0.3 else int(rng.integers(0, 2**31))
        b = np.where(
            rng.random(channels) < 0.3,
            rng.choice([-1, 0], channels) - most * rng.choice([1, 0], channels),
            (rng.random(channels) * most).astype(np.int64),
        )
        halves = (rng.integers(-99, 99, channels) / 2).astype(np.float32)
        db = np.where(rng.random(channels) < 0.5, halves, exact.floats(rng, channels, hard=0.2))
        q = rng.choice(np.float32([0, 1, 1, 3, 1e9]), channels)
        lr = rng.choice(np.float32([0, 1, 0.5]), 1)
        fixed = (q == 0) & (rng.random(channels) < 0.5)
        b = np.where(fixed, rng.integers(-(2**31), 2**31, channels), b).astype(np.int32)
        limit = np.array([most], np.int32)
        (b_new,) = c_kernels.check(NAME, b, db, q, limit, lr)
        for c in range(channels):
            delta = exact.rne(exact.mul(-exact.mul(lr[0], q[c]), db[c]))
            assert b_new[c] == (b[c] if q[c] == 0 else exact.clamp(int(b[c]) + delta, -most - 1, most))
        c_kernels.check_in_place(NAME, "b_new", "b", b, db, q, limit, lr)


@pytest.mark.rules("UPB-A1")
def test_alias_table_and_what_it_updates():
    assert c_kernels.pairs(NAME) == {("b_new", "b", "UPB-A1")}
    assert FUNCTIONS[NAME].updates == "b"


@pytest.mark.rules("UPB-S2")
@pytest.mark.parametrize(
    ("b", "db", "b_new"),
    [(7, -0.5, 7), (7, -0.75, 8), (7, -1.5, 9), (7, -2.5, 9), (7, 0.5, 7), (7, 1.5, 5), (2**30 + 1, -1, 2**30 + 2)],
)
def test_change_is_rounded_to_nearest_then_added_exactly(b, db, b_new):
    assert step(b, db) == b_new


@pytest.mark.rules("UPB-S1")
def test_factor_is_rounded_before_the_gradient_multiplies_it():
    lr, q, db = 1 + 1698 / 4096, 1 + 1705 / 4096, float.fromhex("0x1.ff237p-3")
    assert np.float32(lr * q * db) > 0.5 == np.float32(float(np.float32(lr * q)) * db)
    assert step(0, -db, lr=lr, q=q) == 0


@pytest.mark.rules("UPB-S3")
@pytest.mark.parametrize(
    ("b", "db", "limit", "b_new"),
    [
        (MOST - 1, -5, MOST, MOST),
        (-(2**31) + 1, 5, MOST, -(2**31)),
        (100, -3e38, 1000, 1000),
        (100, 3e38, 1000, -1001),
        (-1, -5, 0, 0),
        (0, 5, 0, -1),
    ],
)
def test_saturates_at_the_limit_and_never_wraps(b, db, limit, b_new):
    assert step(b, db, limit=limit) == b_new


@pytest.mark.rules("UPB-S3")
def test_the_limit_keeps_the_accumulator_within_int32():
    products = 127 * 255 * 9
    limit = MOST - products
    for db in (-3e38, 3e38):
        b = step(0, db, limit=limit)
        assert b - products >= -(2**31)
        assert b + products <= MOST


@pytest.mark.rules("UPB-S4")
def test_what_is_not_finite():
    assert step(5, np.nan) == 5
    assert step(5, -np.inf, limit=1000) == 1000
    assert step(5, np.inf, limit=1000) == -1001
    assert step(5, np.inf, lr=0) == 5  # 0 * inf is NaN
    assert step(5, 1, q=np.nan) == 5


@pytest.mark.rules("UPB-S3", "UPB-C3")
def test_channel_that_never_trains_keeps_any_bias():
    for b in (-(2**31), MOST, 0):
        for db in (1e30, -1e30, np.inf, np.nan):
            for q in (0.0, -0.0):
                assert step(b, db, q=q, limit=7) == b
