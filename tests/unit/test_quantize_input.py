"""specs/ops/quantize_input.md"""

import numpy as np
import pytest

import c_kernels
import exact
from goldgrad import ConstraintError
from goldgrad.numerics import div32, multiplier, rne
from goldgrad.ops import Type, quantize_input

SHAPES = [(1, 1), (7,), (2, 5, 3, 3), (1, 11, 13, 3)]
ZEROS = [(0, -128), (255, 127), (128, 0), (3, -7)]


@pytest.mark.rules("QIN-S1")
def test_a_shift_of_the_bytes_is_exact():
    x = np.arange(256, dtype=np.uint8)
    for x_zero, y_zero in [(128, 0), (0, -128), (255, 127)]:
        y = quantize_input.from_uint8(x, np.float32([1.0]), x_zero=x_zero, y_zero=y_zero)
        assert y.tolist() == list(range(-128, 128))


@pytest.mark.rules("QIN-S1")
def test_bytes_round_half_to_even_before_the_zero_point():
    x = np.uint8([1, 2, 3, 5])
    assert quantize_input.from_uint8(x, np.float32([0.5]), x_zero=0, y_zero=1).tolist() == [1, 2, 3, 3]


@pytest.mark.rules("QIN-S2")
def test_real_numbers_round_half_to_even_saturate_and_nan_is_the_zero_point():
    x = np.float32([0.5, 1.5, -0.5, 126.5, 127.0, 1e30, np.inf, -np.inf, np.nan, -0.0, 1e-45])
    y = quantize_input.from_float32(x, np.float32([1.0]), y_zero=1)
    assert y.tolist() == [1, 3, 1, 127, 127, 127, 127, -128, 1, 1, 1]


@pytest.mark.rules("QIN-S2")
def test_the_image_is_multiplied_by_the_rounded_inverse_not_divided():
    x, s_y = np.float32([0.075]), 0.03
    assert quantize_input.from_float32(x, multiplier(1.0, [s_y]), y_zero=0).tolist() == [2]
    assert rne(div32(x, np.float32(s_y))).tolist() == [3]


@pytest.mark.rules("QIN-S1", "QIN-F1", "QIN-A1")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("x_zero", "y_zero"), ZEROS)
def test_from_uint8_agrees_with_c_and_a_scalar_loop(shape, x_zero, y_zero):
    rng = np.random.default_rng(shape)
    x = exact.codes(rng, *shape, dtype="uint8")
    assert c_kernels.pairs("quantize_input.from_uint8") == {("y", "x", "QIN-A1")}
    for m in np.float32([[1.0], [0.5], [0.7312], [1e-40], [3e38]]):
        (y,) = c_kernels.check("quantize_input.from_uint8", x, m, x_zero=x_zero, y_zero=y_zero)
        for at in np.ndindex(shape):
            code = exact.rne(exact.mul(np.float32(int(x[at]) - x_zero), m[0])) + y_zero
            assert y[at] == exact.clamp(code, -128, 127)
        c_kernels.check_in_place("quantize_input.from_uint8", "y", "x", x, m, x_zero=x_zero, y_zero=y_zero)


@pytest.mark.rules("QIN-S2", "QIN-F1", "QIN-A2")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("y_zero", [-128, 0, 127])
def test_from_float32_agrees_with_c_and_a_scalar_loop(shape, y_zero):
    rng = np.random.default_rng(shape)
    x = exact.floats(rng, *shape, hard=0.2)
    assert c_kernels.pairs("quantize_input.from_float32") == {("y", "x", "QIN-A2")}
    for m in np.float32([[1.0], [0.5], [117.3], [1e-40], [3e38]]):
        (y,) = c_kernels.check("quantize_input.from_float32", x, m, y_zero=y_zero)
        for at in np.ndindex(shape):
            assert y[at] == exact.clamp(exact.rne(exact.mul(x[at], m[0])) + y_zero, -128, 127)
        c_kernels.check_in_place("quantize_input.from_float32", "y", "x", x, m, y_zero=y_zero)


BYTES, REALS, M = Type((1, 4, 4, 3), "uint8"), Type((1, 4, 4, 3), "float32"), Type((1,), "float32")


@pytest.mark.rules("QIN-C1")
def test_an_image_of_a_wrong_type_is_refused():
    for x in REALS, Type((1, 4), "int8"), Type((), "uint8"), Type((0, 3), "uint8"):
        with pytest.raises(ConstraintError, match=r"QIN-C1: x is .*give uint8"):
            quantize_input.types_from_uint8(x, M, x_zero=0, y_zero=0)
    for x in BYTES, Type((1, 4), "float64"):
        with pytest.raises(ConstraintError, match=r"QIN-C1: x is .*give float32"):
            quantize_input.types_from_float32(x, M, y_zero=0)


@pytest.mark.rules("QIN-C2")
@pytest.mark.parametrize("m", [Type((3,), "float32"), Type((), "float32"), Type((1,), "float64")])
def test_a_multiplier_of_a_wrong_type_is_refused(m):
    with pytest.raises(ConstraintError, match="QIN-C2: m is"):
        quantize_input.types_from_uint8(BYTES, m, x_zero=0, y_zero=0)
    with pytest.raises(ConstraintError, match="QIN-C2: m is"):
        quantize_input.types_from_float32(REALS, m, y_zero=0)


@pytest.mark.rules("QIN-C3", "QIN-C4")
def test_zero_points_out_of_range_are_refused():
    for y_zero in -129, 128:
        with pytest.raises(ConstraintError, match=f"QIN-C3: y_zero is {y_zero}"):
            quantize_input.types_from_uint8(BYTES, M, x_zero=0, y_zero=y_zero)
        with pytest.raises(ConstraintError, match=f"QIN-C3: y_zero is {y_zero}"):
            quantize_input.types_from_float32(REALS, M, y_zero=y_zero)
    for x_zero in -1, 256:
        with pytest.raises(ConstraintError, match=f"QIN-C4: x_zero is {x_zero}"):
            quantize_input.types_from_uint8(BYTES, M, x_zero=x_zero, y_zero=0)
