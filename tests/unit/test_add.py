"""specs/ops/add.md"""

import numpy as np
import pytest

import c_kernels
import exact
from goldgrad import ConstraintError, kernels
from goldgrad.numerics import same_bits
from goldgrad.ops import Type, add

SHAPES = [(1, 1), (3, 7), (1, 8), (2, 3, 1, 9), (1, 4, 5, 16), (2, 2, 2, 17)]
ONE = np.float32([1.0])


def forward(x1, x2, m1, m2, **attributes):
    """y as a list, and the mask's first byte, of one pixel."""
    attributes = {"x1_zero": 0, "x2_zero": 0, "y_zero": 0, **attributes}
    y, mask = add.forward(np.int8([x1]), np.int8([x2]), np.float32([m1]), np.float32([m2]), **attributes)
    return y[0].tolist(), int(mask[0, 0])


@pytest.mark.rules("ADD-S1")
def test_each_operand_has_its_own_scale_and_zero_point():
    assert forward([10], [20], 0.5, 0.25, x1_zero=4, x2_zero=-20, y_zero=1) == ([3 + 10 + 1], 1)


@pytest.mark.rules("ADD-S1")
def test_the_first_product_is_rounded_and_the_second_is_not():
    u = 2.0**-24
    m1, m2 = 0.5 + u, 1 - 3 * u
    # 5 m1 = 2.5 + 5u, rounded to 2.5 + 4u; with 3 m2 = 3 - 9u that is 5.5 - 5u, rounded to 5.5 - 8u: code 5.
    # With both products rounded, or neither, or in the other order, the sum is 5.5 - 4u, rounded to 5.5: code 6.
    assert forward([5], [3], m1, m2) == ([5], 1)
    assert forward([3], [5], m2, m1) == ([6], 1)


@pytest.mark.rules("ADD-S2")
def test_ties_go_to_even_and_the_zero_point_has_no_say():
    ties = [1, 3, 5, -1, -3, -5]  # halves: 0.5 1.5 2.5 -0.5 -1.5 -2.5
    for y_zero in -1, 0, 1:
        y, _ = forward(ties, [0] * 6, 0.5, 1.0, y_zero=y_zero)
        assert [code - y_zero for code in y] == [0, 2, 2, 0, -2, -2]  # half away from zero: 1 2 3 -1 -2 -3


@pytest.mark.rules("ADD-S2", "ADD-S3")
def test_the_mask_is_inclusive_after_the_zero_point_and_before_the_clamp():
    y, mask = forward([2, 3, 4, 9, 10, 11], [0] * 6, 1.0, 1.0, y_zero=5, lo=8, hi=15)
    assert y == [8, 8, 9, 14, 15, 15]
    assert mask == 0b011110


@pytest.mark.rules("ADD-S2", "ADD-S3")
def test_saturated_codes_lose_their_mask():
    assert forward([127, 127, -128, -128], [127, 0, 0, -1], 1.0, 1.0) == ([127, 127, -128, -128], 0b0110)
    assert forward([127, -128], [127, -128], 3e38, 3e38, y_zero=-7) == ([127, -128], 0)


@pytest.mark.rules("ADD-S4")
def test_gradient_by_hand():
    gy, mask = np.float32([[2.0, 3.0, 5.0]]), np.uint8([[0b101]])
    assert add.vjp_x(gy, mask, np.float32([0.5])).tolist() == [[1.0, 0.0, 2.5]]
    assert add.vjp_x(gy, mask, np.float32([0.5]), np.float32([[10.0, 20.0, 30.0]])).tolist() == [[11.0, 20.0, 32.5]]


@pytest.mark.rules("ADD-S4")
def test_a_closed_mask_keeps_every_bit_of_the_start():
    start = exact.HARD[None]
    dx = add.vjp_x(np.full_like(start, np.nan), np.zeros((1, 2), np.uint8), ONE, start)
    assert same_bits(dx, start).all()
    dx = add.vjp_x(start, np.zeros((1, 2), np.uint8), ONE)
    assert same_bits(dx, np.zeros_like(start)).all()  # +0


