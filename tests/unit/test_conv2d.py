"""specs/ops/conv2d.md"""

from fractions import Fraction

import numpy as np
import pytest

import c_kernels
import exact
from geometry import Geometry, odd, some
from goldgrad import ConstraintError, kernels, ops
from goldgrad.numerics import same_bits
from goldgrad.ops import Type, conv2d
from split_weights import NOT_ASCENDING, PARTS, check_list_refused, check_types_refused, misfits, split

CODES = {"x_zero": -7, "y_zero": 5, "lo": -100, "hi": 90}
POINTWISE = Geometry((2, 2), (1, 1))


def operands(g, rng, samples=2, inputs=3, outputs=2):
    """x, w, b, m; the multipliers are such that about a third of the outputs are clamped."""
    x = exact.codes(rng, samples, *g.in_hw, inputs)
    w = np.maximum(exact.codes(rng, outputs, *g.kernel, inputs), np.int8(-127))
    b = rng.integers(-30000, 30000, outputs, dtype=np.int32)
    m = rng.uniform(1e-4, 1e-2, outputs).astype(np.float32)
    return x, w, b, m


def by_definition(g, x, w, b, m, *, x_zero, y_zero, lo, hi):
    """CONV-S1, CONV-S2, CONV-S3 in Python integers and fractions."""
    y = np.zeros((len(x), *g.out_hw, len(w)), np.int8)
    mask = np.zeros(y.shape, bool)
    meet = g.of_output()
    for n, oh, ow, o in np.ndindex(y.shape):
        acc = int(b[o])
        for tap, pixel in meet[oh, ow]:
            for i in range(x.shape[3]):
                acc += (int(x[n, *pixel, i]) - x_zero) * int(w[o, *tap, i])
        real = exact.nearest(Fraction(acc)) if acc else np.float32(0)
        code = exact.rne(exact.mul(real, m[o])) + y_zero
        y[n, oh, ow, o] = exact.clamp(code, lo, hi)
        mask[n, oh, ow, o] = lo <= code <= hi
    return y, np.packbits(mask, axis=-1, bitorder="little")


def dx_by_definition(g, grad, w, dx0):
    """CONV-S4: for each element a chain over output channels, then over taps in raster order."""
    dx = dx0.copy()
    meet = g.of_input()
    for n, ih, iw, i in np.ndindex(dx.shape):
        for o in range(len(w)):
            for output, tap in sorted(meet[ih, iw], key=lambda pair: pair[1]):
                dx[n, ih, iw, i] = exact.fma(grad[n, *output, o], np.float32(w[o, *tap, i]), dx[n, ih, iw, i])
    return dx


def dw_by_definition(g, grad, x, x_zero, dw0):
    """CONV-S5: for each element a chain over samples, then over output pixels in raster order."""
    dw = dw0.copy()
    meet = g.of_tap()
    for o, kh, kw, i in np.ndindex(dw.shape):
        for n in range(len(x)):
            for output, pixel in meet[kh, kw]:
                code = np.float32(int(x[n, *pixel, i]) - x_zero)
                dw[o, kh, kw, i] = exact.fma(grad[n, *output, o], code, dw[o, kh, kw, i])
    return dw


@pytest.mark.rules("CONV-S1", "CONV-S2", "CONV-S3", "CONV-F1")
@pytest.mark.parametrize("g", odd().values(), ids=odd())
def test_forward_is_as_the_definition_says(g):
    arrays = operands(g, np.random.default_rng(2))
    y, mask = c_kernels.check("conv2d.forward", *arrays, **CODES, **g.attributes)
    expected, expected_mask = by_definition(g, *arrays, **CODES)
    assert y.tolist() == expected.tolist()
    assert mask.tolist() == expected_mask.tolist()


