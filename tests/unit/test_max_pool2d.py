"""specs/ops/max_pool2d.md"""

import numpy as np
import pytest

import c_kernels
import exact
from geometry import odd, some
from goldgrad import ConstraintError, kernels
from goldgrad.numerics import same_bits
from goldgrad.ops import Type, max_pool2d

RANGE = {"lo": -40, "hi": 60}
POOLS = odd(pool=True)


def codes(rng, *shape):
    """Codes of few values, so that there are ties, some of them at the ends."""
    return rng.choice(np.int8([-128, -41, -40, 0, 59, 60, 61, 127]), shape)


def by_definition(g, x, *, lo, hi):
    """MAXP-S1, MAXP-S2, MAXP-S3: the first of the largest codes."""
    shape = (len(x), *g.out_hw, x.shape[3])
    y, mask, index = np.zeros(shape, np.int8), np.zeros(shape, bool), np.zeros(shape, np.uint8)
    meet = g.of_output()
    for n, oh, ow, c in np.ndindex(shape):
        values = [int(x[n, *pixel, c]) for _, pixel in meet[oh, ow]]
        largest = max(values)
        (kh, kw), _ = meet[oh, ow][values.index(largest)]
        index[n, oh, ow, c] = kh * g.kernel[1] + kw
        y[n, oh, ow, c] = exact.clamp(largest, lo, hi)
        mask[n, oh, ow, c] = lo <= largest <= hi
    return y, np.packbits(mask, axis=-1, bitorder="little"), index


