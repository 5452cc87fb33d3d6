"""Cases of sgd_update_bias (specs/ops/sgd_update_bias.md)."""

from __future__ import annotations

import numpy as np

from ...numerics import F32, I32, INT32_MAX, float32
from ..case import Case
from ..strategies import Draw, cases_of
from .sgd_update_weight import steps


@cases_of("sgd_update_bias.update")
def update(d: Draw) -> Case:
    """Biases at, near and far from the limit, which may be 0 or INT32_MAX; some that never train beyond it."""
    count = d.count(600)
    limit = d.integers((1,), 0, d.of((INT32_MAX, INT32_MAX, 1000)), "int32")
    wide = np.full(count, limit[0], np.int64)
    inside = d.random.integers(-wide - 1, wide + 1)
    near = {"low": -wide - 1, "high": wide, "any": inside, "zero": 0 * wide}[d.of(("zero", "any", "low", "high"))]
    lr, q, db = steps(d, (count,), (count,))
    if d.of((False, True, False)):  # changes beside a half: another order of the two products goes the other way
        lr, q = np.full(1, 1 / 3, np.float32), np.full(count, 1 / 7, np.float32)
        db = float32((d.random.integers(-999, 999, count) + 0.5) * 21)
    b, q = some_fixed(d, near.astype(np.int32), q)
    return Case("sgd_update_bias.update", (b, db, q, limit, lr))


def some_fixed(d: Draw, b: I32, q: F32) -> tuple[I32, F32]:
    """Biases and their factors, now and then with some that never train and may lie beyond the limit (UPB-C3)."""
    if not d.of((False, False, True)):
        return b, q
    count = b.size
    fixed = d.random.random(count) < 0.3
    q = np.where(fixed, float32(d.random.choice([0.0, -0.0], count)), q)
    return np.where(fixed, d.random.integers(-(2**31), 2**31, count), b).astype(np.int32), q
