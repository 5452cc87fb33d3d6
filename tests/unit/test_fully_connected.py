"""specs/ops/fully_connected.md"""

from fractions import Fraction

import numpy as np
import pytest

import c_kernels
import exact
from goldgrad import ConstraintError, kernels, ops
from goldgrad.numerics import INT32_MAX, INT32_MIN, same_bits
from goldgrad.ops import Type, fully_connected, save_channels
from split_weights import NOT_ASCENDING, PARTS, check_list_refused, check_types_refused, misfits, split

SHAPES = [(1, 1, 1), (1, 7, 3), (2, 3, 8), (3, 5, 9), (1, 40, 10), (2, 13, 17)]
"""N, I, O."""
GRADIENTS = [(1, 1, 1), (1, 7, 3), (3, 5, 9), (2, 13, 17)]


@pytest.mark.rules("FC-S1", "FC-S2")
def test_forward_by_hand():
    x, w, b = np.int8([[10, 20]]), np.int8([[1, 2], [3, -1], [0, 1]]), np.int32([4, 5, -11])
    y, mask = fully_connected.forward(x, w, b, np.float32([0.5, 1.0, 0.5]), x_zero=8, y_zero=-1)
    # accumulators 4 + 2 * 1 + 12 * 2 = 30, 5 + 2 * 3 - 12 = -1, -11 + 12 = 1, the last one half a code: to even
    assert y.tolist() == [[15 - 1, -1 - 1, 0 - 1]]
    assert mask.tolist() == [[0b111]]


@pytest.mark.rules("FC-S3")
def test_the_mask_is_inclusive_after_the_zero_point_and_before_the_clamp():
    x, w, b = np.int8([[1]]), np.zeros((6, 1), np.int8), np.int32([2, 3, 4, 9, 10, 11])
    y, mask = fully_connected.forward(x, w, b, np.ones(6, np.float32), x_zero=0, y_zero=5, lo=8, hi=15)
    assert y.tolist() == [[8, 8, 9, 14, 15, 15]]
    assert mask.tolist() == [[0b011110]]


@pytest.mark.rules("FC-C6", "FC-S1")
@pytest.mark.parametrize(("sign", "end"), [(1, INT32_MAX), (-1, INT32_MIN)])
def test_accumulators_may_reach_both_ends_of_int32(sign, end):
    inputs = 50
    x = np.full((1, inputs), 127, np.int8)
    w = np.full((2, inputs), 127 * sign, np.int8)
    b = np.int32([end - sign * 127 * 255 * inputs] * 2)
    y, mask = c_kernels.check("fully_connected.forward", x, w, b, np.float32([2.0**-25, 1.0]), x_zero=-128, y_zero=0)
    assert y.tolist() == [[64 * sign, 127 if sign > 0 else -128]]
    assert mask.tolist() == [[0b01]]


def _forward_cases(n, i, o):
    rng = np.random.default_rng((n, i, o))
    for m_scale in 0.02, 0.5, 1e-40:
        lo, hi = sorted(exact.codes(rng, 2).tolist())
        x_zero, y_zero = exact.codes(rng, 2).tolist()
        w = np.maximum(exact.codes(rng, o, i), -127)
        b = rng.integers(-(2**15), 2**15, o).astype(np.int32)
        m = (m_scale * rng.random(o) + 1e-45).astype(np.float32)
        ends = {} if m_scale == 0.5 else {"lo": lo, "hi": hi}
        yield (exact.codes(rng, n, i), w, b, m), {"x_zero": x_zero, "y_zero": y_zero, **ends}


