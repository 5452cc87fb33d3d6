"""Cases of depthwise_conv2d (specs/ops/depthwise_conv2d.md)."""

from __future__ import annotations

import numpy as np

from ...ops._split_weight import merge
from ..case import Case
from ..strategies import Draw, cases_of
from ._window import any_window


@cases_of("depthwise_conv2d.forward")
def forward(d: Draw) -> Case:
    """Any window, a weight that is whole or split, biases up to where an accumulator could overflow; half of them with
    some channels, and nothing of them plain.
    """
    s = any_window(d, wide=True)
    count, x_zero = s.channels(d), d.zero_point()
    x, w = d.codes((s.batch, *s.in_hw, count)), d.weights((*s.kernel, count))
    if not d.only and d.chance():
        count, d.is_open = d.whole(4, max(4, min(21, s.budget // s.work))), True
        x = d.random.integers(-128, 128, (s.batch, *s.in_hw, count)).astype(np.int8)
        w = d.random.integers(-127, 128, (*s.kernel, count)).astype(np.int8)
    parts = d.split(w.shape)
    scales = d.biases_and_multipliers(merge(w, *parts).transpose(2, 0, 1), x_zero)
    arrays = (d.settled(x, x_zero), w, *scales, *parts)
    return Case("depthwise_conv2d.forward", arrays, {"x_zero": x_zero, **d.output_codes(), **s.geometry})


@cases_of("depthwise_conv2d.vjp_x")
def vjp_x(d: Draw) -> Case:
    """Any window, a weight that is whole or split; the chain starts from nothing or from somewhere."""
    s = any_window(d)
    count = s.channels(d)
    g, w = d.floats((s.batch, *s.out_hw, count)), d.weights((*s.kernel, count))
    arrays = (g, w, d.perhaps((s.batch, *s.in_hw, count)), *d.split(w.shape))
    return Case("depthwise_conv2d.vjp_x", arrays, {"in_hw": s.in_hw, **s.geometry})


@cases_of("depthwise_conv2d.vjp_w")
def vjp_w(d: Draw) -> Case:
    """Any window, dense or a slice of the channels; the chain starts from nothing or from somewhere."""
    s = any_window(d, wide=True)
    count = s.channels(d)
    chosen = d.channels(count) if d.chance() else None
    kept = count if chosen is None else chosen.size
    g, x = d.floats((s.batch, *s.out_hw, count)), d.codes((s.batch, *s.in_hw, kept))
    arrays = (g, x, d.perhaps((*s.kernel, kept)), chosen)
    return Case("depthwise_conv2d.vjp_w", arrays, {"x_zero": d.zero_point(), "kernel": s.kernel, **s.geometry})
