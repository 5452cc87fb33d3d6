"""specs/ops/depthwise_conv2d.md"""

from fractions import Fraction

import numpy as np
import pytest

import c_kernels
import exact
from geometry import Geometry, odd, some
from goldgrad import ConstraintError, kernels, ops
from goldgrad.numerics import same_bits
from goldgrad.ops import Type, depthwise_conv2d
from split_weights import NOT_ASCENDING, PARTS, check_list_refused, check_types_refused, misfits, split

CODES = {"x_zero": -7, "y_zero": 5, "lo": -100, "hi": 90}
UNEVEN = Geometry((5, 4), (3, 2), (2, 1), (1, 0, 1, 1))


def operands(g, rng, samples=2, channels=3):
    """x, w, b, m; the multipliers are such that about a third of the outputs are clamped."""
    x = exact.codes(rng, samples, *g.in_hw, channels)
    w = np.maximum(exact.codes(rng, *g.kernel, channels), np.int8(-127))
    b = rng.integers(-30000, 30000, channels, dtype=np.int32)
    m = rng.uniform(1e-4, 1e-2, channels).astype(np.float32)
    return x, w, b, m


def by_definition(g, x, w, b, m, *, x_zero, y_zero, lo, hi):
    """DW-S1, DW-S2, DW-S3 in Python integers and fractions."""
    y = np.zeros((len(x), *g.out_hw, x.shape[3]), np.int8)
    mask = np.zeros(y.shape, bool)
    meet = g.of_output()
    for n, oh, ow, c in np.ndindex(y.shape):
        acc = int(b[c])
        for tap, pixel in meet[oh, ow]:
            acc += (int(x[n, *pixel, c]) - x_zero) * int(w[*tap, c])
        real = exact.nearest(Fraction(acc)) if acc else np.float32(0)
        code = exact.rne(exact.mul(real, m[c])) + y_zero
        y[n, oh, ow, c] = exact.clamp(code, lo, hi)
        mask[n, oh, ow, c] = lo <= code <= hi
    return y, np.packbits(mask, axis=-1, bitorder="little")


def dx_by_definition(g, grad, w, dx0):
    """DW-S4: for each element a chain over taps in raster order."""
    dx = dx0.copy()
    meet = g.of_input()
    for n, ih, iw, c in np.ndindex(dx.shape):
        for output, tap in sorted(meet[ih, iw], key=lambda pair: pair[1]):
            dx[n, ih, iw, c] = exact.fma(grad[n, *output, c], np.float32(w[*tap, c]), dx[n, ih, iw, c])
    return dx


def dw_by_definition(g, grad, x, x_zero, dw0):
    """DW-S5: for each element a chain over samples, then over output pixels in raster order."""
    dw = dw0.copy()
    meet = g.of_tap()
    for kh, kw, c in np.ndindex(dw.shape):
        for n in range(len(x)):
            for output, pixel in meet[kh, kw]:
                code = np.float32(int(x[n, *pixel, c]) - x_zero)
                dw[kh, kw, c] = exact.fma(grad[n, *output, c], code, dw[kh, kw, c])
    return dw


@pytest.mark.rules("DW-S1", "DW-S2", "DW-S3", "DW-F1")
@pytest.mark.parametrize("g", odd().values(), ids=odd())
def test_forward_is_as_the_definition_says(g):
    arrays = operands(g, np.random.default_rng(2))
    y, mask = c_kernels.check("depthwise_conv2d.forward", *arrays, **CODES, **g.attributes)
    expected, expected_mask = by_definition(g, *arrays, **CODES)
    assert y.tolist() == expected.tolist()
    assert mask.tolist() == expected_mask.tolist()


@pytest.mark.rules("DW-S4", "DW-A2", "DW-F1")
@pytest.mark.parametrize("g", odd().values(), ids=odd())
def test_vjp_x_is_as_the_definition_says(g):
    rng = np.random.default_rng(3)
    x, w, _, _ = operands(g, rng)
    grad = exact.floats(rng, len(x), *g.out_hw, x.shape[3], hard=0.05)
    dx0 = exact.floats(rng, *x.shape, hard=0.1)
    attributes = {"in_hw": g.in_hw, **g.attributes}
    (dx,) = c_kernels.check("depthwise_conv2d.vjp_x", grad, w, dx0, **attributes)
    assert same_bits(dx, dx_by_definition(g, grad, w, dx0)).all()
    (dx,) = c_kernels.check("depthwise_conv2d.vjp_x", grad, w, **attributes)
    assert same_bits(dx, dx_by_definition(g, grad, w, np.zeros_like(dx0))).all()
    c_kernels.check_in_place("depthwise_conv2d.vjp_x", "dx", "dx0", grad, w, dx0, **attributes)