@pytest.mark.rules("FC-S1", "FC-S2", "FC-S3", "FC-F1")
@pytest.mark.parametrize(("n", "i", "o"), SHAPES)
def test_forward_agrees_with_c_and_a_scalar_loop(n, i, o):
    for (x, w, b, m), a in _forward_cases(n, i, o):
        y, mask = c_kernels.check("fully_connected.forward", x, w, b, m, **a)
        lo, hi = a.get("lo", -128), a.get("hi", 127)
        bits = np.zeros_like(mask)
        for sample, output in np.ndindex(n, o):
            acc = int(b[output])
            for k in range(i):
                acc += (int(x[sample, k]) - a["x_zero"]) * int(w[output, k])
            rounded = exact.nearest(Fraction(acc)) if acc else np.float32(0)
            code = exact.rne(exact.mul(rounded, m[output])) + a["y_zero"]
            assert y[sample, output] == exact.clamp(code, lo, hi)
            bits[sample, output // 8] |= (lo <= code <= hi) << (output % 8)
        assert np.array_equal(mask, bits)


@pytest.mark.rules("FC-S3")
def test_c_without_a_mask():
    (operands, attributes), *_ = _forward_cases(3, 5, 9)
    y = np.empty((3, 9), np.int8)
    kernels.call("fully_connected.forward", operands, (y, None), **attributes)
    assert np.array_equal(y, fully_connected.forward(*operands, **attributes)[0])


@pytest.mark.rules("FC-S4")
def test_dx_adds_output_channels_in_ascending_order():
    w = np.int8([[1], [1], [1], [1]])
    g = np.float32([[1.0, 2.0**-24, 2.0**-24, -1.0]])
    assert fully_connected.vjp_x(g, w).tolist() == [[0.0]]
    assert fully_connected.vjp_x(g[:, ::-1], w).tolist() == [[2.0**-23]]
    assert fully_connected.vjp_x(g, w, np.float32([[0.5]])).tolist() == [[0.5]]


@pytest.mark.rules("FC-S5")
def test_dw_adds_samples_in_order_and_subtracts_the_zero_point():
    g = np.float32([[1.0], [2.0**-24], [2.0**-24], [-1.0]])
    x = np.int8([[6], [6], [6], [6]])
    assert fully_connected.vjp_w(g, x, x_zero=5).tolist() == [[0.0]]
    assert fully_connected.vjp_w(g[::-1], x, x_zero=5).tolist() == [[2.0**-23]]
    assert fully_connected.vjp_w(np.float32([[2.0]]), np.int8([[127]]), x_zero=-128).tolist() == [[510.0]]


@pytest.mark.rules("FC-S4", "FC-F1")
@pytest.mark.parametrize(("n", "i", "o"), GRADIENTS)
@pytest.mark.parametrize("hard", [0.0, 0.05])
def test_vjp_x_agrees_with_c_and_a_scalar_loop(n, i, o, hard):
    rng = np.random.default_rng((n, i, o))
    g, dx0 = exact.floats(rng, n, o, hard=hard), exact.floats(rng, n, i, hard=hard)
    w = np.maximum(exact.codes(rng, o, i), -127)
    for start in None, dx0:
        (dx,) = c_kernels.check("fully_connected.vjp_x", g, w, start)
        scalar = np.zeros((n, i), np.float32) if start is None else start.copy()
        for sample, k in np.ndindex(n, i):
            for output in range(o):
                scalar[sample, k] = exact.fma(g[sample, output], np.float32(w[output, k]), scalar[sample, k])
        assert same_bits(dx, scalar).all()


@pytest.mark.rules("FC-S5", "FC-F1")
@pytest.mark.parametrize(("n", "i", "o"), GRADIENTS)
@pytest.mark.parametrize("hard", [0.0, 0.05])
def test_vjp_w_agrees_with_c_and_a_scalar_loop(n, i, o, hard):
    rng = np.random.default_rng((n, i, o))
    g, dw0, x = exact.floats(rng, n, o, hard=hard), exact.floats(rng, o, i, hard=hard), exact.codes(rng, n, i)
    for start, x_zero in (None, -128), (dw0, 3):
        (dw,) = c_kernels.check("fully_connected.vjp_w", g, x, start, x_zero=x_zero)
        scalar = np.zeros((o, i), np.float32) if start is None else start.copy()
        for output, k in np.ndindex(o, i):
            for sample in range(n):
                code = np.float32(int(x[sample, k]) - x_zero)
                scalar[output, k] = exact.fma(g[sample, output], code, scalar[output, k])
        assert same_bits(dw, scalar).all()


@pytest.mark.rules("FC-S6")
@pytest.mark.parametrize("channels", [[0], [2, 3, 11], [*range(13)]])
def test_a_slice_gets_the_bits_of_the_dense_gradient(channels):
    rng = np.random.default_rng(0)
    g, x, kept = exact.floats(rng, 3, 5), exact.codes(rng, 3, 13), np.int32(channels)
    dense = fully_connected.vjp_w(g, x, x_zero=-7)
    (dw,) = c_kernels.check("fully_connected.vjp_w", g, save_channels.forward(x, kept), x_zero=-7)
    assert same_bits(dw, dense[:, kept]).all()


@pytest.mark.rules("FC-S7", "FC-S1", "FC-S4", "FC-A1", "FC-A2", "FC-F1")
@pytest.mark.parametrize("channels", PARTS, ids=str)
def test_a_split_weight_is_the_dense_weight_that_its_parts_make(channels):
    rng = np.random.default_rng(10)
    x, w, b, m = (
        exact.codes(rng, 2, 5),
        np.maximum(exact.codes(rng, 9, 5), -127),
        np.arange(9, dtype=np.int32),
        np.float32([0.01] * 9),
    )
    trained, listed, dense = split(rng, w, channels)
    expected = fully_connected.forward(x, dense, b, m, **{"x_zero": -7, "y_zero": 3})
    results = c_kernels.check("fully_connected.forward", x, w, b, m, trained, listed, **{"x_zero": -7, "y_zero": 3})
    c_kernels.assert_same("fully_connected.forward", expected, results)
    grad, dx0 = exact.floats(rng, 2, 9, hard=0.05), exact.floats(rng, *x.shape, hard=0.1)
    for start in (None, dx0):
        dx = fully_connected.vjp_x(grad, dense, start)
        (result,) = c_kernels.check("fully_connected.vjp_x", grad, w, start, trained, listed)
        assert same_bits(dx, result).all()
    c_kernels.check_in_place("fully_connected.vjp_x", "dx", "dx0", grad, w, dx0, trained, listed)


@pytest.mark.rules("FC-C6", "FC-S7")
def test_no_accumulator_overflows_on_the_way_to_that_of_a_split_weight():
    """With w alone it would: the proof is about the weight that trained is part of."""
    x, w = np.full((1, 2), 127, np.int8), np.full((3, 2), 127, np.int8)
    trained, listed = -w[..., [1]], np.int32([1])
    b, m = np.full(3, 2**31 - 1 - 127 * 255, np.int32), np.full(3, 2.0**-25, np.float32)
    y, _ = c_kernels.check("fully_connected.forward", x, w, b, m, trained, listed, x_zero=-128, y_zero=0)
    assert (y == 64).all()


@pytest.mark.rules("FC-A1", "FC-A2", "FC-A3")
def test_in_place():
    rng = np.random.default_rng(0)
    g, x, w = exact.floats(rng, 3, 9), exact.codes(rng, 3, 13), np.maximum(exact.codes(rng, 9, 13), -127)
    assert c_kernels.pairs("fully_connected.forward") == set()
    assert c_kernels.pairs("fully_connected.vjp_x") == {("dx", "dx0", "FC-A2")}
    assert c_kernels.pairs("fully_connected.vjp_w") == {("dw", "dw0", "FC-A3")}
    c_kernels.check_in_place("fully_connected.vjp_x", "dx", "dx0", g, w, exact.floats(rng, 3, 13))
    c_kernels.check_in_place("fully_connected.vjp_w", "dw", "dw0", g, x, exact.floats(rng, 9, 13), x_zero=4)


X, W, B, M = Type((2, 5), "int8"), Type((9, 5), "int8"), Type((9,), "int32"), Type((9,), "float32")
G, ZEROS = Type((2, 9), "float32"), {"x_zero": 0, "y_zero": 0}
PART = Type((*W.shape[:-1], 2), "int8")


@pytest.mark.rules("FC-C1")
@pytest.mark.parametrize("wrong", [Type((2, 5), "uint8"), Type((5,), "int8"), Type((2, 0), "int8")])
def test_operands_of_a_wrong_type_are_refused(wrong):
    with pytest.raises(ConstraintError, match="FC-C1: x is "):
        fully_connected.types(wrong, W, B, M, **ZEROS)
    with pytest.raises(ConstraintError, match="FC-C1: w is "):
        fully_connected.types(X, wrong, B, M, **ZEROS)
    with pytest.raises(ConstraintError, match="FC-C1: w is "):
        fully_connected.types_vjp_x(G, wrong)
    with pytest.raises(ConstraintError, match="FC-C1: x is "):
        fully_connected.types_vjp_w(G, wrong, x_zero=0)


@pytest.mark.rules("FC-C2")
def test_unequal_input_channels_are_refused():
    with pytest.raises(ConstraintError, match="FC-C2: w has 4 input channels, x has 5"):
        fully_connected.types(X, Type((9, 4), "int8"), B, M, **ZEROS)


@pytest.mark.rules("FC-C3")
def test_per_channel_operands_of_a_wrong_type_are_refused():
    for b, m in (Type((8,), "int32"), M), (Type((9,), "int8"), M), (B, Type((1,), "float32")), (B, B):
        with pytest.raises(ConstraintError, match=r"FC-C3: b is .*, m is .*, w has 9 output channels"):
            fully_connected.types(X, W, b, m, **ZEROS)


@pytest.mark.rules("FC-C4")
@pytest.mark.parametrize("attribute", ["x_zero", "y_zero", "lo", "hi"])
@pytest.mark.parametrize("value", [-129, 128])
def test_zero_points_and_ranges_outside_the_codes_are_refused(attribute, value):
    with pytest.raises(ConstraintError, match=f"FC-C4: {attribute} is {value}"):
        fully_connected.types(X, W, B, M, **{**ZEROS, "lo": -128, "hi": 127, attribute: value})
    with pytest.raises(ConstraintError, match=f"FC-C4: x_zero is {value}"):
        fully_connected.types_vjp_w(G, X, x_zero=value)


@pytest.mark.rules("FC-C4")
def test_an_empty_range_is_refused():
    with pytest.raises(ConstraintError, match="FC-C4: the output range is"):
        fully_connected.types(X, W, B, M, **ZEROS, lo=1, hi=0)


@pytest.mark.rules("FC-C5")
def test_gradients_of_a_wrong_type_are_refused():
    for g in Type((2, 9), "int8"), Type((9,), "float32"), Type((2, 8), "float32"):
        with pytest.raises(ConstraintError, match="FC-C5: g is "):
            fully_connected.types_vjp_x(g, W)
    for g in Type((2, 9), "int8"), Type((9,), "float32"), Type((3, 9), "float32"):
        with pytest.raises(ConstraintError, match="FC-C5: g is "):
            fully_connected.types_vjp_w(g, X, x_zero=0)
    with pytest.raises(ConstraintError, match=r"FC-C5: dx0 is .*float32\[2, 5\]"):
        fully_connected.types_vjp_x(G, W, Type((1, 5), "float32"))
    with pytest.raises(ConstraintError, match=r"FC-C5: dw0 is .*float32\[9, 5\]"):
        fully_connected.types_vjp_w(G, X, Type((5, 9), "float32"), x_zero=0)


@pytest.mark.rules("FC-C1", "FC-C2", "FC-S1", "FC-S4", "FC-S5")
def test_a_map_is_flattened_in_raster_order():
    rng = np.random.default_rng(5)
    g, x, w = exact.floats(rng, 2, 4), exact.codes(rng, 2, 3, 2, 5), np.maximum(exact.codes(rng, 4, 30), -127)
    flat = x.reshape(2, 30)
    (dx,) = c_kernels.check("fully_connected.vjp_x", g, w, in_shape=(3, 2, 5))
    assert dx.shape == x.shape
    assert same_bits(dx.reshape(2, 30), fully_connected.vjp_x(g, w)).all()
    (dw,) = c_kernels.check("fully_connected.vjp_w", g, x, x_zero=3)
    assert same_bits(dw, fully_connected.vjp_w(g, flat, x_zero=3)).all()
    b, m = np.arange(4, dtype=np.int32), np.full(4, 0.001, np.float32)
    y, _ = c_kernels.check("fully_connected.forward", x, w, b, m, x_zero=3, y_zero=0)
    assert (y == fully_connected.forward(flat, w, b, m, x_zero=3, y_zero=0)[0]).all()
    with pytest.raises(ConstraintError, match=r"FC-C2: in_shape is \(3, 2\)"):
        fully_connected.types_vjp_x(Type.of(g), Type.of(w), in_shape=(3, 2))


@pytest.mark.rules("FC-C7")
@pytest.mark.parametrize("parts", misfits(PART), ids=str)
def test_parts_of_a_weight_that_do_not_fit_are_refused(parts):
    check_types_refused("FC-C7", fully_connected, (X, W, B, M, G), parts, ZEROS)


@pytest.mark.rules("FC-C7")
@pytest.mark.parametrize("namespace", [ops, kernels])
@pytest.mark.parametrize("channels", NOT_ASCENDING)
def test_a_list_of_a_part_that_does_not_ascend_within_w_is_refused(namespace, channels):
    check_list_refused(namespace.fully_connected, (X, W, B, M, G), PART, channels, ZEROS)
