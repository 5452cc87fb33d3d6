"""Cases of conv2d (specs/ops/conv2d.md)."""

from __future__ import annotations

import numpy as np

from ...ops._split_weight import merge
from ..case import Case
from ..strategies import WORK, Draw, cases_of
from ._window import STEPS, Sizes, any_window, image_window, pointwise_window, tiles_window


def channels(d: Draw, s: Sizes) -> tuple[int, int]:
    """Output and input channels; of windows of 3 x 3 often three, as an image has, of pixels alone often eights."""
    out_c = d.count(max(1, min(s.budget // s.work, STEPS // s.taps)))
    most = max(1, s.budget // (s.work * out_c))
    if s.kernel == (3, 3) and most >= 3 and not d.only and d.chance():
        return out_c, 3
    if s.kernel == (1, 1) and most >= 8 and not d.only and d.chance():
        return out_c, 8 * d.whole(1, min(most, 64) // 8)
    return out_c, d.count(most)


@cases_of("conv2d.forward")
def forward(d: Draw) -> Case:
    """Any window, a weight that is whole or split, biases up to where an accumulator could overflow; or a layer."""
    d.is_open = d.chance()
    if not d.only and d.of((False, False, True, False)):
        return layer(d)
    s = any_window(d, wide=True)
    (out_c, in_c), x_zero = channels(d, s), d.zero_point()
    x, w = d.codes((s.batch, *s.in_hw, in_c)), d.weights((out_c, *s.kernel, in_c))
    parts = d.split(w.shape)
    scales = d.biases_and_multipliers(merge(w, *parts), x_zero)
    arrays = (d.settled(x, x_zero), w, *scales, *parts)
    return Case("conv2d.forward", arrays, {"x_zero": x_zero, **d.output_codes(), **s.geometry})


def layer(d: Draw) -> Case:
    """What a layer of a network does, and none of it plain: the first, of an image, or a pointwise one."""
    s, in_c = (image_window(d), 3) if d.of((False, True, False)) else (pointwise_window(d, 1), 8 * d.whole(1, 5))
    out_c, is_beyond = d.count(max(1, min(20, WORK // (in_c * s.work)))), d.of((False, True, False))
    x_zero = d.of((-128, 127, d.zero_point())) if is_beyond else d.zero_point()
    x = d.random.integers(-128, 128, (1, *s.in_hw, in_c)).astype(np.int8)
    w = d.random.integers(-127, 128, (out_c, *s.kernel, in_c)).astype(np.int8)
    scales = d.biases_and_multipliers(w, x_zero, is_beyond)
    arrays = (d.settled(x, x_zero), w, *scales, None, None)
    return Case("conv2d.forward", arrays, {"x_zero": x_zero, **d.output_codes(), **s.geometry})


def filled(d: Draw, s: Sizes) -> tuple[int, int]:
    """Output and input channels as layers have them, of which kernels that take several at a time leave none over."""
    out_c, some = 8 * d.whole(1, 12), d.of((6, 4))
    return out_c, some * d.whole(1, max(1, min(9, WORK // (s.work * out_c * some))))


@cases_of("conv2d.vjp_x")
def vjp_x(d: Draw) -> Case:
    """Any window, a weight that is whole or split; the chain starts from nothing or from somewhere; or a layer's."""
    is_layer = not d.only and d.of((False, False, True))
    s = tiles_window(d) if is_layer else any_window(d)
    out_c, in_c = filled(d, s) if is_layer else channels(d, s)
    g, w = d.floats((s.batch, *s.out_hw, out_c)), d.weights((out_c, *s.kernel, in_c))
    arrays = (g, w, d.perhaps((s.batch, *s.in_hw, in_c)), *d.split(w.shape))
    return Case("conv2d.vjp_x", arrays, {"in_hw": s.in_hw, **s.geometry})


@cases_of("conv2d.vjp_w")
def vjp_w(d: Draw) -> Case:
    """Any window; the chain starts from nothing or from somewhere."""
    s = any_window(d)
    out_c, in_c = channels(d, s)
    g, x = d.floats((s.batch, *s.out_hw, out_c)), d.codes((s.batch, *s.in_hw, in_c))
    arrays = (g, x, d.perhaps((out_c, *s.kernel, in_c)))
    return Case("conv2d.vjp_w", arrays, {"x_zero": d.zero_point(), "kernel": s.kernel, **s.geometry})
