"""Other semantics against exact fractions, and what a kernel that follows one of them is told (specs/profiles.md)."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from goldgrad import GoldgradError, ops
from goldgrad.check.reports.terminal import verdict
from goldgrad.check.results import Subject
from goldgrad.check.session import check
from goldgrad.conformance import Case
from goldgrad.errors import ConstraintError
from goldgrad.profiles import PROFILES, functions_of

mark = pytest.mark
HERE = Path(__file__).parent / "kernels"
RANDOM = np.random.default_rng(7)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def layer(profile: str, acc: list[int], m: np.ndarray, zero: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Codes and flags for given accumulators: each is a bias, and the input is its zero point."""
    x, w = np.full((1, 1), 3, np.int8), np.ones((len(acc), 1), np.int8)
    run = functions_of(profile)["fully_connected.forward"]
    y, mask = run(x, w, np.array(acc, np.int32), m, x_zero=3, y_zero=zero, lo=-100, hi=90)
    return y[0], np.unpackbits(mask[0], count=len(acc), bitorder="little").astype(bool)


def accumulators(count: int = 400) -> tuple[list[int], np.ndarray]:
    """Many beside a half of their code, some anywhere."""
    m = np.float32(2.0) ** RANDOM.uniform(-20, -1, count).astype(np.float32)
    codes = RANDOM.integers(-130, 130, count) + 0.5
    near = np.rint(codes / m.astype(np.float64)) + RANDOM.integers(-2, 3, count)
    return [int(a) for a in near], m.astype(np.float32)


def half_up(x: Fraction) -> int:
    return math.floor(x + Fraction(1, 2))


def half_away(x: Fraction) -> int:
    return int(math.copysign(1, x)) * math.floor(abs(x) + Fraction(1, 2))


def multiplier(m: float) -> tuple[int, int]:
    """M and e: 31 bits of m, rounded where it has more."""
    f, e = math.frexp(m)
    return (half_up(Fraction(f) * 2**31), e) if e >= -31 else (0, 0)


def exact_double(acc: int, m: float) -> int:
    factor, e = multiplier(float(m))
    high = half_up(Fraction(acc) * 2 ** max(e, 0) * factor / 2**31)
    return half_away(Fraction(high, 2 ** max(-e, 0)))


def exact_single(acc: int, m: float) -> int:
    factor, e = multiplier(float(m))
    return half_up(Fraction(acc) * factor * Fraction(2) ** (e - 31))


def exact_truncated(acc: int, m: np.float32) -> int:
    return int(np.float32(acc) * m)


@pytest.mark.parametrize(
    ("profile", "exact"),
    [
        pytest.param("tte", exact_truncated, marks=mark.rules("PROF-S1")),
        pytest.param("tflite-double-rounding", exact_double, marks=mark.rules("PROF-S6", "PROF-S7")),
        pytest.param("tflite-single-rounding", exact_single, marks=mark.rules("PROF-S6", "PROF-S8")),
    ],
)
def test_a_layers_last_step(profile, exact):
    acc, m = accumulators()
    y, flags = layer(profile, acc, m, zero=-5)
    wanted = [exact(a, each) - 5 for a, each in zip(acc, m, strict=True)]
    assert y.tolist() == [min(max(code, -100), 90) for code in wanted]
    assert flags.tolist() == [-100 <= code <= 90 for code in wanted]


def test_the_profiles_differ_from_each_other_and_from_goldgrad():
    acc, m = accumulators()
    plain = ops.fully_connected.forward(
        np.full((1, 1), 3, np.int8),
        np.ones((len(acc), 1), np.int8),
        np.array(acc, np.int32),
        m,
        x_zero=3,
        y_zero=0,
        lo=-100,
        hi=90,
    )[0][0]
    found = {plain.tobytes(), *(layer(profile, acc, m)[0].tobytes() for profile in PROFILES)}
    assert len(found) == 4


@mark.rules("PROF-C1")
@pytest.mark.parametrize(("acc", "m"), [(2**30, 8.0), (1, 2.0**31)])
def test_where_fixed_point_is_not_defined(acc, m):
    with pytest.raises(ConstraintError, match="PROF-C1"):
        layer("tflite-double-rounding", [acc], np.array([m], np.float32))


