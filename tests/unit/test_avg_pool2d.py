"""specs/ops/avg_pool2d.md"""

from fractions import Fraction

import numpy as np
import pytest

import c_kernels
import exact
from geometry import odd, some
from goldgrad import ConstraintError, kernels
from goldgrad.numerics import same_bits
from goldgrad.ops import Type, avg_pool2d

CODES = {"x_zero": -7, "y_zero": 5, "lo": -40, "hi": 60}
POOLS = odd(pool=True)


def share(m, count):
    """AVGP-S2: m / count, rounded once."""
    return exact.nearest(Fraction(float(m)) / count)


def by_definition(g, x, m, *, x_zero, y_zero, lo, hi):
    """AVGP-S1 to AVGP-S4 in Python integers and fractions."""
    y = np.zeros((len(x), *g.out_hw, x.shape[3]), np.int8)
    mask = np.zeros(y.shape, bool)
    meet = g.of_output()
    for n, oh, ow, c in np.ndindex(y.shape):
        pixels = [pixel for _, pixel in meet[oh, ow]]
        acc = sum(int(x[n, *pixel, c]) - x_zero for pixel in pixels)
        real = exact.nearest(Fraction(acc)) if acc else np.float32(0)
        code = exact.rne(exact.mul(real, share(m[0], len(pixels)))) + y_zero
        y[n, oh, ow, c] = exact.clamp(code, lo, hi)
        mask[n, oh, ow, c] = lo <= code <= hi
    return y, np.packbits(mask, axis=-1, bitorder="little")