def dx_by_definition(g, grad, index, mask, dx0):
    """MAXP-S4, MAXP-S5: for each element a sum over the outputs whose index names the pixel, in raster order."""
    dx = dx0.copy()
    meet = g.of_input()
    for n, ih, iw, c in np.ndindex(dx.shape):
        for output, (kh, kw) in meet[ih, iw]:
            inside = mask[n, *output, c // 8] >> (c % 8) & 1
            if inside and index[n, *output, c] == kh * g.kernel[1] + kw:
                dx[n, ih, iw, c] = exact.fma(grad[n, *output, c], np.float32(1), dx[n, ih, iw, c])
    return dx


@pytest.mark.rules("MAXP-S1", "MAXP-S2", "MAXP-S3", "MAXP-F1")
@pytest.mark.parametrize("g", POOLS.values(), ids=POOLS)
def test_forward_is_as_the_definition_says(g):
    x = codes(np.random.default_rng(2), 2, *g.in_hw, 9)
    results = c_kernels.check("max_pool2d.forward", x, kernel=g.kernel, **RANGE, **g.attributes)
    for actual, expected in zip(results, by_definition(g, x, **RANGE), strict=True):
        assert actual.tolist() == expected.tolist()


@pytest.mark.rules("MAXP-S4", "MAXP-S5", "MAXP-A2", "MAXP-F1")
@pytest.mark.parametrize("any_index", [False, True])
@pytest.mark.parametrize("g", POOLS.values(), ids=POOLS)
def test_vjp_x_is_as_the_definition_says(g, any_index):
    rng = np.random.default_rng(3)
    x = codes(rng, 2, *g.in_hw, 9)
    y, mask, index = max_pool2d.forward(x, kernel=g.kernel, **RANGE, **g.attributes)
    if any_index:  # also taps in the padding, and none at all
        index = rng.choice([*range(g.kernel[0] * g.kernel[1] + 2), 255], index.shape).astype(np.uint8)
    grad, dx0 = exact.floats(rng, *y.shape, hard=0.1), exact.floats(rng, *x.shape, hard=0.1)
    attributes = {"in_hw": g.in_hw, "kernel": g.kernel, **g.attributes}
    (dx,) = c_kernels.check("max_pool2d.vjp_x", grad, index, mask, dx0, **attributes)
    assert same_bits(dx, dx_by_definition(g, grad, index, mask, dx0)).all()
    (dx,) = c_kernels.check("max_pool2d.vjp_x", grad, index, mask, **attributes)
    assert same_bits(dx, dx_by_definition(g, grad, index, mask, np.zeros_like(dx0))).all()
    c_kernels.check_in_place("max_pool2d.vjp_x", "dx", "dx0", grad, index, mask, dx0, **attributes)


@pytest.mark.rules("MAXP-S1", "MAXP-S4")
@pytest.mark.parametrize("g", some(40, seed=5, pool=True), ids=repr)
def test_c_agrees_with_the_reference(g):
    rng = np.random.default_rng(6)
    samples, channels = (int(n) for n in rng.integers(1, (4, 20)))
    x = exact.codes(rng, samples, *g.in_hw, channels)
    y, mask, index = c_kernels.check("max_pool2d.forward", x, kernel=g.kernel, **RANGE, **g.attributes)
    grad, dx0 = exact.floats(rng, *y.shape, hard=0.02), exact.floats(rng, *x.shape)
    c_kernels.check("max_pool2d.vjp_x", grad, index, mask, dx0, in_hw=g.in_hw, kernel=g.kernel, **g.attributes)


@pytest.mark.rules("MAXP-S2")
def test_the_first_of_equals_wins():
    x = np.int8([[3, 7], [7, 7]]).reshape(1, 2, 2, 1)
    y, _, index = max_pool2d.forward(x, kernel=(2, 2))
    assert (y.item(), index.item()) == (7, 1)
    smallest = np.full((1, 2, 2, 1), -128, np.int8)
    for pad, first in (((0, 0, 0, 0), 0), ((1, 0, 0, 0), 2), ((0, 0, 1, 0), 1), ((1, 0, 1, 0), 3)):
        _, _, index = c_kernels.check("max_pool2d.forward", smallest, kernel=(2, 2), pad=pad)
        assert index[0, 0, 0, 0] == first  # the first tap that meets the map


@pytest.mark.rules("MAXP-S2", "MAXP-S3")
def test_codes_above_the_range_are_no_tie():
    x = np.int8([60, 80, 70]).reshape(1, 1, 3, 1)
    y, mask, index = max_pool2d.forward(x, kernel=(1, 3), hi=60)
    assert (y.item(), mask.item(), index.item()) == (60, 0, 1)


@pytest.mark.rules("MAXP-S3")
def test_the_mask_is_inclusive():
    x = np.int8([-41, -40, -39, 59, 60, 61]).reshape(1, 1, 1, 6)
    y, mask, _ = max_pool2d.forward(x, kernel=(1, 1), **RANGE)
    assert y.ravel().tolist() == [-40, -40, -39, 59, 60, 60]
    assert mask.item() == 0b011110


@pytest.mark.rules("MAXP-S1")
def test_padding_is_no_value():
    x = np.full((1, 1, 1, 1), -100, np.int8)
    y, _, index = max_pool2d.forward(x, kernel=(3, 3), pad=(1, 1, 1, 1))
    assert (y.item(), index.item()) == (-100, 4)


@pytest.mark.rules("MAXP-C3")
def test_index_holds_the_last_of_256_taps():
    x = np.zeros((1, 16, 16, 1), np.int8)
    x[0, 15, 15] = 1
    y, mask, index = c_kernels.check("max_pool2d.forward", x, kernel=(16, 16))
    assert (y.item(), index.item()) == (1, 255)
    grad = np.full((1, 1, 1, 1), 2.5, np.float32)
    (dx,) = c_kernels.check("max_pool2d.vjp_x", grad, index, mask, in_hw=(16, 16), kernel=(16, 16))
    assert dx[0, 15, 15, 0] == 2.5 and np.count_nonzero(dx) == 1


@pytest.mark.rules("MAXP-S4")
def test_the_sum_goes_over_outputs_in_raster_order():
    x = np.int8([0, 0, 9, 0, 0]).reshape(1, 1, 5, 1)
    _, mask, index = max_pool2d.forward(x, kernel=(1, 3))
    assert index.ravel().tolist() == [2, 1, 0]
    for values, expected in (([1e8, 1, -1e8], 0), ([1, 1e8, -1e8], 0), ([1e8, -1e8, 1], 1)):
        grad = np.float32(values).reshape(1, 1, 3, 1)
        dx = max_pool2d.vjp_x(grad, index, mask, in_hw=(1, 5), kernel=(1, 3))
        assert dx.ravel().tolist() == [0, 0, expected, 0, 0]


@pytest.mark.rules("MAXP-S4", "MAXP-S5")
def test_what_takes_no_part_does_not_even_add_a_zero():
    grad = np.float32([np.nan, 4, 1]).reshape(1, 1, 3, 1)
    dx0 = np.full((1, 1, 3, 1), -0.0, np.float32)
    mask, index = np.uint8([0xFE, 0xFF, 0xFF]).reshape(1, 1, 3, 1), np.uint8([0, 0, 1]).reshape(1, 1, 3, 1)
    (dx,) = c_kernels.check("max_pool2d.vjp_x", grad, index, mask, dx0, in_hw=(1, 3), kernel=(1, 1))
    assert same_bits(dx.ravel(), np.float32([-0.0, 4, -0.0])).all()


@pytest.mark.rules("MAXP-A1", "MAXP-A2")
def test_alias_table():
    assert c_kernels.pairs("max_pool2d.forward") == set()
    assert c_kernels.pairs("max_pool2d.vjp_x") == {("dx", "dx0", "MAXP-A2")}


@pytest.mark.rules("MAXP-F1")
def test_mask_and_index_may_be_left_out():
    x = exact.codes(np.random.default_rng(7), 2, 4, 4, 9)
    expected = max_pool2d.forward(x, kernel=(2, 2))
    for wanted in ((0,), (0, 1), (0, 2)):
        results = [np.empty_like(e) if i in wanted else None for i, e in enumerate(expected)]
        kernels.call("max_pool2d.forward", (x,), results, kernel=(2, 2))
        assert all((results[i] == expected[i]).all() for i in wanted)


X = Type((1, 4, 4, 3), "int8")
GY, INDEX, MASK = Type((1, 2, 2, 3), "float32"), Type((1, 2, 2, 3), "uint8"), Type((1, 2, 2, 1), "uint8")
BACK = {"in_hw": (4, 4), "kernel": (3, 3)}


def broken(rule, text):
    return pytest.raises(ConstraintError, match=f"^{rule}: .*{text}")


@pytest.mark.rules("MAXP-C1")
@pytest.mark.parametrize("x", [Type((1, 4, 4, 3), "uint8"), Type((4, 4, 3), "int8"), Type((0, 4, 4, 3), "int8")])
def test_x_of_a_wrong_type_is_refused(x):
    with broken("MAXP-C1", "x is"):
        max_pool2d.types(x, kernel=(2, 2))


@pytest.mark.rules("MAXP-C2")
@pytest.mark.parametrize(("codes", "text"), [({"lo": -129}, "lo is -129"), ({"lo": 5, "hi": 4}, r"range is \[5, 4\]")])
def test_codes_out_of_range_are_refused(codes, text):
    with broken("MAXP-C2", text):
        max_pool2d.types(X, kernel=(2, 2), **codes)


@pytest.mark.rules("MAXP-C3")
def test_more_than_256_taps_are_refused():
    with broken("MAXP-C3", r"\(1, 257\) has 257 taps"):
        max_pool2d.types(Type((1, 1, 300, 1), "int8"), kernel=(1, 257))
    with broken("MAXP-C3", "taps"):
        max_pool2d.types_vjp_x(GY, INDEX, MASK, in_hw=(20, 20), kernel=(17, 16))


@pytest.mark.rules("MAXP-C4")
def test_an_output_in_the_padding_is_refused():
    with broken("MAXP-C4", r"output \(4, 0\) meets no pixel"):
        max_pool2d.types(X, kernel=(2, 2), pad=(0, 2, 0, 0))
    with broken("MAXP-C4", r"output \(0, 0\) meets no pixel"):
        max_pool2d.types_vjp_x(GY, INDEX, MASK, in_hw=(1, 1), kernel=(2, 1), dilation=(5, 1), pad=(2, 3, 0, 0))


@pytest.mark.rules("MAXP-C5")
@pytest.mark.parametrize(
    ("gy", "index", "mask", "dx0", "text"),
    [
        (Type((1, 3, 2, 3), "float32"), INDEX, MASK, None, "gy is"),
        (Type((), "float32"), INDEX, MASK, None, "gy is"),
        (GY, Type((1, 2, 2, 3), "int8"), MASK, None, "index is"),
        (GY, MASK, MASK, None, "index is"),
        (GY, INDEX, INDEX, None, "mask is"),
        (GY, INDEX, MASK, Type((1, 4, 4, 1), "float32"), "dx0 is"),
    ],
)
def test_gradients_of_a_wrong_type_are_refused(gy, index, mask, dx0, text):
    with broken("MAXP-C5", text):
        max_pool2d.types_vjp_x(gy, index, mask, dx0, **BACK)
