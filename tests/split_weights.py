"""Weights in two parts, put together an element at a time: what CONV-S7, DW-S7 and FC-S7 mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import exact
from goldgrad.errors import ConstraintError
from goldgrad.ops import Type

PARTS = [[0], [4], [1, 3], [0, 1, 4], [0, 1, 2, 3, 4]]
"""Lists of channels, of a weight that has five."""


def split(rng: np.random.Generator, w: Any, channels: list[int]) -> tuple[Any, Any, Any]:
    """A random part for w's channels, their list, and the dense weight that w and the part make."""
    trained = np.maximum(exact.codes(rng, *w.shape[:-1], len(channels)), np.int8(-127))
    dense = w.copy()
    for j, channel in enumerate(channels):
        dense[..., channel] = trained[..., j]
    return trained, np.int32(channels), dense


def misfits(part: Type) -> list[tuple[Type | None, Type | None]]:
    """Types of trained and of channels that go with no weight, where ``part`` and two channels would."""
    two, shape = Type((2,), "int32"), part.shape
    return [
        (None, two),
        (part, None),
        (part, Type((3,), "int32")),
        (part, Type((2,), "int64")),
        (part, Type((2, 2), "int32")),
        (part, Type((), "int32")),
        (replace(part, dtype="uint8"), two),
        (replace(part, shape=(1, *shape)), two),
        (replace(part, shape=(*shape[:-1], 9)), Type((9,), "int32")),
        (replace(part, shape=(*shape[:-1], 0)), Type((0,), "int32")),
    ]


NOT_ASCENDING = [[1, 0], [1, 1], [-1, 0], [0, 9]]


def check_types_refused(rule: str, operator: Any, given: Sequence[Type], parts: Any, zeros: Any, **sizes: Any) -> None:
    """Forward and vjp_x refuse the types of a part; ``given`` are those of x, w, b, m and g."""
    x, w, b, m, g = given
    with pytest.raises(
        ConstraintError, match=rf"^{rule}: trained is .*, channels is .*, w is .*; give int8 .* or neither$"
    ):
        operator.types(x, w, b, m, *parts, **zeros)
    with pytest.raises(ConstraintError, match=rf"^{rule}: trained is "):
        operator.types_vjp_x(g, w, None, *parts, **sizes)


def check_list_refused(
    operator: Any, given: Sequence[Type], part: Type, channels: list[int], zeros: Any, **sizes: Any
) -> None:
    """Forward and vjp_x, of the reference or of C, refuse a list that does not ascend within w."""
    x, w, b, m, g, trained = (np.zeros(t.shape, t.dtype) for t in (*given, part))
    with pytest.raises(ConstraintError, match=r"SAVE-C3: channels is .*from 0 to "):
        operator.forward(x, w, b, m, trained, np.int32(channels), **zeros)
    with pytest.raises(ConstraintError, match="SAVE-C3: channels is "):
        operator.vjp_x(g, w, None, trained, np.int32(channels), **sizes)
