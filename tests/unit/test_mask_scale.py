"""specs/ops/mask_scale.md"""

import numpy as np
import pytest

import c_kernels
import exact
from goldgrad import ConstraintError
from goldgrad.numerics import same_bits
from goldgrad.ops import Type, mask_scale

SHAPES = [(1, 1), (3, 7), (1, 8), (2, 9), (2, 1, 3, 17), (1, 4, 2, 16), (1, 300)]


@pytest.mark.rules("SCALE-S1", "SCALE-S2")
def test_by_hand():
    gy = np.float32([[3.0, -5.0, 7.0]])
    g = mask_scale.forward(gy, np.uint8([[0b101]]), np.float32([2.0, 4.0, 0.5]))
    assert same_bits(g, np.float32([[6.0, 0.0, 3.5]])).all()


@pytest.mark.rules("SCALE-S1")
def test_nothing_passes_a_closed_mask():
    gy = exact.HARD[None]
    closed = np.zeros((1, 2), np.uint8)
    g = mask_scale.forward(gy, closed, np.full(gy.size, 2.0, np.float32))
    assert same_bits(g, np.zeros_like(gy)).all()  # +0, not -0, not NaN


@pytest.mark.rules("SCALE-S1", "SCALE-S2", "SCALE-F1")
@pytest.mark.parametrize("shape", SHAPES)
def test_c_and_a_scalar_loop_agree_with_the_reference(shape):
    rng = np.random.default_rng(shape)
    gy, mask, m = exact.floats(rng, *shape, hard=0.2), exact.packed(rng, *shape), np.abs(exact.floats(rng, shape[-1]))
    (g,) = c_kernels.check("mask_scale.forward", gy, mask, m)
    scalar = np.zeros_like(gy)
    for *pixel, c in np.ndindex(shape):
        if mask[*pixel, c // 8] >> (c % 8) & 1:
            scalar[*pixel, c] = exact.mul(gy[*pixel, c], m[c])
    assert same_bits(g, scalar).all()


@pytest.mark.rules("SCALE-A1")
@pytest.mark.parametrize("shape", SHAPES)
def test_in_place(shape):
    rng = np.random.default_rng(shape)
    assert c_kernels.pairs("mask_scale.forward") == {("g", "gy", "SCALE-A1")}
    operands = exact.floats(rng, *shape, hard=0.2), exact.packed(rng, *shape), np.abs(exact.floats(rng, shape[-1]))
    c_kernels.check_in_place("mask_scale.forward", "g", "gy", *operands)


GY, MASK, M = Type((1, 2, 9), "float32"), Type((1, 2, 2), "uint8"), Type((9,), "float32")


@pytest.mark.rules("SCALE-C1")
@pytest.mark.parametrize("gy", [Type((1, 2, 9), "int8"), Type((9,), "float32"), Type((0, 9), "float32")])
def test_a_gradient_of_a_wrong_type_is_refused(gy):
    with pytest.raises(ConstraintError, match="SCALE-C1: gy is"):
        mask_scale.types(gy, MASK, M)


@pytest.mark.rules("SCALE-C2")
@pytest.mark.parametrize("mask", [Type((1, 2, 1), "uint8"), Type((1, 2, 2), "int8"), Type((2, 2), "uint8")])
def test_a_mask_of_a_wrong_type_is_refused(mask):
    with pytest.raises(ConstraintError, match=r"SCALE-C2: mask is .*give uint8\[1, 2, 2\]"):
        mask_scale.types(GY, mask, M)


@pytest.mark.rules("SCALE-C3")
@pytest.mark.parametrize("m", [Type((1,), "float32"), Type((9,), "float64"), Type((1, 9), "float32")])
def test_multipliers_of_a_wrong_type_are_refused(m):
    with pytest.raises(ConstraintError, match=r"SCALE-C3: m is .*float32\[9\]"):
        mask_scale.types(GY, MASK, m)