@pytest.mark.rules("CONV-S4", "CONV-A2", "CONV-F1")
@pytest.mark.parametrize("g", odd().values(), ids=odd())
def test_vjp_x_is_as_the_definition_says(g):
    rng = np.random.default_rng(3)
    x, w, _, _ = operands(g, rng)
    grad = exact.floats(rng, len(x), *g.out_hw, len(w), hard=0.05)
    dx0 = exact.floats(rng, *x.shape, hard=0.1)
    attributes = {"in_hw": g.in_hw, **g.attributes}
    (dx,) = c_kernels.check("conv2d.vjp_x", grad, w, dx0, **attributes)
    assert same_bits(dx, dx_by_definition(g, grad, w, dx0)).all()
    (dx,) = c_kernels.check("conv2d.vjp_x", grad, w, **attributes)
    assert same_bits(dx, dx_by_definition(g, grad, w, np.zeros_like(dx0))).all()
    c_kernels.check_in_place("conv2d.vjp_x", "dx", "dx0", grad, w, dx0, **attributes)


@pytest.mark.rules("CONV-S5", "CONV-A3", "CONV-F1")
@pytest.mark.parametrize("g", odd().values(), ids=odd())
def test_vjp_w_is_as_the_definition_says(g):
    rng = np.random.default_rng(4)
    x, w, _, _ = operands(g, rng)
    grad = exact.floats(rng, len(x), *g.out_hw, len(w), hard=0.05)
    dw0 = exact.floats(rng, *w.shape, hard=0.1)
    attributes = {"x_zero": -7, "kernel": g.kernel, **g.attributes}
    (dw,) = c_kernels.check("conv2d.vjp_w", grad, x, dw0, **attributes)
    assert same_bits(dw, dw_by_definition(g, grad, x, -7, dw0)).all()
    (dw,) = c_kernels.check("conv2d.vjp_w", grad, x, **attributes)
    assert same_bits(dw, dw_by_definition(g, grad, x, -7, np.zeros_like(dw0))).all()
    c_kernels.check_in_place("conv2d.vjp_w", "dw", "dw0", grad, x, dw0, **attributes)


@pytest.mark.rules("CONV-S1", "CONV-S4", "CONV-S5")
@pytest.mark.parametrize("g", some(40, seed=5), ids=repr)
def test_c_agrees_with_the_reference(g):
    rng = np.random.default_rng(6)
    inputs, outputs = rng.integers(1, 20, 2)
    x, w, b, m = operands(g, rng, int(rng.integers(1, 4)), inputs, outputs)
    y, _ = c_kernels.check("conv2d.forward", x, w, b, m, **CODES, **g.attributes)
    grad = exact.floats(rng, *y.shape, hard=0.02)
    c_kernels.check("conv2d.vjp_x", grad, w, exact.floats(rng, *x.shape), in_hw=g.in_hw, **g.attributes)
    c_kernels.check("conv2d.vjp_w", grad, x, exact.floats(rng, *w.shape), x_zero=-7, kernel=g.kernel, **g.attributes)


@pytest.mark.rules("CONV-S2", "CONV-S3")
def test_halves_round_to_even_and_the_mask_is_inclusive():
    acc = np.int8([-7, -5, -3, -1, 1, 3, 5, 7, 9]).reshape(1, 1, 9, 1)
    one = np.ones((1, 1, 1, 1), np.int8), np.zeros(1, np.int32), np.float32([0.5])
    y, mask = conv2d.forward(acc, *one, x_zero=0, y_zero=10, lo=8, hi=12)  # halves: -3.5, -2.5, ..., 4.5
    assert y[0, 0, :, 0].tolist() == [8, 8, 8, 10, 10, 12, 12, 12, 12]
    assert mask[0, 0, :, 0].tolist() == [0, 1, 1, 1, 1, 1, 1, 0, 0]


@pytest.mark.rules("CONV-S1")
def test_an_output_in_the_padding_is_its_bias():
    x, w = np.full((1, 1, 1, 1), 100, np.int8), np.full((1, 1, 1, 1), 100, np.int8)
    b, m = np.int32([21]), np.float32([1.0])
    y, _ = c_kernels.check("conv2d.forward", x, w, b, m, x_zero=99, y_zero=0, pad=(1, 0, 0, 1))
    assert y[0, :, :, 0].tolist() == [[21, 21], [121, 21]]


@pytest.mark.rules("CONV-C6")
@pytest.mark.parametrize("sign", [1, -1])
def test_an_accumulator_may_reach_the_ends_of_int32(sign):
    x, w = np.full((1, 1, 1, 4), 127, np.int8), np.full((1, 1, 1, 4), 127 * sign, np.int8)
    room = 4 * 127 * 255
    b = np.int32([2**31 - 1 - room if sign > 0 else room - 2**31])
    m = np.float32([2.0**-25])
    y, mask = c_kernels.check("conv2d.forward", x, w, b, m, x_zero=-128, y_zero=0)
    assert (y.item(), mask.item()) == (64 * sign, 1)


