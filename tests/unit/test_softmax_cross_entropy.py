"""specs/ops/softmax_cross_entropy.md"""

from dataclasses import dataclass

import mpmath
import numpy as np
import pytest

import c_kernels
import exact
from goldgrad import ConstraintError, kernels, ops
from goldgrad.numerics import exp32, log32, same_bits
from goldgrad.ops import Type
from goldgrad.ops import softmax_cross_entropy as sce

SHAPES = [(1, 1), (3, 1), (2, 2), (1, 3), (5, 10), (1, 37), (1, 1000)]
SCALES = [0.0123, 0.25, 1.0, 3.7, 1e-30, 1e30, 3e38]
"""From a uniform softmax to a maximum; 255 times the last one is an infinity."""


def logits(rng, n, c):
    """Rows of random codes, of equal ones, and of both extremes."""
    q = exact.codes(rng, n, c)
    if n > 1:
        q[0] = rng.integers(-128, 128)
        q[1] = np.where(np.arange(c) % 2, 127, -128)
    return q


def probabilities(rng, n, c):
    """Rows that sum to 1 as float32 allows; the first is a class."""
    weights = rng.random((n, c)) ** 4
    target = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    target[0] = np.arange(c) == rng.integers(c)
    return target


def scalar(q, target, s, of_class):
    """loss and dq of one sample, a scalar at a time, from the text of the rules."""
    most = max(int(code) for code in q)
    d = [exact.mul(np.float32(int(code) - most), s) for code in q]
    e = [exp32(np.float32([x]))[0] for x in d]
    total = np.float32(0)
    for x in e:
        total = exact.fma(x, np.float32(1), total)
    log_total = log32(np.float32([total]))[0]
    with np.errstate(all="ignore"):
        if of_class:
            loss = log_total - d[target]
            target = np.float32(np.arange(len(q)) == target)
        else:
            loss = np.float32(0)
            for t, x in zip(target, d, strict=True):
                loss = exact.fma(t, log_total - x, loss)
        dq = [exact.mul(np.float32(x / total) - t, s) for x, t in zip(e, target, strict=True)]
    return loss, np.float32(dq)


@pytest.mark.rules("SCE-S1", "SCE-S2", "SCE-S3", "SCE-S5", "SCE-S6", "SCE-F1")
@pytest.mark.parametrize(("n", "c"), SHAPES)
@pytest.mark.parametrize("scale", SCALES)
def test_classes_agree_with_c_and_a_scalar_loop(n, c, scale):
    rng = np.random.default_rng((n, c))
    q, s = logits(rng, n, c), np.float32([scale])
    target = rng.integers(c, size=n).astype(np.int32)
    loss, dq = c_kernels.check("softmax_cross_entropy.forward", q, target, s)
    for sample in range(n):
        loss_n, dq_n = scalar(q[sample], int(target[sample]), s[0], of_class=True)
        assert same_bits(loss[sample : sample + 1], np.float32([loss_n])).all()
        assert same_bits(dq[sample], dq_n).all()


@pytest.mark.rules("SCE-S1", "SCE-S2", "SCE-S4", "SCE-S5", "SCE-S6", "SCE-F1")
@pytest.mark.parametrize(("n", "c"), SHAPES)
@pytest.mark.parametrize("scale", SCALES)
def test_probabilities_agree_with_c_and_a_scalar_loop(n, c, scale):
    rng = np.random.default_rng((n, c))
    q, s, target = logits(rng, n, c), np.float32([scale]), probabilities(rng, n, c)
    loss, dq = c_kernels.check("softmax_cross_entropy.from_probabilities", q, target, s)
    for sample in range(n):
        loss_n, dq_n = scalar(q[sample], target[sample], s[0], of_class=False)
        assert same_bits(loss[sample : sample + 1], np.float32([loss_n])).all()
        assert same_bits(dq[sample], dq_n).all()


@dataclass
class Sample:
    """loss and dq of one sample in 60 digits, and how far SCE-N1 lets float32 be from them."""

    loss: mpmath.mpf
    loss_error: mpmath.mpf
    dq: list[mpmath.mpf]
    dq_error: list[mpmath.mpf]


EXP_ULPS = LOG_ULPS = 0.9
"""The bounds of NUM-N10 and NUM-N11."""