@mark.rules("PROF-C4")
def test_where_truncation_is_not_defined():
    assert layer("tte", [2**30], np.array([1.5], np.float32))[0].tolist() == [90]
    with pytest.raises(ConstraintError, match="PROF-C4"):
        layer("tte", [-(2**30)], np.array([2.0], np.float32))


def test_a_multiplier_that_is_too_small_gives_the_zero_point():
    assert layer("tflite-double-rounding", [2**30], np.array([2.0**-40], np.float32), 7)[0].tolist() == [7]


def added(profile: str, x1: Any, x2: Any, m1: float, m2: float, zeros: tuple[int, int, int] = (0, 0, 0)) -> Any:
    """Codes and flags of a sum; a zero point each for x1, x2 and y."""
    operands = [np.array(x, np.int8).reshape(1, -1) for x in (x1, x2)]
    scales = [np.array([m], np.float32) for m in (m1, m2)]
    x1_zero, x2_zero, y_zero = zeros
    run = functions_of(profile)["add.forward"]
    y, mask = run(*operands, *scales, x1_zero=x1_zero, x2_zero=x2_zero, y_zero=y_zero, lo=-100, hi=90)
    return y[0].tolist(), np.unpackbits(mask[0], count=y.size, bitorder="little").astype(bool).tolist()


@pytest.mark.parametrize(
    ("profile", "zero", "codes"),
    [
        # 1.5, -1.5, 2.5, -2.5, 0.5 and what saturates; goldgrad has 2, -2, 2, -2, 0
        pytest.param("tte", 0, [2, -2, 3, -3, 1, 64], marks=mark.rules("PROF-S9")),
        # -2 lies inside the rounding: -0.5, -3.5, 0.5, -4.5, -1.5
        pytest.param("tte", -2, [-1, -4, 1, -5, -2, 62], marks=mark.rules("PROF-S9")),
        pytest.param("tflite-double-rounding", 0, [2, -2, 3, -3, 1, 64], marks=mark.rules("PROF-S11")),
        pytest.param("tflite-double-rounding", -2, [0, -4, 1, -5, -1, 62], marks=mark.rules("PROF-S11")),
        pytest.param("tflite-single-rounding", 0, [2, -1, 3, -2, 1, 64], marks=mark.rules("PROF-S11")),
    ],
)
def test_ties_of_a_sum_by_hand(profile, zero, codes):
    x1, x2 = [3, -3, 5, -5, 1, 127], [0] * 6
    assert added(profile, x1, x2, 0.5, 0.5, (0, 0, zero)) == (codes, [True] * 6)
    assert added(profile, x2, x1, 0.25, 0.5, (0, 0, zero))[0] == codes


def test_the_range_of_a_sum():
    for profile in PROFILES:
        assert added(profile, [127, 91, 90, -100, -101], [0] * 5, 1.0, 1.0) == (
            [90, 90, 90, -100, -100],
            [False, False, True, True, False],
        )


def test_the_operands_of_a_sum_in_fixed_point_by_hand():
    """By hand: 3 / 14 is M = 1840700270, e = -2; a half is M = 2^30, e = 0."""
    # r_1: 2^20 M / 2^31 = 898779.43, so 898779, a quarter of it 224694.75, so 224695; r_2: 2^19
    # their sum, 748983, times 14 / 2^20 is 10.000002
    assert added("tflite-double-rounding", [1], [1], 3.0, 7.0)[0] == [10]
    assert added("tflite-single-rounding", [1], [1], 3.0, 7.0)[0] == [10]


@pytest.mark.parametrize(
    ("profile", "exact"),
    [
        pytest.param("tflite-double-rounding", exact_double, marks=mark.rules("PROF-S6", "PROF-S7", "PROF-S11")),
        pytest.param("tflite-single-rounding", exact_single, marks=mark.rules("PROF-S6", "PROF-S8", "PROF-S11")),
    ],
)
def test_a_sum_in_fixed_point(profile, exact):
    count = 300
    for m1, m2 in np.exp2(RANDOM.uniform(-9, 1, (8, 2))).astype(np.float32).tolist():
        x1, x2 = RANDOM.integers(-128, 128, (2, count)).tolist()
        twice = 2 * max(m1, m2)
        wanted = []
        for a, b in zip(x1, x2, strict=True):
            total = exact((a - 7) << 20, m1 / twice) + exact((b + 9) << 20, m2 / twice)
            wanted.append(exact(total, twice / 2**20) + 3)
        codes, flags = added(profile, x1, x2, m1, m2, (7, -9, 3))
        assert codes == [min(max(code, -100), 90) for code in wanted]
        assert flags == [-100 <= code <= 90 for code in wanted]


