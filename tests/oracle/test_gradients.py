"""A second opinion on every gradient: PyTorch's, in float64, of the function that the codes stand for.

The function is y = clamp(round(acc * m) + y_zero, lo, hi) with the accumulator in real numbers; rounding lets the
gradient through as if it were not there, the clamp where it does nothing.  Expected values come from PyTorch alone;
goldgrad gives the cases and the gradients under test.  Each element may be off by what its own float32 roundings can
do: as many as it has terms, and a few for mask and scale, times 2^-24 of the sum of the magnitudes of its terms.

An element whose rounding decides on which side of a clamp it falls, and is that close that float32 may round it the
other way, gets no gradient.
"""

from __future__ import annotations

import zlib
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (it is the extra 'oracle'): run `make oracle`")

from hypothesis import Phase, given, settings  # noqa: E402
from torch.nn import functional  # noqa: E402

import goldgrad as gg  # noqa: E402
import goldgrad.conformance.cases  # noqa: E402  (fills CASES)
from goldgrad.conformance import Case  # noqa: E402
from goldgrad.conformance.strategies import CASES, Draw, Flavour  # noqa: E402
from goldgrad.conformance.strategies import cases as drawn_by  # noqa: E402
from goldgrad.ops._split_weight import merge  # noqa: E402

torch.set_num_threads(1)
U = 2.0**-24
SUBNORMAL = 2.0**-149
EXAMPLES = settings(max_examples=max(60, settings().max_examples))


def forward(function):
    """Cases of a forward function with a gradient of its y: ``case.extra["gy"]``."""

    def drawn(d: Draw) -> Case:
        case = CASES[function](d)
        return case.also(gy=d.floats(case.types[0].shape))

    return drawn_by(drawn, Flavour.REAL)


def real(array, wanted=True):
    """An array as a float64 tensor; ``wanted`` if a gradient with respect to it is."""
    return torch.tensor(np.asarray(array, np.float64), requires_grad=wanted)


class Output:
    """y from what comes before rounding, and the gradient that may be asked of it."""

    def __init__(self, value, size, case):
        """``size`` is the sum of the magnitudes that ``value`` was rounded from."""
        a = case.attributes
        y_zero, lo, hi = a.get("y_zero", 0), a["lo"], a["hi"]
        rounded = value + (torch.round(value) - value).detach()
        self.y = torch.clamp(rounded + y_zero, lo, hi)
        near = 2.0**-20 * (size.detach() + 1)
        close = sum(((value + y_zero - edge).abs() <= near).to(torch.float64) for edge in (lo - 0.5, hi + 0.5)) > 0
        self.gy = np.where(close.numpy(), np.float32(0), case.extra["gy"])

    def gradients(self, *tensors):
        return torch.autograd.grad(self.y, tensors, real(self.gy, False), retain_graph=True)


def close(name, actual, expected, magnitude, terms, slack=3):
    """Every element is as close to the expected one as its own roundings allow."""
    expected, magnitude, terms = (t.detach().numpy() for t in (expected, magnitude, terms))
    n = terms + slack
    bound = n * U / (1 - n * U) * magnitude * (1 + 2.0**-20) + n * SUBNORMAL
    error = np.abs(actual.astype(np.float64) - expected)
    worst = np.unravel_index(np.argmax(error - bound), error.shape)
    assert np.all(error <= bound), (
        f"{name}{list(map(int, worst))} is {actual[worst]!r}, PyTorch says {expected[worst]!r}: "
        f"off by {error[worst]:.3g}, which {int(n[worst])} roundings cannot explain ({bound[worst]:.3g})"
    )


def judge(name, actual, expected, output, variable, g, start=None):
    """Compare a gradient that is the transpose of a linear map, applied to g.

    ``output(variable)`` is the map made of the magnitudes of its factors, or of ones if ``count``.
    """
    (magnitude,) = torch.autograd.grad(output(variable, False), variable, g.abs())
    (terms,) = torch.autograd.grad(output(variable, True), variable, torch.ones_like(g))
    if start is not None:
        expected, magnitude = expected + real(start, False), magnitude + real(start, False).abs()
    close(name, actual, expected, magnitude, terms)


