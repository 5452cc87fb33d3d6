"""Cases of softmax_cross_entropy (specs/ops/softmax_cross_entropy.md)."""

from __future__ import annotations

import numpy as np

from ...numerics import F32, I8, float32
from ..case import Case
from ..strategies import Draw, cases_of


def logits(d: Draw) -> tuple[I8, F32]:
    """Codes and their scale: probabilities all alike, one of them 1, or anything between."""
    s = d.of((d.magnitudes((1,), -8, 2), d.multipliers(1)))
    return d.codes((d.batch(), d.count(1500))), s


@cases_of("softmax_cross_entropy.forward")
def forward(d: Draw) -> Case:
    """Any number of classes, one included."""
    q, s = logits(d)
    return Case("softmax_cross_entropy.forward", (q, d.integers(q.shape[:1], 0, q.shape[1] - 1, "int32"), s))


@cases_of("softmax_cross_entropy.from_probabilities")
def from_probabilities(d: Draw) -> Case:
    """One class, all classes alike, smoothed labels, or any probabilities that add up to 1."""
    q, s = logits(d)
    classes = q.shape[1]
    one = np.arange(classes) == d.random.integers(0, classes, (len(q), 1))
    kind = d.of(("one", "smooth", "any", "alike"))
    target = {
        "one": 1.0 * one,
        "smooth": 0.9 * one + 0.1 / classes,
        "any": d.random.dirichlet(np.full(classes, 0.3), len(q)),
        "alike": np.full(q.shape, 1 / classes),
    }[kind]
    return Case("softmax_cross_entropy.from_probabilities", (q, float32(target), s))