def in_60_digits(q, target, s) -> Sample:
    """The loss of the probabilities ``target``, which may be a class, and the bounds of SCE-N1."""
    with mpmath.workdps(60):
        u, least = mpmath.mpf(2) ** -24, mpmath.mpf(2) ** -149
        scale, most = mpmath.mpf(float(s)), max(int(code) for code in q)
        d = [(int(code) - most) * scale for code in q]
        t = [mpmath.mpf(float(x)) for x in target]
        e = [mpmath.exp(x) for x in d]
        total = mpmath.fsum(e)
        log_total, p = mpmath.log(total), [x / total for x in e]
        cross = [log_total - x for x in d]
        loss = mpmath.fdot(t, cross)
        a = [(abs(x) + 2 * EXP_ULPS) * u for x in d]
        a_sum = mpmath.fdot(p, a) + (len(q) - 1) * u + len(q) * (EXP_ULPS + 1) * least
        l_error = a_sum + 2 * LOG_ULPS * u * log_total
        if max(t) == 1:
            loss_error = l_error + u * (abs(d[t.index(1)]) + loss)
        else:
            loss_error = mpmath.fdot(t, [l_error + u * (abs(x) + y) for x, y in zip(d, cross, strict=True)])
            loss_error += len(q) * u * loss
        dq = [scale * (x - y) for x, y in zip(p, t, strict=True)]
        dq_error = [
            scale * (p_i * (a_i + a_sum + u) + 2 * u * abs(p_i - t_i) + (EXP_ULPS + 1) * least) + least
            for p_i, a_i, t_i in zip(p, a, t, strict=True)
        ]
        return Sample(loss, loss_error, dq, dq_error)


@pytest.mark.rules("SCE-N1", "SCE-S3", "SCE-S4", "SCE-S5")
@pytest.mark.parametrize(("n", "c"), SHAPES)
@pytest.mark.parametrize("scale", SCALES[:-1])
def test_loss_and_gradient_lie_within_the_stated_error(n, c, scale):
    rng = np.random.default_rng((n, c))
    q, s, target = logits(rng, n, c), np.float32([scale]), probabilities(rng, n, c)
    classes = rng.integers(c, size=n).astype(np.int32)
    results = (
        (sce.from_probabilities(q, target, s), target),
        (sce.forward(q, classes, s), np.float32(np.arange(c) == classes[:, None])),
    )
    slack = 1 + 2.0**-10  # what is of second order in u
    for (loss, dq), t in results:
        for sample in range(n):
            true = in_60_digits(q[sample], t[sample], s[0])
            assert abs(mpmath.mpf(float(loss[sample])) - true.loss) <= slack * true.loss_error
            for i in range(c):
                assert abs(mpmath.mpf(float(dq[sample, i])) - true.dq[i]) <= slack * true.dq_error[i]


@pytest.mark.rules("SCE-S5")
@pytest.mark.parametrize(("n", "c"), SHAPES)
def test_the_gradient_adds_up_to_0(n, c):
    rng = np.random.default_rng((n, c))
    q, s = logits(rng, n, c), np.float32([0.11])
    _, dq = sce.forward(q, rng.integers(c, size=n).astype(np.int32), s)
    for row in dq.astype(np.float64).tolist():
        assert abs(sum(row)) <= float(s[0]) * (2 * c + 2) * 2.0**-24


@pytest.mark.rules("SCE-S1")
def test_the_scale_matters_and_the_zero_point_cancels():
    q = np.int8([[10, 0]])
    (loss, dq), (other, _) = (sce.forward(q, np.int32([1]), np.float32([s])) for s in (0.1, 1.0))
    assert loss[0] == pytest.approx(np.log(1 + np.e), rel=1e-6)
    assert other[0] > 10
    shifted = sce.forward(q - np.int8(100), np.int32([1]), np.float32([0.1]))
    assert same_bits(loss, shifted[0]).all()
    assert same_bits(dq, shifted[1]).all()


@pytest.mark.rules("SCE-S2", "SCE-S3", "SCE-S5")
def test_one_class_costs_nothing_and_two_equal_ones_a_bit_of_information():
    one = sce.forward(np.int8([[-128]]), np.int32([0]), np.float32([7.0]))
    assert [x.tolist() for x in one] == [[0.0], [[0.0]]]
    loss, dq = sce.forward(np.int8([[5, 5]]), np.int32([0]), np.float32([0.5]))
    assert loss.tolist() == [float(np.float32(np.log(2)))]
    assert dq.tolist() == [[-0.25, 0.25]]


@pytest.mark.rules("SCE-S1", "SCE-S2", "SCE-S3")
def test_extreme_logits_neither_overflow_nor_divide_by_0():
    q = np.int8([[127, -128, -128]])
    loss, dq = sce.forward(q, np.int32([1]), np.float32([1000.0]))
    assert loss.tolist() == [255000.0]
    assert dq.tolist() == [[1000.0, -1000.0, 0.0]]


@pytest.mark.rules("SCE-S4")
def test_a_probability_of_1_is_nearly_the_class():
    q, s = np.int8([[3, -7, 20]]), np.float32([0.3])
    by_class = sce.forward(q, np.int32([1]), s)
    by_probability = sce.from_probabilities(q, np.float32([[0, 1, 0]]), s)
    assert same_bits(by_class[0], by_probability[0]).all()
    assert same_bits(by_class[1], by_probability[1]).all()


@pytest.mark.rules("SCE-S4")
def test_the_entropy_of_the_target_is_not_subtracted():
    loss, dq = sce.from_probabilities(np.int8([[9, 9]]), np.float32([[0.5, 0.5]]), np.float32([2.0]))
    assert loss.tolist() == [float(np.float32(np.log(2)))]
    assert dq.tolist() == [[0.0, 0.0]]


