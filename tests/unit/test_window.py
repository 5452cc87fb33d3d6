"""specs/ops/window.md"""

from itertools import product

import numpy as np
import pytest

from geometry import Geometry, odd, some
from goldgrad import ConstraintError
from goldgrad.ops._window import Window


def window(g):
    return Window(g.in_hw, g.kernel, g.stride, g.pad, g.dilation)


def indices(area):
    rows, columns = (list(range(s.start, s.stop, s.step or 1)) for s in area)
    return list(product(rows, columns))


def meetings_by_taps(g):
    return [
        (output, tap, pixel)
        for tap, outputs, pixels in window(g).taps()
        for output, pixel in zip(indices(outputs), indices(pixels), strict=True)
    ]


def meetings_by_pixels(g):
    return [
        (output, tap, pixel)
        for output, taps, pixels in window(g).pixels()
        for tap, pixel in zip(indices(taps), indices(pixels), strict=True)
    ]


def every_axis():
    """All small geometries of one axis: in, kernel, stride, padding before and after, dilation."""
    sizes = product(range(1, 6), range(1, 5), range(1, 5), range(4), range(3), range(1, 4))
    for number, (size, kernel, stride, before, after, dilation) in enumerate(sizes):
        if number % 2:
            yield Geometry((1, size), (1, kernel), (1, stride), (0, 0, before, after), (1, dilation))
        else:
            yield Geometry((size, 1), (kernel, 1), (stride, 1), (before, after, 0, 0), (dilation, 1))


@pytest.mark.rules("WIN-S1", "WIN-S2", "WIN-C3")
def test_every_small_axis_is_as_the_definition_says():
    for g in every_axis():
        if not g.fits:
            with pytest.raises(ConstraintError, match="WIN-C3"):
                window(g)
            continue
        assert window(g).out_hw == g.out_hw
        expected = list(g.meetings())
        assert meetings_by_pixels(g) == expected, g
        assert meetings_by_taps(g) == sorted(expected, key=lambda m: (m[1], m[0])), g


@pytest.mark.rules("WIN-S1", "WIN-S2", "WIN-S3")
@pytest.mark.parametrize("g", [*odd().values(), *some(60, seed=1)], ids=repr)
def test_both_orders_visit_every_meeting_once(g):
    expected = list(g.meetings())
    assert window(g).out_hw == g.out_hw
    assert meetings_by_pixels(g) == expected
    assert meetings_by_taps(g) == sorted(expected, key=lambda m: (m[1], m[0]))
    assert (window(g).unmet() is None) == g.pools
    if not g.pools:
        outputs = product(range(g.out_hw[0]), range(g.out_hw[1]))
        assert window(g).unmet() in set(outputs) - set(g.of_output())


@pytest.mark.rules("WIN-S1")
def test_sizes_by_hand():
    assert Window((128, 128), (3, 3), (2, 2), (1, 1, 1, 1)).out_hw == (64, 64)
    assert Window((5, 6), (3, 3), (2, 2), (0, 1, 0, 1)).out_hw == (2, 3)
    assert Window((7, 7), (3, 3), dilation=(3, 3)).out_hw == (1, 1)


@pytest.mark.rules("WIN-S3")
def test_the_first_output_in_the_padding_is_named():
    assert Window((2, 2), (1, 1), pad=(0, 1, 0, 1)).unmet() == (2, 0)
    assert Window((2, 2), (1, 1), pad=(0, 0, 0, 1)).unmet() == (0, 2)
    assert Window((2, 2), (2, 2), pad=(1, 1, 1, 1)).unmet() is None


@pytest.mark.rules("WIN-C1")
@pytest.mark.parametrize("name", ["in_hw", "kernel", "stride", "dilation"])
@pytest.mark.parametrize("value", [(0, 1), (1, -1), (1,), (1, 1, 1), (1.5, 1), 2, None, "ab"], ids=repr)
def test_sizes_are_pairs_of_positive_integers(name, value):
    sizes = {"in_hw": (4, 4), "kernel": (1, 1), name: value}
    with pytest.raises(ConstraintError, match=f"WIN-C1: {name} is"):
        Window(**sizes)


@pytest.mark.rules("WIN-C1")
def test_numpy_integers_and_lists_are_sizes():
    assert Window([np.int64(4), 4], (np.int32(3), 1)).out_hw == (2, 4)


@pytest.mark.rules("WIN-C2")
@pytest.mark.parametrize("pad", [(0, 0, 0), (1, 1), (0, 0, 0, -1), (0.5, 0, 0, 0), 1], ids=repr)
def test_padding_is_four_integers_none_negative(pad):
    with pytest.raises(ConstraintError, match="WIN-C2: pad is"):
        Window((4, 4), (1, 1), pad=pad)


@pytest.mark.rules("WIN-C3")
def test_a_kernel_that_does_not_fit_is_named_with_the_map():
    with pytest.raises(ConstraintError, match=r"WIN-C3: a kernel of \(3, 3\).*\(2, 9\).*\(0, 0, 0, 0\)"):
        Window((2, 9), (3, 3))
    with pytest.raises(ConstraintError, match=r"WIN-C3.*dilation \(1, 5\)"):
        Window((9, 9), (3, 3), dilation=(1, 5))


@pytest.mark.rules("WIN-C4")
@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"stride": (1, 2**31)}, "stride"),
        ({"dilation": (2**31, 1)}, "dilation"),
        ({"pad": (0, 0, 2**30, 2**30)}, "the padded map"),
        ({"in_hw": (2**31, 1)}, "the padded map"),
    ],
)
def test_sizes_fit_int32(change, named):
    with pytest.raises(ConstraintError, match=f"WIN-C4: {named} is"):
        Window(**{"in_hw": (4, 4), "kernel": (1, 1), **change})