@mark.rules("PROF-S9")
def test_a_sum_in_float32_rounds_both_products():
    """1 ulp more than a half, lost when the first product is rounded as well: 0.5 becomes 1, not 0."""
    third = float(np.float32(1 / 3))
    x1, x2 = RANDOM.integers(-128, 128, (2, 300)).tolist()
    wanted = []
    for a, b in zip(x1, x2, strict=True):
        products = np.float32(a - 7) * np.float32(third), np.float32(b + 9) * np.float32(1 / 6)
        wanted.append(half_away(Fraction(float(products[0] + products[1] + np.float32(3)))))
    assert added("tte", x1, x2, third, float(np.float32(1 / 6)), (7, -9, 3))[0] == [
        min(max(code, -100), 90) for code in wanted
    ]


@mark.rules("PROF-S9")
def test_a_sum_in_float32_that_is_no_number():
    top = float(np.finfo(np.float32).max)
    assert added("tte", [2, -2, 2], [0, 0, -2], top, top, (0, 0, 5)) == ([90, -100, 0], [False, False, True])


@mark.rules("PROF-C3")
@pytest.mark.parametrize(("m1", "m2"), [(2.0**19, 1.0), (1.0, 2.0**30), (0.0, 0.0)])
def test_where_tflites_sum_is_not_defined(m1, m2):
    with pytest.raises(ConstraintError, match=f"PROF-C3.*{re.escape(str(np.float32(m1)))}"):
        added("tflite-double-rounding", [1], [1], m1, m2)


@mark.rules("PROF-S10")
@pytest.mark.parametrize("profile", PROFILES)
def test_means_of_raw_codes(profile):
    x = np.array([[1, 2, -1, -2, 1, 1], [0, 3, 0, -3, 127, -128]], np.int8).reshape(1, 2, 6, 1)
    run = functions_of(profile)["avg_pool2d.forward"]
    options = {"x_zero": 9, "y_zero": -9, "lo": -2, "hi": 60}
    m = np.array([3.0], np.float32)
    y, mask = run(x, m, kernel=(1, 2), stride=(1, 2), **options)
    # 1.5, -1.5, 1 and 1.5, -1.5, -0.5
    assert y[0, :, :, 0].tolist() == [[2, -2, 1], [2, -2, -1]]
    assert mask.tolist() == [[[[1]] * 3] * 2]
    y, mask = run(x, m, kernel=(1, 3), stride=(1, 5), pad=(0, 0, 1, 1), **options)
    # of two pixels each, where the third lies in the padding: 1.5 and 1, 1.5 and -0.5
    assert y[0, :, :, 0].tolist() == [[2, 1], [2, -1]]
    y, mask = run(x, m, kernel=(2, 1), stride=(1, 1), **options)
    # 0.5, 2.5, -0.5, -2.5, 64, -63.5
    assert y[0, 0, :, 0].tolist() == [1, 3, -1, -2, 60, -2]
    assert mask[0, 0, :, 0].tolist() == [1, 1, 1, 0, 0, 0]
    y, _ = run(x, m, kernel=(2, 3), stride=(1, 3), **options)
    # five sixths, and -5 / 6
    assert y[0, 0, :, 0].tolist() == [1, -1]


def test_maxima_are_goldgrads():
    x = np.array([[5, 5, 7], [-9, 100, -9]], np.int8).reshape(1, 2, 3, 1)
    y, mask, _ = ops.max_pool2d.forward(x, kernel=(2, 2), stride=(1, 1), lo=-3, hi=90)
    assert (y[0, 0, :, 0].tolist(), mask[0, 0, :, 0].tolist()) == ([90, 90], [0, 0])
    assert all("max_pool2d.forward" not in functions_of(profile) for profile in PROFILES)


@mark.rules("PROF-S2")
def test_the_gradient_of_a_weight_is_of_raw_codes():
    g, x = np.array([[2.0]], np.float32), np.array([[5]], np.int8)
    assert functions_of("tte")["fully_connected.vjp_w"](g, x, x_zero=3).tolist() == [[10.0]]