def generator(array):
    """Random numbers that depend on the array alone, so that a case repeats them."""
    return np.random.default_rng(zlib.crc32(array.tobytes()))


def some(shape, like):
    """Where a chain starts: normally distributed."""
    return generator(like).normal(size=shape).astype(np.float32)


def spread(weight, count):
    """The magnitudes of factors, or ones."""
    return torch.ones_like(weight) if count else weight.detach().abs()


# Convolutions


def convolve(x, w, case, groups=1):
    """x [N, H, W, C] by w [O, KH, KW, I] to [N, OH, OW, O]."""
    a = case.attributes
    top, bottom, left, right = a["pad"]
    x = functional.pad(x.permute(0, 3, 1, 2), (left, right, top, bottom))
    y = functional.conv2d(x, w.permute(0, 3, 1, 2), stride=a["stride"], dilation=a["dilation"], groups=groups)
    return y.permute(0, 2, 3, 1)


def dense(x, w, case):
    return convolve(x, w, case)


def depthwise(x, w, case):
    return convolve(x, w.permute(2, 0, 1)[..., None], case, groups=w.shape[2])


def connected(x, w, case):
    return functional.linear(x, w)


def window_of(case):
    return {name: case.attributes[name] for name in ("stride", "pad", "dilation") if name in case.attributes}


def check_layer(case, product, op, in_hw=None, kernel=None):
    """dx, dw and db of a layer with weights, through its mask and scale, from a start and from none."""
    x8, whole8, b32, m32, *parts = case.arrays
    w8 = merge(whole8, *parts)
    x_zero = case.attributes["x_zero"]
    x, w, b, m = real(x8), real(w8), real(b32), real(m32, False)
    acc = product(x - x_zero, w, case) + b
    value = acc * m
    out = Output(value, (product((x - x_zero).abs(), w.abs(), case) + b.abs()) * m, case)
    dx, dw, db, g = out.gradients(x, w, b, acc)

    _, mask = op.forward(*case.arrays, **case.attributes)
    g32 = gg.ops.mask_scale.forward(out.gy, mask, m32)
    close("g", g32, g, g.abs(), torch.ones_like(g), slack=0)

    x_arguments = {} if in_hw is None else {"in_hw": in_hw}
    w_arguments = {} if kernel is None else {"kernel": kernel}
    for start in (None, some(x8.shape, out.gy)):
        dx32 = op.vjp_x(g32, whole8, start, *parts, **x_arguments, **window_of(case))
        judge("dx", dx32, dx, lambda v, count: product(v, spread(w, count), case), x, g, start)
    for start in (None, some(w8.shape, out.gy)):
        dw32 = op.vjp_w(g32, x8, start, x_zero=x_zero, **w_arguments, **window_of(case))
        judge("dw", dw32, dw, lambda v, count: product(spread(x - x_zero, count), v, case), w, g, start)
    for start in (None, some(b32.shape, out.gy)):
        db32 = op.vjp_b(g32, start)
        judge("db", db32, db, lambda v, count: v.expand(g.shape), b, g, start)


@pytest.mark.rules(
    "CONV-S3", "CONV-S4", "CONV-S5", "CONV-S7", "BIAS-S1", "SCALE-S1", "SCALE-S2", "TRAIN-S1", "TRAIN-S3"
)
@EXAMPLES
@given(forward("conv2d.forward"))
def test_conv2d(case):
    x, w, *_ = case.arrays
    check_layer(case, dense, gg.ops.conv2d, in_hw=x.shape[1:3], kernel=w.shape[1:3])


@pytest.mark.rules("DW-S3", "DW-S4", "DW-S5", "DW-S7", "BIAS-S1", "SCALE-S1", "SCALE-S2")
@EXAMPLES
@given(forward("depthwise_conv2d.forward"))
def test_depthwise_conv2d(case):
    x, w, *_ = case.arrays
    check_layer(case, depthwise, gg.ops.depthwise_conv2d, in_hw=x.shape[1:3], kernel=w.shape[:2])


@pytest.mark.rules("FC-S3", "FC-S4", "FC-S5", "FC-S7", "BIAS-S1", "SCALE-S1", "SCALE-S2")
@EXAMPLES
@given(forward("fully_connected.forward"))
def test_fully_connected(case):
    check_layer(case, connected, gg.ops.fully_connected)