@pytest.mark.rules("DW-S5", "DW-A3", "DW-F1")
@pytest.mark.parametrize("g", odd().values(), ids=odd())
def test_vjp_w_is_as_the_definition_says(g):
    rng = np.random.default_rng(4)
    x, w, _, _ = operands(g, rng)
    grad = exact.floats(rng, len(x), *g.out_hw, x.shape[3], hard=0.05)
    dw0 = exact.floats(rng, *w.shape, hard=0.1)
    attributes = {"x_zero": -7, "kernel": g.kernel, **g.attributes}
    (dw,) = c_kernels.check("depthwise_conv2d.vjp_w", grad, x, dw0, **attributes)
    assert same_bits(dw, dw_by_definition(g, grad, x, -7, dw0)).all()
    (dw,) = c_kernels.check("depthwise_conv2d.vjp_w", grad, x, **attributes)
    assert same_bits(dw, dw_by_definition(g, grad, x, -7, np.zeros_like(dw0))).all()
    c_kernels.check_in_place("depthwise_conv2d.vjp_w", "dw", "dw0", grad, x, dw0, **attributes)


@pytest.mark.rules("DW-S1", "DW-S4", "DW-S5", "DW-S6")
@pytest.mark.parametrize("g", some(40, seed=5), ids=repr)
def test_c_agrees_with_the_reference(g):
    rng = np.random.default_rng(6)
    channels = int(rng.integers(1, 20))
    x, w, b, m = operands(g, rng, int(rng.integers(1, 4)), channels)
    y, _ = c_kernels.check("depthwise_conv2d.forward", x, w, b, m, **CODES, **g.attributes)
    grad = exact.floats(rng, *y.shape, hard=0.02)
    start = exact.floats(rng, *x.shape)
    c_kernels.check("depthwise_conv2d.vjp_x", grad, w, start, in_hw=g.in_hw, **g.attributes)
    chosen = np.sort(rng.permutation(channels)[: rng.integers(1, channels + 1)]).astype(np.int32)
    start = exact.floats(rng, *g.kernel, len(chosen))
    attributes = {"x_zero": -7, "kernel": g.kernel, **g.attributes}
    c_kernels.check("depthwise_conv2d.vjp_w", grad, x[..., chosen], start, chosen, **attributes)


@pytest.mark.rules("DW-S1", "DW-S5")
def test_weights_mean_nothing_where_x_is_zero():
    """The bias holds no share of the weights: they may train without it going stale."""
    x = np.full((1, 3, 3, 2), -20, np.int8)
    b, m = np.int32([40, -7]), np.float32([1, 1])
    for w in (np.full((3, 3, 2), 127, np.int8), np.full((3, 3, 2), -127, np.int8)):
        y, _ = depthwise_conv2d.forward(x, w, b, m, x_zero=-20, y_zero=0, pad=(1, 1, 1, 1))
        assert (y == [40, -7]).all()
    grad = np.ones((1, 3, 3, 2), np.float32)
    assert not depthwise_conv2d.vjp_w(grad, x, x_zero=-20, kernel=(3, 3), pad=(1, 1, 1, 1)).any()


@pytest.mark.rules("DW-S1", "DW-S4", "DW-S5")
def test_channels_do_not_meet():
    x = np.int8([[1, 10], [2, 20], [3, 30]]).reshape(1, 1, 3, 2)
    w = np.int8([[1, 0], [0, 1]]).reshape(1, 2, 2)  # the left pixel of channel 0, the right one of channel 1
    b, m = np.zeros(2, np.int32), np.ones(2, np.float32)
    y, _ = depthwise_conv2d.forward(x, w, b, m, x_zero=0, y_zero=0)
    assert y[0, 0].tolist() == [[1, 20], [2, 30]]
    grad = np.float32([[1, 2], [4, 8]]).reshape(1, 1, 2, 2)
    assert depthwise_conv2d.vjp_x(grad, w, in_hw=(1, 3))[0, 0].tolist() == [[1, 0], [4, 2], [0, 8]]
    dw = depthwise_conv2d.vjp_w(grad, x, x_zero=0, kernel=(1, 2))
    assert dw[0].tolist() == [[1 + 8, 20 + 160], [2 + 12, 40 + 240]]


