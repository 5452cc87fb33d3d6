"""specs/ops/bias_gradient.md"""

import numpy as np
import pytest

import c_kernels
import exact
from goldgrad import ConstraintError
from goldgrad.numerics import same_bits
from goldgrad.ops import Type, bias_gradient, conv2d, fully_connected

SHAPES = [(1, 1), (3, 7), (1, 1, 1, 8), (2, 3, 2, 5), (1, 5, 4, 17)]


@pytest.mark.rules("BIAS-S1")
def test_the_sum_goes_from_the_first_sample_and_pixel_to_the_last():
    g = np.float32([1.0, 2.0**-24, 2.0**-24, -1.0]).reshape(2, 1, 2, 1)
    assert bias_gradient.forward(g).tolist() == [0.0]  # each small one is lost in 1.0
    assert bias_gradient.forward(g[:, :, ::-1]).tolist() == [2.0**-24]
    assert bias_gradient.forward(g, np.float32([0.5])).tolist() == [0.5]


@pytest.mark.rules("BIAS-S1")
def test_without_a_start_minus_0_cannot_come_out():
    assert same_bits(bias_gradient.forward(np.float32([[-0.0], [-0.0]])), np.float32([0.0])).all()
    assert same_bits(bias_gradient.forward(np.float32([[-0.0]]), np.float32([-0.0])), np.float32([-0.0])).all()


@pytest.mark.rules("BIAS-S1", "BIAS-F1")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("hard", [0.0, 0.05])
def test_c_and_a_scalar_loop_agree_with_the_reference(shape, hard):
    rng = np.random.default_rng(shape)
    g, db0 = exact.floats(rng, *shape, hard=hard), exact.floats(rng, shape[-1], hard=hard)
    for start in None, db0:
        (db,) = c_kernels.check("bias_gradient.forward", g, start)
        scalar = np.zeros(shape[-1], np.float32) if start is None else start.copy()
        for *pixel, c in np.ndindex(shape):
            scalar[c] = exact.fma(g[*pixel, c], np.float32(1), scalar[c])
        assert same_bits(db, scalar).all()


@pytest.mark.rules("BIAS-A1")
def test_in_place():
    rng = np.random.default_rng(0)
    assert c_kernels.pairs("bias_gradient.forward") == {("db", "db0", "BIAS-A1")}
    c_kernels.check_in_place("bias_gradient.forward", "db", "db0", exact.floats(rng, 2, 3, 9), exact.floats(rng, 9))


@pytest.mark.rules("BIAS-S1")
def test_layers_share_it():
    assert conv2d.vjp_b is fully_connected.vjp_b is bias_gradient.forward


@pytest.mark.rules("BIAS-C1")
@pytest.mark.parametrize("g", [Type((3, 4), "int8"), Type((4,), "float32"), Type((0, 4), "float32")])
def test_a_gradient_of_a_wrong_type_is_refused(g):
    with pytest.raises(ConstraintError, match="BIAS-C1: g is"):
        bias_gradient.types(g)


@pytest.mark.rules("BIAS-C2")
@pytest.mark.parametrize("db0", [Type((4,), "int32"), Type((3,), "float32"), Type((1, 4), "float32")])
def test_a_start_of_a_wrong_type_is_refused(db0):
    with pytest.raises(ConstraintError, match=r"BIAS-C2: db0 is .*float32\[4\]"):
        bias_gradient.types(Type((2, 4), "float32"), db0)