# Sums and pools


@pytest.mark.rules("ADD-S3", "ADD-S4")
@EXAMPLES
@given(forward("add.forward"))
def test_add(case):
    x1, x2, m1, m2 = (real(array) for array in case.arrays)
    left, right = m1 * (x1 - case.attributes["x1_zero"]), m2 * (x2 - case.attributes["x2_zero"])
    out = Output(left + right, left.abs() + right.abs(), case)
    _, mask = gg.ops.add.forward(*case.arrays, **case.attributes)
    for expected, m in zip(out.gradients(x1, x2), case.arrays[2:], strict=True):
        for start in (None, some(x1.shape, out.gy)):
            dx = gg.ops.add.vjp_x(out.gy, mask, m, start)
            begun = torch.zeros_like(expected) if start is None else real(start, False)
            close("dx", dx, expected + begun, expected.abs() + begun.abs(), torch.ones_like(expected), slack=1)


@pytest.mark.rules("AVGP-S2", "AVGP-S4", "AVGP-S5")
@EXAMPLES
@given(forward("avg_pool2d.forward"))
def test_avg_pool2d(case):
    x8, m32 = case.arrays
    kernel = case.attributes["kernel"]
    x, m = real(x8), real(m32, False)
    taps = torch.ones((*kernel, x8.shape[3]), dtype=torch.float64)
    shifted = x - case.attributes["x_zero"]
    pixels = depthwise(torch.ones_like(x), taps, case).detach()
    out = Output(depthwise(shifted, taps, case) * m / pixels, depthwise(shifted.abs(), taps, case) * m / pixels, case)
    (dx,) = out.gradients(x)
    _, mask = gg.ops.avg_pool2d.forward(*case.arrays, **case.attributes)
    through = torch.autograd.grad(out.y, out.y, real(out.gy, False))[0]
    for start in (None, some(x8.shape, out.gy)):
        dx32 = gg.ops.avg_pool2d.vjp_x(out.gy, mask, m32, start, in_hw=x8.shape[1:3], kernel=kernel, **window_of(case))
        judge("dx", dx32, dx, lambda v, count: depthwise(v, taps, case), x, through.abs() * m / pixels, start)


@pytest.mark.rules("MAXP-S3", "MAXP-S4")
@EXAMPLES
@given(forward("max_pool2d.forward"))
def test_max_pool2d(case):
    a = case.attributes
    shape = case.arrays[0].shape
    pixels = shape[1] * shape[2]
    order = generator(case.arrays[0])  # maps have fewer pixels than there are codes: no ties
    x8 = np.stack([order.permutation(256)[:pixels] - 128 for _ in range(shape[0] * shape[3])]).astype(np.int8)
    x8 = np.ascontiguousarray(x8.reshape(shape[0], shape[3], *shape[1:3]).transpose(0, 2, 3, 1))
    top, bottom, left, right = a["pad"]

    def largest(x, fill):
        x = functional.pad(x.permute(0, 3, 1, 2), (left, right, top, bottom), value=fill)
        return functional.max_pool2d(x, a["kernel"], a["stride"], dilation=a["dilation"]).permute(0, 2, 3, 1)

    x = real(x8)
    out = Output(largest(x, -np.inf), torch.zeros(()), case)
    (dx,) = out.gradients(x)
    _, mask, index = gg.ops.max_pool2d.forward(x8, **a)
    (magnitude,) = torch.autograd.grad(largest(x, -np.inf), x, real(np.abs(out.gy), False))
    (terms,) = torch.autograd.grad(largest(x, -np.inf), x, torch.ones_like(out.y))
    for start in (None, some(x8.shape, out.gy)):
        dx32 = gg.ops.max_pool2d.vjp_x(
            out.gy, index, mask, start, in_hw=shape[1:3], kernel=a["kernel"], **window_of(case)
        )
        begun = torch.zeros_like(dx) if start is None else real(start, False)
        close("dx", dx32, dx + begun, magnitude + begun.abs(), terms, slack=1)


# Loss

