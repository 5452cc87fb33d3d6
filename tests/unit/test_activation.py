"""specs/ops/activation.md"""

import math
from fractions import Fraction

import numpy as np
import pytest

from goldgrad import ConstraintError
from goldgrad.ops.activation import clamp_range, output_range


@pytest.mark.rules("ACT-S2")
@pytest.mark.parametrize(
    ("kind", "scale", "zero_point", "expected"),
    [
        ("none", 0.1, 5, (-128, 127)),
        ("relu", 0.1, 5, (5, 127)),
        ("relu", 1e-300, -128, (-128, 127)),
        ("relu6", 0.05, -128, (-128, -8)),
        ("relu6", 0.01, -128, (-128, 127)),  # 600 codes: the range of int8 ends first
        ("relu6", 100.0, 3, (3, 3)),
        ("relu6", 12.0, 3, (3, 3)),  # 6 / 12 is a tie: to even
        ("relu6", 4.0, 3, (3, 5)),  # 6 / 4 too
    ],
)
def test_named_ranges(kind, scale, zero_point, expected):
    assert output_range(kind, scale, zero_point) == expected


@pytest.mark.rules("ACT-S1")
def test_the_quotient_is_rounded_once():
    seen = False
    for code in range(1, 200):
        scale = 6 / (code + 0.5)  # in float64: the exact quotient is beside the half, mostly
        quotient = Fraction(6) / Fraction(scale)
        whole = math.floor(quotient)
        above = quotient - whole
        once = whole + (above > Fraction(1, 2) or (above == Fraction(1, 2) and whole % 2 == 1))
        assert output_range("relu6", scale, -128)[1] == min(once - 128, 127)
        seen |= once != round(6 / scale)
    assert seen  # a quotient in float64 would give another code


@pytest.mark.rules("ACT-S1")
def test_a_clamp_to_any_values():
    assert clamp_range(-1.0, 1.0, 0.25, 10) == (6, 14)
    assert clamp_range(-math.inf, 1.0, 0.25, 0) == (-128, 4)
    assert clamp_range(1000.0, 2000.0, 0.25, 0) == (127, 127)
    assert clamp_range(-1, 1, np.float32(0.5), 0) == (-2, 2)


@pytest.mark.rules("ACT-C1")
def test_an_unknown_kind_is_refused():
    with pytest.raises(ConstraintError, match="ACT-C1: the activation is 'gelu'; give one of none, relu, relu6"):
        output_range("gelu", 0.1, 0)


@pytest.mark.rules("ACT-C2")
@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan])
def test_a_scale_that_is_not_positive_and_finite_is_refused(scale):
    with pytest.raises(ConstraintError, match="ACT-C2: scale is"):
        output_range("relu", scale, 0)


@pytest.mark.rules("ACT-C3")
@pytest.mark.parametrize("zero_point", [-129, 128])
def test_a_zero_point_out_of_range_is_refused(zero_point):
    with pytest.raises(ConstraintError, match=f"ACT-C3: zero_point is {zero_point}"):
        output_range("relu", 0.1, zero_point)


@pytest.mark.rules("ACT-C4")
@pytest.mark.parametrize(
    ("least", "most"), [(1.0, 0.0), (math.nan, 1.0), (0.0, math.nan), (math.inf, math.inf), (-math.inf, -math.inf)]
)
def test_bounds_that_enclose_nothing_are_refused(least, most):
    with pytest.raises(ConstraintError, match="ACT-C4: the clamp is to"):
        clamp_range(least, most, 0.1, 0)
