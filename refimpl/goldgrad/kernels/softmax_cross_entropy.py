"""softmax_cross_entropy in C (kernels_c/include/goldgrad/softmax_cross_entropy.h)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..ops.softmax_cross_entropy import check_classes, check_probabilities
from ._binding import namespace
from ._call import Described, describes

__getattr__ = namespace("softmax_cross_entropy").__getattr__


def _check_classes(operands: Mapping[str, Any], attributes: Mapping[str, Any]) -> None:
    """C would read outside q."""
    check_classes(operands["target"], operands["q"].shape[1])


def _check_probabilities(operands: Mapping[str, Any], attributes: Mapping[str, Any]) -> None:
    check_probabilities(operands["target"])


@describes("softmax_cross_entropy.forward", sampled="q target loss dq", check=_check_classes)
def _forward(t: Any) -> Described:
    return t.q.shape[1], "q", "target", "s", "loss", "dq"


@describes("softmax_cross_entropy.from_probabilities", sampled="q target loss dq", check=_check_probabilities)
def _from_probabilities(t: Any) -> Described:
    return t.q.shape[1], "q", "target", "s", "loss", "dq"