@pytest.mark.rules("CONV-S4")
def test_the_chain_of_dx_goes_over_output_channels_first():
    grad = np.float32([1e8, 1, -1e8]).reshape(1, 1, 1, 3)  # 1e8 + 1 is 1e8
    ones = np.ones((3, 1, 1, 1), np.int8)
    assert conv2d.vjp_x(grad, ones, in_hw=(1, 1)).item() == 0
    assert conv2d.vjp_x(grad[..., [0, 2, 1]], ones, in_hw=(1, 1)).item() == 1
    # Two output channels, two taps on one pixel: o = 0 tap 0, o = 0 tap 1, o = 1 tap 0, o = 1 tap 1.
    w = np.int8([[1, 1], [-1, -1]]).reshape(2, 1, 2, 1)
    grad = np.zeros((1, 1, 2, 2), np.float32)
    grad[0, 0, 1] = [1e8, 1e8]  # tap 0 of output 1 meets pixel 1
    grad[0, 0, 0] = [1, 0]  # tap 1 of output 0 does too
    dx = conv2d.vjp_x(grad, w, in_hw=(1, 3))
    assert dx[0, 0, 1, 0] == 0  # taps outside would give 1e8 - 1e8 + 1


@pytest.mark.rules("CONV-S4", "CONV-S5")
def test_a_chain_from_nothing_has_no_negative_zero():
    grad = np.full((1, 2, 2, 1), -0.0, np.float32)
    w, x = np.ones((1, 1, 1, 1), np.int8), np.ones((1, 2, 2, 1), np.int8)
    for result in (
        c_kernels.check("conv2d.vjp_x", grad, w, in_hw=(2, 2)),
        c_kernels.check("conv2d.vjp_w", grad, x, x_zero=0, kernel=(1, 1)),
    ):
        assert not np.signbit(result[0]).any()


@pytest.mark.rules("CONV-S5")
def test_the_zero_point_is_subtracted_before_dw():
    x = np.full((1, 2, 2, 1), 37, np.int8)
    grad = np.float32([1, 2, 3, 4]).reshape(1, 2, 2, 1)
    assert conv2d.vjp_w(grad, x, x_zero=37, kernel=(1, 1)).item() == 0
    assert conv2d.vjp_w(grad, x, x_zero=35, kernel=(1, 1)).item() == 20


@pytest.mark.rules("CONV-S5")
def test_a_batch_is_its_samples_in_order():
    rng = np.random.default_rng(7)
    g = Geometry((5, 4), (3, 3), (2, 1), (1, 0, 1, 1))
    x, w, _, _ = operands(g, rng, samples=3)
    grad = exact.floats(rng, 3, *g.out_hw, len(w))
    attributes = {"x_zero": -7, "kernel": g.kernel, **g.attributes}
    dw = None
    for n in range(3):
        dw = conv2d.vjp_w(grad[n : n + 1], x[n : n + 1], dw, **attributes)
    assert same_bits(dw, conv2d.vjp_w(grad, x, **attributes)).all()


@pytest.mark.rules("CONV-S6")
@pytest.mark.parametrize("channels", [[0], [1, 4], [0, 1, 2, 3, 4]])
def test_a_slice_is_the_dense_gradient_there(channels):
    rng = np.random.default_rng(8)
    g = Geometry((5, 4), (3, 2), (2, 1), (1, 0, 1, 1))
    x, w, _, _ = operands(g, rng, inputs=5)
    grad = exact.floats(rng, len(x), *g.out_hw, len(w))
    attributes = {"x_zero": -7, "kernel": g.kernel, **g.attributes}
    (dense,) = c_kernels.check("conv2d.vjp_w", grad, x, **attributes)
    (sliced,) = c_kernels.check("conv2d.vjp_w", grad, x[..., channels], **attributes)
    assert same_bits(sliced, dense[..., channels]).all()


