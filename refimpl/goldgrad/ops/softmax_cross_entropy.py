"""Softmax cross-entropy on the int8 codes of logits, with its gradient (specs/ops/softmax_cross_entropy.md).

Shapes: q int8 [N, C], target int32 [N] (classes) or float32 [N, C] (probabilities), s float32 [1], loss float32 [N],
dq float32 [N, C].
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from ..errors import require
from ..numerics import F32, I8, I32, add32, chain, div32, exp32, float32, log32, mul32, sub32
from ..rules import rule
from ._checks import SCALAR, check_operand, has_axes
from ._function import Type, function
from ._quantization import widen


@rule("SCE-C1", "SCE-C2", "SCE-C3")
def types(q: Type, target: Type, s: Type) -> tuple[Type, Type]:
    """Types of loss and dq for class indices, or the constraint that the operands break."""
    return _types(q, target, s, Type(q.shape[:1], "int32"))


@rule("SCE-C1", "SCE-C2", "SCE-C3")
def types_from_probabilities(q: Type, target: Type, s: Type) -> tuple[Type, Type]:
    """Types of loss and dq for probabilities, or the constraint that the operands break."""
    return _types(q, target, s, Type(q.shape, "float32"))


@function("q target s", "loss? dq", types)
@rule("SCE-S3", "SCE-S5", "SCE-S6", "SCE-A1", "SCE-F1")
def forward(q: I8, target: I32, s: F32) -> tuple[F32, F32]:
    """loss and its gradient, of the true class of each sample."""
    check_classes(target, q.shape[1])
    d, log_sum, p = _softmax(q, s)
    loss = sub32(log_sum, d[np.arange(len(target)), target])
    one_hot = float32(np.arange(q.shape[1]) == target[:, None])
    return loss, mul32(sub32(p, one_hot), s)


@function("q target s", "loss? dq", types_from_probabilities)
@rule("SCE-S4", "SCE-S5", "SCE-S6", "SCE-A1", "SCE-F1")
def from_probabilities(q: I8, target: F32, s: F32) -> tuple[F32, F32]:
    """loss and its gradient, of a probability for each class of each sample."""
    check_probabilities(target)
    d, log_sum, p = _softmax(q, s)
    loss = chain(target.T, sub32(log_sum[:, None], d).T)
    return loss, mul32(sub32(p, target), s)


@rule("SCE-S1", "SCE-S2", "SCE-N1")
def _softmax(q: I8, s: F32) -> tuple[F32, F32, F32]:
    """d [N, C], the scaled logits less the largest; L [N], the logarithm of the sum of exponentials; p [N, C]."""
    codes = widen(q)
    d = mul32(float32(codes - codes.max(axis=1, keepdims=True)), s)
    e = exp32(d)
    total = np.zeros(len(q), np.float32)
    for exponentials in e.T:
        total = add32(total, exponentials)
    return d, log32(total), div32(e, total[:, None])


@rule("SCE-C4")
def check_classes(target: I32, classes: int) -> None:
    """Every class index lies from 0 to ``classes`` - 1; otherwise SCE-C4 is broken."""
    for n, t in enumerate(target.tolist()):
        require(0 <= t < classes, "SCE-C4", f"sample {n} is of class {t}", f"give a class from 0 to {classes - 1}")


@rule("SCE-C5")
def check_probabilities(target: F32) -> None:
    """Every row holds finite numbers that are not negative and add up to 1; otherwise SCE-C5 is broken."""
    for n, row in enumerate(target.tolist()):
        good = all(math.isfinite(t) and t >= 0 for t in row)
        require(good, "SCE-C5", f"sample {n} has a probability that is negative or not finite", "give at least 0")
        total = sum(map(Fraction, row), Fraction())  # exact
        require(
            abs(total - 1) <= len(row) * Fraction(1, 2**23),
            "SCE-C5",
            f"the probabilities of sample {n} add up to {float(total)}",
            "divide them by their sum",
        )


def _types(q: Type, target: Type, s: Type, wanted: Type) -> tuple[Type, Type]:
    require(has_axes(q, "int8", 2), "SCE-C1", f"q is {q}", "give int8 [N, C], no axis empty")
    check_operand("SCE-C2", "s", s, SCALAR)
    check_operand("SCE-C3", "target", target, wanted)
    return Type(q.shape[:1], "float32"), Type(q.shape, "float32")
