"""What the tests of the weight updates share: operands in every layout, and the rules as scalar loops."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import exact

SHAPES = [(4, 3, 2, 5), (3, 7), (2, 3, 6), (1, 1, 1, 1), (1, 1), (1, 1, 1), (2, 1, 1, 13)]
"""OHWI, OI and HWC, and the smallest of each."""


def scale(shape: tuple[int, ...], at: tuple[int, ...]) -> int:
    """The scale that the element belongs to: of the first axis, for HWC of the last (UPW-S4)."""
    return at[-1] if len(shape) == 3 else at[0]


def scales(shape: tuple[int, ...]) -> int:
    """How many scales a weight has."""
    return shape[-1] if len(shape) == 3 else shape[0]


def operands(rng: np.random.Generator, shape: tuple[int, ...], sliced: bool = True, hard: float = 0.1) -> list[Any]:
    """w, dw, q, lr, channels; the steps reach from nothing over ties to far beyond the codes."""
    of = shape[-1]
    channels = np.sort(rng.choice(of, rng.integers(1, of + 1), replace=False)).astype(np.int32) if sliced else None
    compact = (*shape[:-1], of if channels is None else channels.size)
    w = rng.integers(-127, 128, shape).astype(np.int8)
    halves = (rng.integers(-300, 301, compact) / 2).astype(np.float32)
    dw = np.where(rng.random(compact) < 0.5, halves, exact.floats(rng, *compact, hard=hard))
    q = rng.choice(np.float32([0, 1, 1, 2, 1e4, 1e30]), scales(shape))
    return [w, dw, q, rng.choice(np.float32([0, 1, 1, 0.5, 2.0**-10]), 1), channels]


def elements(w: Any, dw: Any, q: Any, lr: Any, channels: Any) -> Iterator[tuple[Any, Any, np.float32]]:
    """For each weight that trains: where it is in w, where in dw, and its factor -(lr * q) (UPW-S1, UPW-S3)."""
    for at in np.ndindex(dw.shape):
        dense = at if channels is None else (*at[:-1], int(channels[at[-1]]))
        yield dense, at, -exact.mul(lr[0], q[scale(w.shape, dense)])


def code(v: np.float32) -> int:
    """The nearest code to v (UPW-S2, UPW-S5)."""
    return exact.clamp(exact.rne(v), -127, 127)


def scalar_update(w: Any, dw: Any, q: Any, lr: Any, channels: Any = None) -> Any:
    """sgd_update_weight, an element at a time."""
    w_new = w.copy()
    for dense, at, k in elements(w, dw, q, lr, channels):
        w_new[dense] = code(exact.fma(k, dw[at], np.float32(w[dense])))
    return w_new