EXP_ULPS = LOG_ULPS = 1


def check_loss(case, function):
    """Loss and gradient are within the bounds of SCE-N1."""
    q8, target, s32 = case.arrays
    q, s = real(q8), float(s32[0])
    tensor = torch.tensor(target, dtype=torch.int64 if target.ndim == 1 else torch.float64)
    loss = functional.cross_entropy(q * s, tensor, reduction="none")
    (dq,) = torch.autograd.grad(loss.sum(), q)
    loss32, dq32 = function(*case.arrays)

    d = ((q - q.amax(1, keepdim=True)) * s).detach()
    p, log_sum = torch.softmax(d, 1), torch.logsumexp(d, 1)
    t = functional.one_hot(tensor, q.shape[1]).to(torch.float64) if target.ndim == 1 else tensor
    a = (d.abs() + 2 * EXP_ULPS) * U
    a_sum = (p * a).sum(1) + (q.shape[1] - 1) * U
    in_log = a_sum + 2 * LOG_ULPS * U * log_sum
    tiny = (EXP_ULPS + 1) * SUBNORMAL * q.shape[1]
    in_loss = (t * (in_log[:, None] + U * (d.abs() + log_sum[:, None] - d))).sum(1)
    in_loss = (in_loss + q.shape[1] * U * loss.detach()) * 1.001 + tiny
    in_dq = s * (p * (a + a_sum[:, None] + U) + 2 * U * (p - t).abs()) * 1.001 + s * tiny + SUBNORMAL
    assert np.all(np.abs(loss32 - loss.detach().numpy()) <= in_loss.numpy())
    assert np.all(np.abs(dq32 - dq.numpy()) <= in_dq.numpy())


def losses(function):
    """Cases whose logits have a scale that models have."""

    def drawn(d: Draw) -> Case:
        return CASES[function](d).having(s=d.magnitudes((1,), -8, 2))

    return drawn_by(drawn, Flavour.REAL)


@pytest.mark.rules("SCE-S3", "SCE-S5", "SCE-N1")
@EXAMPLES
@given(losses("softmax_cross_entropy.forward"))
def test_loss_of_a_class(case):
    check_loss(case, gg.ops.softmax_cross_entropy.forward)


@pytest.mark.rules("SCE-S4", "SCE-S5", "SCE-N1")
@EXAMPLES
@given(losses("softmax_cross_entropy.from_probabilities"))
def test_loss_of_probabilities(case):
    check_loss(case, gg.ops.softmax_cross_entropy.from_probabilities)


# The judge

CONV = gg.ops.conv2d
BUGS = {
    "zero point forgotten": {"vjp_w": lambda g, x, dw0, x_zero, **a: CONV.vjp_w(g, x, dw0, x_zero=0, **a)},
    "kernel flipped": {"vjp_x": lambda g, w, dx0, *parts, **a: CONV.vjp_x(g, merge(w, *parts)[:, ::-1], dx0, **a)},
    "start forgotten": {"vjp_x": lambda g, w, dx0, *parts, **a: CONV.vjp_x(g, w, None, *parts, **a)},
    "one in a million too much": {"vjp_w": lambda *arrays, **a: CONV.vjp_w(*arrays, **a) * np.float32(1 + 1e-6)},
    "a sample lost": {"vjp_b": lambda g, db0: CONV.vjp_b(g[:1], db0)},
    "all let through": {"forward": lambda *arrays, **a: (None, np.full_like(CONV.forward(*arrays, **a)[1], 255))},
}


@pytest.mark.parametrize("bug", BUGS)
def test_the_judge_finds(bug):
    functions = {name: getattr(CONV, name) for name in ("forward", "vjp_x", "vjp_w", "vjp_b")}
    wrong = SimpleNamespace(**{**functions, **BUGS[bug]})

    @settings(EXAMPLES, max_examples=300, derandomize=True, phases=[Phase.generate], report_multiple_bugs=False)
    @given(forward("conv2d.forward"))
    def judged(case):
        x, w, *_ = case.arrays
        check_layer(case, dense, wrong, in_hw=x.shape[1:3], kernel=w.shape[1:3])

    with pytest.raises(AssertionError):
        judged()