@pytest.mark.rules("ADD-S4")
def test_the_product_is_not_rounded_before_it_is_added():
    gy, m = np.float32([[1 + 2.0**-23]]), np.float32([1 + 2.0**-23])  # the product is 1 + 2^-22 + 2^-46
    dx = add.vjp_x(gy, np.uint8([[1]]), m, np.float32([[-1 - 2.0**-22]]))
    assert dx.tolist() == [[2.0**-46]]


def _attributes(rng):
    lo, hi = sorted(exact.codes(rng, 2).tolist())
    zeros = dict(zip(("x1_zero", "x2_zero", "y_zero"), exact.codes(rng, 3).tolist(), strict=True))
    return {**zeros, "lo": lo if rng.random() < 0.5 else -128, "hi": hi if rng.random() < 0.5 else 127}


def _forward_cases(shape):
    rng = np.random.default_rng(shape)
    for scale in (0.5, 0.25), (0.7312, 1.19), (1e-40, 0.5), (3e38, 1e38), (0.011, 0.3):
        m1, m2 = np.float32([[scale[0]], [scale[1]]])
        yield (exact.codes(rng, *shape), exact.codes(rng, *shape), m1, m2), _attributes(rng)


@pytest.mark.rules("ADD-S1", "ADD-S2", "ADD-S3", "ADD-F1")
@pytest.mark.parametrize("shape", SHAPES)
def test_forward_agrees_with_c_and_a_scalar_loop(shape):
    for (x1, x2, m1, m2), a in _forward_cases(shape):
        y, mask = c_kernels.check("add.forward", x1, x2, m1, m2, **a)
        bits = np.zeros_like(mask)
        for *pixel, c in np.ndindex(shape):
            at = (*pixel, c)
            total = exact.fma(m1[0], np.float32(int(x1[at]) - a["x1_zero"]), np.float32(0))
            total = exact.fma(m2[0], np.float32(int(x2[at]) - a["x2_zero"]), total)
            code = exact.rne(total) + a["y_zero"]
            assert y[at] == exact.clamp(code, a["lo"], a["hi"])
            bits[*pixel, c // 8] |= (a["lo"] <= code <= a["hi"]) << (c % 8)
        assert np.array_equal(mask, bits)


@pytest.mark.rules("ADD-S4", "ADD-F1")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("hard", [0.0, 0.3])
def test_vjp_x_agrees_with_c_and_a_scalar_loop(shape, hard):
    rng = np.random.default_rng(shape)
    gy, dx0 = exact.floats(rng, *shape, hard=hard), exact.floats(rng, *shape, hard=hard)
    mask = exact.packed(rng, *shape)
    for m in np.float32([[0.7312], [1e-40], [3e38]]):
        for start in None, dx0:
            (dx,) = c_kernels.check("add.vjp_x", gy, mask, m, start)
            for *pixel, c in np.ndindex(shape):
                expected = np.float32(0) if start is None else start[*pixel, c]
                if mask[*pixel, c // 8] >> (c % 8) & 1:
                    expected = exact.fma(gy[*pixel, c], m[0], expected)
                assert same_bits(dx[*pixel, c : c + 1], np.float32([expected])).all()


@pytest.mark.rules("ADD-S3")
def test_c_without_a_mask():
    (operands, attributes), *_ = _forward_cases((3, 17))
    y = np.empty((3, 17), np.int8)
    kernels.call("add.forward", operands, (y, None), **attributes)
    assert np.array_equal(y, add.forward(*operands, **attributes)[0])


@pytest.mark.rules("ADD-A1")
@pytest.mark.parametrize("shape", SHAPES)
def test_forward_in_place(shape):
    assert c_kernels.pairs("add.forward") == {("y", "x1", "ADD-A1"), ("y", "x2", "ADD-A1")}
    for operands, attributes in _forward_cases(shape):
        for operand in "x1", "x2":
            c_kernels.check_in_place("add.forward", "y", operand, *operands, **attributes)
    x = operands[0].copy()  # both operands and the result in one place
    expected = add.forward(x, x, *operands[2:], **attributes)
    mask = np.empty_like(expected[1])
    kernels.call("add.forward", (x, x, *operands[2:]), (x, mask), **attributes)
    c_kernels.assert_same("add.forward", expected, (x, mask))


@pytest.mark.rules("ADD-A2")
@pytest.mark.parametrize("shape", SHAPES)
def test_backward_in_place(shape):
    rng = np.random.default_rng(shape)
    assert c_kernels.pairs("add.vjp_x") == {("dx", "gy", "ADD-A2"), ("dx", "dx0", "ADD-A2")}
    gy, dx0 = exact.floats(rng, *shape, hard=0.1), exact.floats(rng, *shape, hard=0.1)
    operands = gy, exact.packed(rng, *shape), np.float32([0.7312])
    c_kernels.check_in_place("add.vjp_x", "dx", "gy", *operands)
    c_kernels.check_in_place("add.vjp_x", "dx", "gy", *operands, dx0)
    c_kernels.check_in_place("add.vjp_x", "dx", "dx0", *operands, dx0)


X, M, GY, MASK = Type((1, 2, 9), "int8"), Type((1,), "float32"), Type((1, 2, 9), "float32"), Type((1, 2, 2), "uint8")
ZEROS = {"x1_zero": 0, "x2_zero": 0, "y_zero": 0}


@pytest.mark.rules("ADD-C1")
@pytest.mark.parametrize(
    ("x1", "x2"),
    [
        (X, Type((1, 1, 9), "int8")),
        (X, Type((1, 2, 9), "uint8")),
        (GY, GY),
        (Type((9,), "int8"), Type((9,), "int8")),
        (Type((0, 9), "int8"), Type((0, 9), "int8")),
    ],
)
def test_operands_of_unequal_or_wrong_types_are_refused(x1, x2):
    with pytest.raises(ConstraintError, match=r"ADD-C1: x1 is .*, x2 is "):
        add.types(x1, x2, M, M, **ZEROS)


@pytest.mark.rules("ADD-C2")
@pytest.mark.parametrize("m", [Type((9,), "float32"), Type((), "float32"), Type((1,), "float64")])
def test_multipliers_of_a_wrong_type_are_refused(m):
    for m1, m2 in (m, M), (M, m):
        with pytest.raises(ConstraintError, match=r"ADD-C2: m1 is .*, m2 is .*float32\[1\]"):
            add.types(X, X, m1, m2, **ZEROS)
    with pytest.raises(ConstraintError, match="ADD-C2: m is "):
        add.types_vjp_x(GY, MASK, m)


@pytest.mark.rules("ADD-C3")
@pytest.mark.parametrize("attribute", ["x1_zero", "x2_zero", "y_zero", "lo", "hi"])
@pytest.mark.parametrize("value", [-129, 128])
def test_zero_points_and_ranges_outside_the_codes_are_refused(attribute, value):
    with pytest.raises(ConstraintError, match=f"ADD-C3: {attribute} is {value}"):
        add.types(X, X, M, M, **{**ZEROS, "lo": -128, "hi": 127, attribute: value})


@pytest.mark.rules("ADD-C3")
def test_an_empty_range_is_refused():
    with pytest.raises(ConstraintError, match="ADD-C3: the output range is"):
        add.types(X, X, M, M, **ZEROS, lo=1, hi=0)


@pytest.mark.rules("ADD-C4")
def test_gradients_of_a_wrong_type_are_refused():
    for gy in X, Type((9,), "float32"), Type((0, 9), "float32"):
        with pytest.raises(ConstraintError, match="ADD-C4: gy is "):
            add.types_vjp_x(gy, MASK, M)
    for mask in Type((1, 2, 1), "uint8"), Type((1, 2, 2), "int8"):
        with pytest.raises(ConstraintError, match=r"ADD-C4: mask is .*uint8\[1, 2, 2\]"):
            add.types_vjp_x(GY, mask, M)
    with pytest.raises(ConstraintError, match=r"ADD-C4: dx0 is .*float32\[1, 2, 9\]"):
        add.types_vjp_x(GY, MASK, M, Type((2, 9), "float32"))