@pytest.mark.rules("DW-S2", "DW-S3")
def test_halves_round_to_even_and_the_mask_is_inclusive():
    x = np.int8([-7, -5, -3, -1, 1, 3, 5, 7, 9]).reshape(1, 1, 1, 9)
    w, b, m = np.ones((1, 1, 9), np.int8), np.zeros(9, np.int32), np.full(9, 0.5, np.float32)
    y, mask = depthwise_conv2d.forward(x, w, b, m, x_zero=0, y_zero=10, lo=8, hi=12)  # halves: -3.5, -2.5, ..., 4.5
    assert y[0, 0, 0].tolist() == [8, 8, 8, 10, 10, 12, 12, 12, 12]
    assert mask[0, 0, 0].tolist() == [0b01111110, 0]


@pytest.mark.rules("DW-C6")
@pytest.mark.parametrize("sign", [1, -1])
def test_an_accumulator_may_reach_the_ends_of_int32(sign):
    x, w = np.full((1, 2, 2, 1), 127, np.int8), np.full((2, 2, 1), 127 * sign, np.int8)
    room = 4 * 127 * 255
    b = np.int32([2**31 - 1 - room if sign > 0 else room - 2**31])
    m = np.float32([2.0**-25])
    y, mask = c_kernels.check("depthwise_conv2d.forward", x, w, b, m, x_zero=-128, y_zero=0)
    assert (y.item(), mask.item()) == (64 * sign, 1)


@pytest.mark.rules("DW-S4")
def test_the_chain_of_dx_goes_over_taps_in_raster_order():
    w = np.int8([1, 1, 1]).reshape(1, 3, 1)
    for grad, expected in (([1e8, 1, -1e8], 0), ([-1e8, 1e8, 1], 0), ([1, -1e8, 1e8], 1)):
        # Pixel 2 meets tap 0 at output 2, tap 1 at output 1, tap 2 at output 0.
        dx = depthwise_conv2d.vjp_x(np.float32(grad).reshape(1, 1, 3, 1), w, in_hw=(1, 5))
        assert dx[0, 0, 2, 0] == expected


@pytest.mark.rules("DW-S5")
def test_a_batch_is_its_samples_in_order():
    rng = np.random.default_rng(7)
    x, _, _, _ = operands(UNEVEN, rng, samples=3)
    grad = exact.floats(rng, 3, *UNEVEN.out_hw, 3)
    attributes = {"x_zero": -7, "kernel": UNEVEN.kernel, **UNEVEN.attributes}
    dw = None
    for n in range(3):
        dw = depthwise_conv2d.vjp_w(grad[n : n + 1], x[n : n + 1], dw, **attributes)
    assert same_bits(dw, depthwise_conv2d.vjp_w(grad, x, **attributes)).all()


@pytest.mark.rules("DW-S6", "DW-A3")
@pytest.mark.parametrize("channels", [[0], [1, 4], [0, 1, 2, 3, 4]])
def test_a_slice_is_the_dense_gradient_there(channels):
    rng = np.random.default_rng(8)
    x, w, _, _ = operands(UNEVEN, rng, channels=5)
    grad, dw0 = exact.floats(rng, len(x), *UNEVEN.out_hw, 5), exact.floats(rng, *w.shape)
    attributes = {"x_zero": -7, "kernel": UNEVEN.kernel, **UNEVEN.attributes}
    (dense,) = c_kernels.check("depthwise_conv2d.vjp_w", grad, x, dw0, **attributes)
    sliced = grad, x[..., channels], dw0[..., channels].copy(), np.int32(channels)
    (dw,) = c_kernels.check("depthwise_conv2d.vjp_w", *sliced, **attributes)
    assert same_bits(dw, dense[..., channels]).all()
    c_kernels.check_in_place("depthwise_conv2d.vjp_w", "dw", "dw0", *sliced, **attributes)