@mark.rules("PROF-S3")
@pytest.mark.parametrize(
    ("w", "change", "code"), [(126, -3.0, -127), (-127, 3.0, 126), (5, 1.9, 3), (-5, -1.9, -3), (0, 0.9, 0)]
)
def test_weights_truncate_and_wrap(w, change, code):
    one = np.ones(1, np.float32)
    update = functions_of("tte")["sgd_update_weight.update"]
    assert update(np.array([[w]], np.int8), np.array([[change]], np.float32), one, one).tolist() == [[code]]
    hwc = update(
        np.full((1, 1, 2), w, np.int8),
        np.full((1, 1, 1), change, np.float32),
        np.ones(2, np.float32),
        one,
        np.array([1], np.int32),
    )
    assert hwc.tolist() == [[[w, code]]]


@mark.rules("PROF-C2")
@pytest.mark.parametrize("function", ["sgd_update_weight.update", "sgd_update_bias.update"])
def test_gradients_are_finite(function):
    one, nan = np.ones(1, np.float32), np.array([np.nan], np.float32)
    if function == "sgd_update_bias.update":
        operands = (np.array([1], np.int32), nan, one, np.array([5], np.int32), one)
    else:
        operands = (np.array([[1]], np.int8), nan.reshape(1, 1), one, one)
    with pytest.raises(ConstraintError, match="PROF-C2"):
        functions_of("tte")[function](*operands)


@mark.rules("PROF-S4")
@pytest.mark.parametrize(("b", "change", "after"), [(10, 1.9, 9), (10, -1.9, 11), (2**31 - 1, -1.0, -(2**31))])
def test_biases_truncate_and_wrap(b, change, after):
    one = np.ones(1, np.float32)
    update = functions_of("tte")["sgd_update_bias.update"]
    limit = np.array([5], np.int32)
    assert update(np.array([b], np.int32), np.array([change], np.float32), one, limit, one).tolist() == [after]


@mark.rules("PROF-S5")
def test_codes_are_logits():
    q, target, s = np.array([[1, 5, 3]], np.int8), np.array([0], np.int32), np.array([0.25], np.float32)
    loss, dq = functions_of("tte")["softmax_cross_entropy.forward"](q, target, s)
    e = np.exp(np.array([-4.0, 0.0, -2.0]))
    assert np.allclose(loss, np.log(e.sum()) + 4, rtol=1e-6)
    assert np.allclose(dq, e / e.sum() - [1, 0, 0], rtol=1e-6)


def test_semantics_that_there_are_not():
    with pytest.raises(GoldgradError, match="there are no semantics 'tflite'"):
        functions_of("tflite")


# What a kernel is told


@pytest.mark.parametrize(
    ("rounding", "name"),
    [("DOUBLE", "tflite-double-rounding"), ("SINGLE", "tflite-single-rounding"), ("TRUNCATE", "tte")],
)
def test_a_kernel_of_another_semantics_is_told_which(rounding, name):
    subject = Subject(f"c:{HERE / 'rescale.c'}", flags=(f"-DROUNDING={rounding}",))
    report = check(subject, ["fully_connected.forward"], jobs=1, examples=120)
    assert not report.conforms
    assert report.conforms_to == [name]
    text = "\n".join(verdict(report))
    assert f"{name}[/yellow]: that is what the functions with other bits compute, not goldgrad" in text
    assert "first difference from goldgrad: fully_connected.forward, not the reference's bits; " in text
    own = Subject(subject.provider, flags=subject.flags, semantics=name)
    again = check(own, ["fully_connected.forward"], jobs=1, examples=60)
    assert again.conforms, [str(finding.headline) for finding in again.findings]
    assert "adjoint" not in {result.property for result in again.results}


def test_a_kernel_of_no_known_semantics_is_told_nothing():
    report = check(
        Subject(f"c:{HERE / 'rescale.c'}", flags=("-DROUNDING=UP",)), ["fully_connected.forward"], jobs=1, examples=40
    )
    assert report.findings
    assert report.conforms_to == []


def test_goldgrad_itself_is_told_from_a_variant():
    report = check(Subject("c", semantics="tte"), ["sgd_update_bias"], jobs=1, examples=20)
    assert report.conforms_to == ["goldgrad"]
    assert Case.parse(report.findings[0].case)
