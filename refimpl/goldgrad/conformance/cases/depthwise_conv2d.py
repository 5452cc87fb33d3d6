"""Cases of depthwise_conv2d (specs/ops/depthwise_conv2d.md)."""

from __future__ import annotations

import numpy as np

from ...numerics import I8
from ...ops._split_weight import merge
from ..case import Case
from ..strategies import Draw, cases_of
from ._window import Sizes, any_window, layer_window


@cases_of("depthwise_conv2d.forward")
def forward(d: Draw) -> Case:
    """Any window, a weight that is whole or split, biases up to where an accumulator could overflow; or a layer."""
    if not d.only and d.chance():
        return layer(d)
    s = any_window(d, wide=True)
    count, x_zero = s.channels(d), d.zero_point()
    return _forward(d, s, d.codes((s.batch, *s.in_hw, count)), d.weights((*s.kernel, count)), x_zero)


def layer(d: Draw) -> Case:
    """What a layer of a network does, and none of it plain: some channels, mostly no clamp but int8's."""
    s, d.is_open = layer_window(d), d.of((True, False, True))
    count, is_beyond = d.whole(4, max(4, min(21, s.budget // s.work))), d.of((False, True, False))
    x_zero = d.of((-128, 127, d.zero_point())) if is_beyond else d.zero_point()
    x = d.random.integers(-128, 128, (1, *s.in_hw, count)).astype(np.int8)
    w = d.random.integers(-127, 128, (*s.kernel, count)).astype(np.int8)
    return _forward(d, s, x, w, x_zero, is_beyond)


def _forward(d: Draw, s: Sizes, x: I8, w: I8, x_zero: int, is_beyond: bool = False) -> Case:
    parts = d.split(w.shape)
    scales = d.biases_and_multipliers(merge(w, *parts).transpose(2, 0, 1), x_zero, is_beyond)
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