@pytest.mark.rules("CONV-S7", "CONV-S1", "CONV-S4", "CONV-A1", "CONV-A2", "CONV-F1")
@pytest.mark.parametrize("channels", PARTS, ids=str)
@pytest.mark.parametrize("g", [Geometry((5, 4), (3, 2), (2, 1), (1, 0, 1, 1)), POINTWISE], ids=repr)
def test_a_split_weight_is_the_dense_weight_that_its_parts_make(g, channels):
    rng = np.random.default_rng(10)
    x, w, b, m = operands(g, rng, inputs=5)
    trained, listed, dense = split(rng, w, channels)
    expected = conv2d.forward(x, dense, b, m, **CODES, **g.attributes)
    results = c_kernels.check("conv2d.forward", x, w, b, m, trained, listed, **CODES, **g.attributes)
    c_kernels.assert_same("conv2d.forward", expected, results)
    grad, dx0 = exact.floats(rng, len(x), *g.out_hw, len(w), hard=0.05), exact.floats(rng, *x.shape, hard=0.1)
    for start in (None, dx0):
        dx = conv2d.vjp_x(grad, dense, start, in_hw=g.in_hw, **g.attributes)
        (result,) = c_kernels.check("conv2d.vjp_x", grad, w, start, trained, listed, in_hw=g.in_hw, **g.attributes)
        assert same_bits(dx, result).all()
    c_kernels.check_in_place("conv2d.vjp_x", "dx", "dx0", grad, w, dx0, trained, listed, in_hw=g.in_hw, **g.attributes)


@pytest.mark.rules("CONV-C6", "CONV-S7")
def test_no_accumulator_overflows_on_the_way_to_that_of_a_split_weight():
    """With w alone it would: the proof is about the weight that trained is part of."""
    x, w = np.full((1, 1, 1, 2), 127, np.int8), np.full((3, 1, 1, 2), 127, np.int8)
    trained, listed = -w[..., [1]], np.int32([1])
    b, m = np.full(3, 2**31 - 1 - 127 * 255, np.int32), np.full(3, 2.0**-25, np.float32)
    y, _ = c_kernels.check("conv2d.forward", x, w, b, m, trained, listed, x_zero=-128, y_zero=0)
    assert (y == 64).all()


@pytest.mark.rules("CONV-A1", "CONV-A2", "CONV-A3")
def test_alias_table():
    assert c_kernels.pairs("conv2d.forward") == set()
    assert c_kernels.pairs("conv2d.vjp_x") == {("dx", "dx0", "CONV-A2")}
    assert c_kernels.pairs("conv2d.vjp_w") == {("dw", "dw0", "CONV-A3")}


@pytest.mark.rules("CONV-F1")
def test_operands_stay_and_the_mask_may_be_left_out():
    rng = np.random.default_rng(9)
    x, w, b, m = operands(POINTWISE, rng)
    expected, _ = conv2d.forward(x, w, b, m, **CODES)
    y = np.empty_like(expected)
    kernels.call("conv2d.forward", (x, w, b, m), (y, None), **CODES)
    assert (y == expected).all()
    grad, start = exact.floats(rng, *y.shape), exact.floats(rng, *x.shape)
    before = start.copy()
    conv2d.vjp_x(grad, w, start, in_hw=(2, 2))
    assert same_bits(start, before).all()


X, W, B, M = Type((1, 4, 4, 3), "int8"), Type((2, 3, 3, 3), "int8"), Type((2,), "int32"), Type((2,), "float32")
G = Type((1, 2, 2, 2), "float32")
ZEROS = {"x_zero": 0, "y_zero": 0}
PART = Type((*W.shape[:-1], 2), "int8")


def broken(rule, text):
    return pytest.raises(ConstraintError, match=f"^{rule}: .*{text}")


@pytest.mark.rules("CONV-C1")
@pytest.mark.parametrize("x", [Type((1, 4, 4, 3), "uint8"), Type((4, 4, 3), "int8"), Type((0, 4, 4, 3), "int8")])
def test_x_of_a_wrong_type_is_refused(x):
    with broken("CONV-C1", "x is"):
        conv2d.types(x, W, B, M, **ZEROS)
    with broken("CONV-C1", "x is"):
        conv2d.types_vjp_w(G, x, x_zero=0, kernel=(3, 3))


