"""Cases of bias_step (specs/ops/bias_step.md)."""

from __future__ import annotations

import numpy as np

from ...numerics import INT32_MAX
from ..case import Case
from ..strategies import Draw, cases_of
from .sgd_update_bias import some_fixed
from .sgd_update_weight import steps


@cases_of("bias_step.update")
def update(d: Draw) -> Case:
    """Any mask; gradients of every size, and steps that end within the limit, at it, and beyond; some biases that never
    train lie beyond it.
    """
    shape = d.map_shape()
    count = shape[-1]
    limit = d.integers((1,), 0, d.of((INT32_MAX, 1000)), "int32")
    wide = np.full(count, limit[0], np.int64)
    b = d.of((0 * wide, d.random.integers(-wide - 1, wide + 1), wide)).astype(np.int32)
    lr, q, _ = steps(d, (count,), (count,))
    b, q = some_fixed(d, b, q)
    arrays = (d.floats(shape), d.masks(shape[:-1], count), d.multipliers(count), b, q, limit, lr)
    return Case("bias_step.update", arrays)