@pytest.mark.rules("DW-S7", "DW-S1", "DW-S4", "DW-A1", "DW-A2", "DW-F1")
@pytest.mark.parametrize("channels", PARTS, ids=str)
@pytest.mark.parametrize("g", [UNEVEN, Geometry((2, 2), (1, 1))], ids=repr)
def test_a_split_weight_is_the_dense_weight_that_its_parts_make(g, channels):
    rng = np.random.default_rng(10)
    x, w, b, m = operands(g, rng, channels=5)
    trained, listed, dense = split(rng, w, channels)
    expected = depthwise_conv2d.forward(x, dense, b, m, **CODES, **g.attributes)
    results = c_kernels.check("depthwise_conv2d.forward", x, w, b, m, trained, listed, **CODES, **g.attributes)
    c_kernels.assert_same("depthwise_conv2d.forward", expected, results)
    grad, dx0 = exact.floats(rng, len(x), *g.out_hw, 5, hard=0.05), exact.floats(rng, *x.shape, hard=0.1)
    for start in (None, dx0):
        dx = depthwise_conv2d.vjp_x(grad, dense, start, in_hw=g.in_hw, **g.attributes)
        (result,) = c_kernels.check(
            "depthwise_conv2d.vjp_x", grad, w, start, trained, listed, in_hw=g.in_hw, **g.attributes
        )
        assert same_bits(dx, result).all()
    c_kernels.check_in_place(
        "depthwise_conv2d.vjp_x", "dx", "dx0", grad, w, dx0, trained, listed, in_hw=g.in_hw, **g.attributes
    )


@pytest.mark.rules("DW-C6", "DW-S7")
def test_no_accumulator_overflows_on_the_way_to_that_of_a_split_weight():
    """With w alone it would: the proof is about the weight that trained is part of."""
    x, w = np.full((1, 1, 1, 2), 127, np.int8), np.full((1, 1, 2), 127, np.int8)
    trained, listed = -w[..., [1]], np.int32([1])
    b, m = np.full(2, 2**31 - 1 - 127 * 255 * np.int64([1, 0]), np.int32), np.full(2, 2.0**-25, np.float32)
    y, _ = c_kernels.check("depthwise_conv2d.forward", x, w, b, m, trained, listed, x_zero=-128, y_zero=0)
    assert (y == 64).all()


@pytest.mark.rules("DW-A1", "DW-A2", "DW-A3")
def test_alias_table():
    assert c_kernels.pairs("depthwise_conv2d.forward") == set()
    assert c_kernels.pairs("depthwise_conv2d.vjp_x") == {("dx", "dx0", "DW-A2")}
    assert c_kernels.pairs("depthwise_conv2d.vjp_w") == {("dw", "dw0", "DW-A3")}


@pytest.mark.rules("DW-F1")
def test_the_mask_may_be_left_out():
    arrays = operands(UNEVEN, np.random.default_rng(9), channels=9)
    expected, _ = depthwise_conv2d.forward(*arrays, **CODES, **UNEVEN.attributes)
    y = np.empty_like(expected)
    kernels.call("depthwise_conv2d.forward", arrays, (y, None), **CODES, **UNEVEN.attributes)
    assert (y == expected).all()


X, W, B, M = Type((1, 4, 4, 3), "int8"), Type((3, 3, 3), "int8"), Type((3,), "int32"), Type((3,), "float32")
G = Type((1, 2, 2, 3), "float32")
ZEROS = {"x_zero": 0, "y_zero": 0}
PART = Type((*W.shape[:-1], 2), "int8")


def broken(rule, text):
    return pytest.raises(ConstraintError, match=f"^{rule}: .*{text}")


@pytest.mark.rules("DW-C1")
@pytest.mark.parametrize("x", [Type((1, 4, 4, 3), "uint8"), Type((4, 4, 3), "int8"), Type((1, 4, 4, 0), "int8")])
def test_x_of_a_wrong_type_is_refused(x):
    with broken("DW-C1", "x is"):
        depthwise_conv2d.types(x, W, B, M, **ZEROS)
    with broken("DW-C1", "x is"):
        depthwise_conv2d.types_vjp_w(G, x, x_zero=0, kernel=(3, 3))


@pytest.mark.rules("DW-C1")
@pytest.mark.parametrize("w", [Type((3, 3, 3), "float32"), Type((3, 3, 3, 1), "int8"), Type((3, 3, 0), "int8")])
def test_w_of_a_wrong_type_is_refused(w):
    with broken("DW-C1", "w is"):
        depthwise_conv2d.types(X, w, B, M, **ZEROS)
    with broken("DW-C1", "w is"):
        depthwise_conv2d.types_vjp_x(G, w, in_hw=(4, 4))