@pytest.mark.rules("CONV-C1")
@pytest.mark.parametrize("w", [Type((2, 3, 3, 3), "float32"), Type((3, 3, 3), "int8"), Type((0, 3, 3, 3), "int8")])
def test_w_of_a_wrong_type_is_refused(w):
    with broken("CONV-C1", "w is"):
        conv2d.types(X, w, B, M, **ZEROS)
    with broken("CONV-C1", "w is"):
        conv2d.types_vjp_x(G, w, in_hw=(4, 4))


@pytest.mark.rules("CONV-C2")
def test_other_input_channels_are_refused():
    with broken("CONV-C2", "w has 4 input channels, x has 3"):
        conv2d.types(X, Type((2, 3, 3, 4), "int8"), B, M, **ZEROS)


@pytest.mark.rules("CONV-C3")
@pytest.mark.parametrize(("b", "m"), [(Type((3,), "int32"), M), (B, Type((1,), "float32")), (Type((2,), "int8"), M)])
def test_other_counts_of_biases_and_multipliers_are_refused(b, m):
    with broken("CONV-C3", "b is .*m is .*2 output channels"):
        conv2d.types(X, W, b, m, **ZEROS)


@pytest.mark.rules("CONV-C4")
@pytest.mark.parametrize(
    ("codes", "text"),
    [
        ({"x_zero": 128}, "x_zero is 128"),
        ({"y_zero": -129}, "y_zero is -129"),
        ({"hi": 200}, "hi is 200"),
        ({"lo": 5, "hi": 4}, r"range is \[5, 4\]"),
    ],
)
def test_codes_out_of_range_are_refused(codes, text):
    with broken("CONV-C4", text):
        conv2d.types(X, W, B, M, **{**ZEROS, **codes})
    if "x_zero" in codes:
        with broken("CONV-C4", text):
            conv2d.types_vjp_w(G, X, kernel=(3, 3), **codes)


@pytest.mark.rules("CONV-C5")
@pytest.mark.parametrize(
    "g",
    [Type((1, 2, 2, 3), "float32"), Type((1, 3, 2, 2), "float32"), Type((1, 2, 2, 2), "float64"), Type((), "float32")],
)
def test_a_gradient_of_a_wrong_type_is_refused(g):
    with broken("CONV-C5", r"g is .*give float32\[1, 2, 2, 2\]"):
        conv2d.types_vjp_x(g, W, in_hw=(4, 4))
    if g.shape != (1, 2, 2, 3):  # vjp_w takes the number of output channels from g
        with broken("CONV-C5", "g is"):
            conv2d.types_vjp_w(g, X, x_zero=0, kernel=(3, 3))


@pytest.mark.rules("CONV-C5")
def test_a_chain_must_start_from_its_own_type():
    with broken("CONV-C5", "dx0 is"):
        conv2d.types_vjp_x(G, W, Type((1, 4, 3, 3), "float32"), in_hw=(4, 4))
    with broken("CONV-C5", "dw0 is"):
        conv2d.types_vjp_w(G, X, Type((2, 3, 3, 4), "float32"), x_zero=0, kernel=(3, 3))


@pytest.mark.rules("CONV-C2")
def test_the_kernels_refuse_what_the_reference_refuses():
    with broken("CONV-C2", "input channels"):
        kernels.conv2d.forward(
            np.zeros((1, 4, 4, 3), np.int8),
            np.zeros((2, 1, 1, 4), np.int8),
            np.zeros(2, np.int32),
            np.ones(2, np.float32),
            **ZEROS,
        )


@pytest.mark.rules("CONV-C7")
@pytest.mark.parametrize("parts", misfits(PART), ids=str)
def test_parts_of_a_weight_that_do_not_fit_are_refused(parts):
    check_types_refused("CONV-C7", conv2d, (X, W, B, M, G), parts, ZEROS, in_hw=(4, 4))


@pytest.mark.rules("CONV-C7")
@pytest.mark.parametrize("namespace", [ops, kernels])
@pytest.mark.parametrize("channels", NOT_ASCENDING)
def test_a_list_of_a_part_that_does_not_ascend_within_w_is_refused(namespace, channels):
    check_list_refused(namespace.conv2d, (X, W, B, M, G), PART, channels, ZEROS, in_hw=(4, 4))
