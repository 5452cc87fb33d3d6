"""Weights in two parts, put together an element at a time: what CONV-S7, DW-S7 and FC-S7 mean."""

from __future__ import annotations

from typing import Any

import numpy as np

import exact

PARTS = [[0], [4], [1, 3], [0, 1, 4], [0, 1, 2, 3, 4]]
"""Lists of channels, of a weight that has five."""


def split(rng: np.random.Generator, w: Any, channels: list[int]) -> tuple[Any, Any, Any]:
    """A random part for w's channels, their list, and the dense weight that w and the part make."""
    trained = np.maximum(exact.codes(rng, *w.shape[:-1], len(channels)), np.int8(-127))
    dense = w.copy()
    for j, channel in enumerate(channels):
        dense[..., channel] = trained[..., j]
    return trained, np.int32(channels), dense