def dx_by_definition(g, grad, mask, m, dx0):
    """AVGP-S5: for each element a chain over the outputs that hold the pixel, in raster order."""
    dx = dx0.copy()
    counts = {output: len(taps) for output, taps in g.of_output().items()}
    meet = g.of_input()
    for n, ih, iw, c in np.ndindex(dx.shape):
        for output, _ in meet[ih, iw]:
            if mask[n, *output, c // 8] >> (c % 8) & 1:
                dx[n, ih, iw, c] = exact.fma(grad[n, *output, c], share(m[0], counts[output]), dx[n, ih, iw, c])
    return dx


@pytest.mark.rules("AVGP-S1", "AVGP-S2", "AVGP-S3", "AVGP-S4", "AVGP-F1")
@pytest.mark.parametrize("g", POOLS.values(), ids=POOLS)
def test_forward_is_as_the_definition_says(g):
    rng = np.random.default_rng(2)
    x, m = exact.codes(rng, 2, *g.in_hw, 9), np.float32([0.7])
    attributes = {"kernel": g.kernel, **CODES, **g.attributes}
    y, mask = c_kernels.check("avg_pool2d.forward", x, m, **attributes)
    expected, expected_mask = by_definition(g, x, m, **CODES)
    assert y.tolist() == expected.tolist()
    assert mask.tolist() == expected_mask.tolist()


@pytest.mark.rules("AVGP-S5", "AVGP-A2", "AVGP-F1")
@pytest.mark.parametrize("g", POOLS.values(), ids=POOLS)
def test_vjp_x_is_as_the_definition_says(g):
    rng = np.random.default_rng(3)
    y, m = (2, *g.out_hw, 9), np.float32([0.7])
    grad, mask = exact.floats(rng, *y, hard=0.1), exact.packed(rng, *y)
    dx0 = exact.floats(rng, 2, *g.in_hw, 9, hard=0.1)
    attributes = {"in_hw": g.in_hw, "kernel": g.kernel, **g.attributes}
    (dx,) = c_kernels.check("avg_pool2d.vjp_x", grad, mask, m, dx0, **attributes)
    assert same_bits(dx, dx_by_definition(g, grad, mask, m, dx0)).all()
    (dx,) = c_kernels.check("avg_pool2d.vjp_x", grad, mask, m, **attributes)
    assert same_bits(dx, dx_by_definition(g, grad, mask, m, np.zeros_like(dx0))).all()
    c_kernels.check_in_place("avg_pool2d.vjp_x", "dx", "dx0", grad, mask, m, dx0, **attributes)


@pytest.mark.rules("AVGP-S1", "AVGP-S5")
@pytest.mark.parametrize("g", some(40, seed=5, pool=True), ids=repr)
def test_c_agrees_with_the_reference(g):
    rng = np.random.default_rng(6)
    samples, channels = (int(n) for n in rng.integers(1, (4, 20)))
    x, m = exact.codes(rng, samples, *g.in_hw, channels), np.float32([rng.uniform(0.1, 3)])
    y, mask = c_kernels.check("avg_pool2d.forward", x, m, kernel=g.kernel, **CODES, **g.attributes)
    grad, dx0 = exact.floats(rng, *y.shape, hard=0.02), exact.floats(rng, *x.shape)
    c_kernels.check("avg_pool2d.vjp_x", grad, mask, m, dx0, in_hw=g.in_hw, kernel=g.kernel, **g.attributes)


@pytest.mark.rules("AVGP-S1", "AVGP-S2", "AVGP-S5")
def test_padding_does_not_count():
    """A 2 x 2 map of 8, 3 x 3 windows around each pixel: all four pixels, mean 8, not 32 / 9."""
    x, m = np.full((1, 2, 2, 1), 8, np.int8), np.float32([1])
    y, mask = avg_pool2d.forward(x, m, kernel=(3, 3), x_zero=0, y_zero=0, pad=(1, 1, 1, 1))
    assert (y == 8).all()
    dx = avg_pool2d.vjp_x(np.ones((1, 2, 2, 1), np.float32), mask, m, in_hw=(2, 2), kernel=(3, 3), pad=(1, 1, 1, 1))
    assert (dx == 1).all()  # a quarter from each output
    # A 1 x 3 map, windows of 3 with one column of padding: counts 2, 3, 2.
    x = np.int8([1, 5, 9]).reshape(1, 1, 3, 1)
    y, mask = avg_pool2d.forward(x, m, kernel=(1, 3), x_zero=0, y_zero=0, pad=(0, 0, 1, 1))
    assert y[0, 0, :, 0].tolist() == [3, 5, 7]
    grad = np.float32([2, 3, 4]).reshape(1, 1, 3, 1)
    dx = avg_pool2d.vjp_x(grad, mask, np.float32([6]), in_hw=(1, 3), kernel=(1, 3), pad=(0, 0, 1, 1))
    assert dx[0, 0, :, 0].tolist() == [6 + 6, 6 + 6 + 12, 6 + 12]


@pytest.mark.rules("AVGP-S3", "AVGP-S4")
def test_halves_round_to_even_and_the_mask_is_inclusive():
    x = np.int8([[-4, -3], [-3, -2], [0, 1], [1, 2], [2, 3], [3, 4]]).reshape(1, 6, 2, 1)  # -3.5 -2.5 0.5 1.5 2.5 3.5
    y, mask = avg_pool2d.forward(x, np.float32([1]), kernel=(1, 2), x_zero=0, y_zero=10, lo=8, hi=12)
    assert y.ravel().tolist() == [8, 8, 10, 12, 12, 12]
    assert mask.ravel().tolist() == [0, 1, 1, 1, 1, 0]


@pytest.mark.rules("AVGP-S1")
def test_the_global_average_is_the_window_of_the_whole_map():
    x = np.arange(24, dtype=np.int8).reshape(2, 3, 2, 2)
    attributes = avg_pool2d.global_window((3, 2))
    assert attributes == {"kernel": (3, 2)}
    y, mask = avg_pool2d.forward(x, np.float32([1]), x_zero=0, y_zero=0, **attributes)
    assert y.tolist() == [[[[5, 6]]], [[[17, 18]]]]
    grad = np.float32([6, 12, 18, 24]).reshape(2, 1, 1, 2)
    dx = avg_pool2d.vjp_x(grad, mask, np.float32([1]), in_hw=(3, 2), **attributes)
    assert (dx == np.float32([[1, 2], [3, 4]])[:, None, None, :]).all()


@pytest.mark.rules("AVGP-S5")
def test_the_chain_goes_over_outputs_in_raster_order():
    mask, m = np.ones((1, 1, 3, 1), np.uint8), np.float32([3])
    for values, expected in (([1e8, 1, -1e8], 0), ([1, 1e8, -1e8], 0), ([1e8, -1e8, 1], 1)):
        grad = np.float32(values).reshape(1, 1, 3, 1)  # the middle pixel of five lies in all three windows
        assert avg_pool2d.vjp_x(grad, mask, m, in_hw=(1, 5), kernel=(1, 3))[0, 0, 2, 0] == expected


@pytest.mark.rules("AVGP-S5")
def test_a_masked_output_takes_no_part_and_padding_bits_do_not_matter():
    grad = np.float32([np.nan, 4, np.inf]).reshape(1, 1, 3, 1)
    dx0 = np.full((1, 1, 3, 1), -0.0, np.float32)
    mask = np.uint8([0xFE, 0xFF, 0xFE]).reshape(1, 1, 3, 1)
    (dx,) = c_kernels.check("avg_pool2d.vjp_x", grad, mask, np.float32([0.5]), dx0, in_hw=(1, 3), kernel=(1, 1))
    assert same_bits(dx.ravel(), np.float32([-0.0, 2, -0.0])).all()


@pytest.mark.rules("AVGP-A1", "AVGP-A2")
def test_alias_table():
    assert c_kernels.pairs("avg_pool2d.forward") == set()
    assert c_kernels.pairs("avg_pool2d.vjp_x") == {("dx", "dx0", "AVGP-A2")}


@pytest.mark.rules("AVGP-F1")
def test_the_mask_may_be_left_out():
    x, m = exact.codes(np.random.default_rng(7), 2, 4, 4, 9), np.float32([1])
    expected, _ = avg_pool2d.forward(x, m, kernel=(2, 2), **CODES)
    y = np.empty_like(expected)
    kernels.call("avg_pool2d.forward", (x, m), (y, None), kernel=(2, 2), **CODES)
    assert (y == expected).all()


X, M, ZEROS = Type((1, 4, 4, 3), "int8"), Type((1,), "float32"), {"x_zero": 0, "y_zero": 0}
GY, MASK = Type((1, 2, 2, 3), "float32"), Type((1, 2, 2, 1), "uint8")
BACK = {"in_hw": (4, 4), "kernel": (3, 3)}


def broken(rule, text):
    return pytest.raises(ConstraintError, match=f"^{rule}: .*{text}")


@pytest.mark.rules("AVGP-C1")
@pytest.mark.parametrize("x", [Type((1, 4, 4, 3), "uint8"), Type((4, 4, 3), "int8"), Type((0, 4, 4, 3), "int8")])
def test_x_of_a_wrong_type_is_refused(x):
    with broken("AVGP-C1", "x is"):
        avg_pool2d.types(x, M, kernel=(2, 2), **ZEROS)


@pytest.mark.rules("AVGP-C2")
@pytest.mark.parametrize("m", [Type((3,), "float32"), Type((), "float32"), Type((1,), "float64")])
def test_m_of_a_wrong_type_is_refused(m):
    with broken("AVGP-C2", "m is"):
        avg_pool2d.types(X, m, kernel=(2, 2), **ZEROS)
    with broken("AVGP-C2", "m is"):
        avg_pool2d.types_vjp_x(GY, MASK, m, **BACK)


@pytest.mark.rules("AVGP-C3")
@pytest.mark.parametrize(
    ("codes", "text"),
    [({"x_zero": 128}, "x_zero is 128"), ({"hi": 128}, "hi is 128"), ({"lo": 5, "hi": 4}, r"\[5, 4\]")],
)
def test_codes_out_of_range_are_refused(codes, text):
    with broken("AVGP-C3", text):
        avg_pool2d.types(X, M, kernel=(2, 2), **{**ZEROS, **codes})


@pytest.mark.rules("AVGP-C4")
def test_more_taps_than_int32_bears_are_refused():
    assert 255 * avg_pool2d.MOST_TAPS < 2**31 and int(np.float32(avg_pool2d.MOST_TAPS - 1)) == avg_pool2d.MOST_TAPS - 1
    with broken("AVGP-C4", r"\(4096, 2049\) has 8392704 taps"):
        avg_pool2d.types(Type((1, 4096, 2049, 1), "int8"), M, kernel=(4096, 2049), **ZEROS)
    with broken("AVGP-C4", "taps"):
        avg_pool2d.types_vjp_x(GY, MASK, M, in_hw=(4096, 2049), kernel=(4096, 2049))
    avg_pool2d.types(Type((1, 4096, 2048, 1), "int8"), M, kernel=(4096, 2048), **ZEROS)


@pytest.mark.rules("AVGP-C5")
def test_an_output_in_the_padding_is_refused():
    with broken("AVGP-C5", r"output \(0, 4\) meets no pixel"):
        avg_pool2d.types(X, M, kernel=(2, 2), pad=(0, 0, 0, 2), **ZEROS)
    with broken("AVGP-C5", r"output \(0, 0\) meets no pixel"):
        avg_pool2d.types_vjp_x(GY, MASK, M, in_hw=(1, 1), kernel=(2, 1), dilation=(5, 1), pad=(2, 3, 0, 0))


@pytest.mark.rules("AVGP-C6")
@pytest.mark.parametrize(
    ("gy", "mask", "dx0", "text"),
    [
        (Type((1, 3, 2, 3), "float32"), MASK, None, "gy is"),
        (Type((1, 2, 2, 3), "float64"), MASK, None, "gy is"),
        (Type((), "float32"), MASK, None, "gy is"),
        (GY, Type((1, 2, 2, 3), "uint8"), None, "mask is"),
        (GY, Type((1, 2, 2, 1), "int8"), None, "mask is"),
        (GY, MASK, Type((1, 4, 4, 1), "float32"), "dx0 is"),
    ],
)
def test_gradients_of_a_wrong_type_are_refused(gy, mask, dx0, text):
    with broken("AVGP-C6", text):
        avg_pool2d.types_vjp_x(gy, mask, M, dx0, **BACK)