@pytest.mark.rules("DW-C2")
def test_other_channels_are_refused():
    with broken("DW-C2", "w has 4 channels, x has 3"):
        depthwise_conv2d.types(X, Type((3, 3, 4), "int8"), B, M, **ZEROS)


@pytest.mark.rules("DW-C3")
@pytest.mark.parametrize(("b", "m"), [(Type((4,), "int32"), M), (B, Type((1,), "float32")), (Type((3,), "int8"), M)])
def test_other_counts_of_biases_and_multipliers_are_refused(b, m):
    with broken("DW-C3", "b is .*m is .*3 channels"):
        depthwise_conv2d.types(X, W, b, m, **ZEROS)


@pytest.mark.rules("DW-C4")
@pytest.mark.parametrize(
    ("codes", "text"),
    [
        ({"x_zero": 128}, "x_zero is 128"),
        ({"y_zero": -129}, "y_zero is -129"),
        ({"lo": -200}, "lo is -200"),
        ({"lo": 5, "hi": 4}, r"range is \[5, 4\]"),
    ],
)
def test_codes_out_of_range_are_refused(codes, text):
    with broken("DW-C4", text):
        depthwise_conv2d.types(X, W, B, M, **{**ZEROS, **codes})
    if "x_zero" in codes:
        with broken("DW-C4", text):
            depthwise_conv2d.types_vjp_w(G, X, kernel=(3, 3), **codes)


@pytest.mark.rules("DW-C5")
@pytest.mark.parametrize(
    "g",
    [Type((1, 2, 2, 2), "float32"), Type((1, 3, 2, 3), "float32"), Type((1, 2, 2, 3), "float64"), Type((), "float32")],
)
def test_a_gradient_of_a_wrong_type_is_refused(g):
    with broken("DW-C5", r"g is .*give float32\[1, 2, 2, 3\]"):
        depthwise_conv2d.types_vjp_x(g, W, in_hw=(4, 4))
    with broken("DW-C5", r"g is .*give float32\[1, 2, 2, 3\]"):
        depthwise_conv2d.types_vjp_w(g, X, x_zero=0, kernel=(3, 3))


@pytest.mark.rules("DW-C5")
def test_a_chain_must_start_from_its_own_type():
    with broken("DW-C5", "dx0 is"):
        depthwise_conv2d.types_vjp_x(G, W, Type((1, 4, 3, 3), "float32"), in_hw=(4, 4))
    with broken("DW-C5", "dw0 is"):
        depthwise_conv2d.types_vjp_w(G, X, Type((3, 3, 4), "float32"), x_zero=0, kernel=(3, 3))


@pytest.mark.rules("DW-C7")
@pytest.mark.parametrize("channels", [Type((2,), "int32"), Type((3,), "int64"), Type((), "int32")])
def test_a_channel_list_of_a_wrong_type_is_refused(channels):
    with broken("DW-C7", r"channels is .*give int32\[3\]"):
        depthwise_conv2d.types_vjp_w(Type((1, 2, 2, 8), "float32"), X, None, channels, x_zero=0, kernel=(3, 3))


@pytest.mark.rules("DW-C7")
@pytest.mark.parametrize("namespace", [ops, kernels])
@pytest.mark.parametrize("channels", [[1, 0], [2, 2], [-1, 0], [0, 3]])
def test_a_list_that_does_not_ascend_within_g_is_refused(namespace, channels):
    g, x = np.zeros((1, 2, 2, 3), np.float32), np.zeros((1, 2, 2, 2), np.int8)
    with broken("SAVE-C3", "channels is .*from 0 to 2"):
        namespace.depthwise_conv2d.vjp_w(g, x, None, np.int32(channels), x_zero=0, kernel=(1, 1))


@pytest.mark.rules("DW-C8")
@pytest.mark.parametrize("parts", misfits(PART), ids=str)
def test_parts_of_a_weight_that_do_not_fit_are_refused(parts):
    check_types_refused("DW-C8", depthwise_conv2d, (X, W, B, M, G), parts, ZEROS, in_hw=(4, 4))


@pytest.mark.rules("DW-C8")
@pytest.mark.parametrize("namespace", [ops, kernels])
@pytest.mark.parametrize("channels", NOT_ASCENDING)
def test_a_list_of_a_part_that_does_not_ascend_within_w_is_refused(namespace, channels):
    check_list_refused(namespace.depthwise_conv2d, (X, W, B, M, G), PART, channels, ZEROS, in_hw=(4, 4))