@pytest.mark.rules("SCE-S6")
def test_a_batch_is_its_samples_side_by_side():
    rng = np.random.default_rng(0)
    q, s, target = logits(rng, 4, 10), np.float32([0.07]), rng.integers(10, size=4).astype(np.int32)
    for namespace in ops, kernels:
        loss, dq = namespace.softmax_cross_entropy.forward(q, target, s)
        for n in range(4):
            alone = namespace.softmax_cross_entropy.forward(q[n : n + 1], target[n : n + 1], s)
            assert same_bits(loss[n : n + 1], alone[0]).all()
            assert same_bits(dq[n : n + 1], alone[1]).all()


@pytest.mark.rules("SCE-F1")
def test_c_without_a_loss():
    rng = np.random.default_rng(0)
    q, s, classes = logits(rng, 2, 9), np.float32([0.07]), np.int32([3, 8])
    for function, target in ("forward", classes), ("from_probabilities", probabilities(rng, 2, 9)):
        name = f"softmax_cross_entropy.{function}"
        dq = np.empty((2, 9), np.float32)
        kernels.call(name, (q, target, s), (None, dq))
        assert same_bits(dq, ops.FUNCTIONS[name](q, target, s)[1]).all()


@pytest.mark.rules("SCE-A1")
def test_nothing_is_shared():
    assert c_kernels.pairs("softmax_cross_entropy.forward") == set()
    assert c_kernels.pairs("softmax_cross_entropy.from_probabilities") == set()


Q, S, CLASSES, PROBABILITIES = Type((2, 3), "int8"), Type((1,), "float32"), Type((2,), "int32"), Type((2, 3), "float32")


@pytest.mark.rules("SCE-C1")
@pytest.mark.parametrize("q", [Type((2, 3), "float32"), Type((3,), "int8"), Type((2, 0), "int8"), Type((0, 3), "int8")])
def test_logits_of_a_wrong_type_are_refused(q):
    with pytest.raises(ConstraintError, match="SCE-C1: q is "):
        sce.types(q, CLASSES, S)
    with pytest.raises(ConstraintError, match="SCE-C1: q is "):
        sce.types_from_probabilities(q, PROBABILITIES, S)


@pytest.mark.rules("SCE-C2")
@pytest.mark.parametrize("s", [Type((), "float32"), Type((3,), "float32"), Type((1,), "float64")])
def test_a_scale_of_a_wrong_type_is_refused(s):
    with pytest.raises(ConstraintError, match="SCE-C2: s is "):
        sce.types(Q, CLASSES, s)
    with pytest.raises(ConstraintError, match="SCE-C2: s is "):
        sce.types_from_probabilities(Q, PROBABILITIES, s)


@pytest.mark.rules("SCE-C3")
def test_a_target_of_a_wrong_type_is_refused():
    for target in Type((2,), "int64"), Type((3,), "int32"), PROBABILITIES:
        with pytest.raises(ConstraintError, match=r"SCE-C3: target is .*int32\[2\]"):
            sce.types(Q, target, S)
    for target in CLASSES, Type((2, 2), "float32"), Type((2, 3), "float64"):
        with pytest.raises(ConstraintError, match=r"SCE-C3: target is .*float32\[2, 3\]"):
            sce.types_from_probabilities(Q, target, S)


@pytest.mark.rules("SCE-C4")
@pytest.mark.parametrize("wrong", [-1, 3])
@pytest.mark.parametrize("namespace", [ops, kernels])
def test_a_class_that_does_not_exist_is_refused(namespace, wrong):
    with pytest.raises(ConstraintError, match=f"SCE-C4: sample 1 is of class {wrong}; .*from 0 to 2"):
        namespace.softmax_cross_entropy.forward(np.zeros((2, 3), np.int8), np.int32([0, wrong]), np.float32([0.1]))


@pytest.mark.rules("SCE-C5")
@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ([0.5, 0.75, -0.25], "sample 1 has a probability that is negative or not finite"),
        ([0.5, 0.5, np.nan], "sample 1 has a probability that is negative or not finite"),
        ([np.inf, 0.0, 0.0], "sample 1 has a probability that is negative or not finite"),
        ([0.5, 0.5, 2.0**-21], "the probabilities of sample 1 add up to 1.0000004"),
        ([0.5, 0.25, 0.0], "the probabilities of sample 1 add up to 0.75"),
    ],
)
@pytest.mark.parametrize("namespace", [ops, kernels])
def test_what_is_no_distribution_is_refused(namespace, row, fault):
    target = np.float32([[1, 0, 0], row])
    with pytest.raises(ConstraintError, match=f"SCE-C5: {fault}"):
        namespace.softmax_cross_entropy.from_probabilities(np.zeros((2, 3), np.int8), target, np.float32([0.1]))


@pytest.mark.rules("SCE-C5")
def test_rounded_probabilities_are_accepted():
    target = np.float32([[0.5, 0.5, 3 * 2.0**-23]])
    sce.from_probabilities(np.zeros((1, 3), np.int8), target, np.float32([0.1]))
