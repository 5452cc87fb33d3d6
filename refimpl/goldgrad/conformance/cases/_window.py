"""Sizes of the operators with a window, within the budget of work."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...numerics import F32
from ...ops._window import Pair, Window
from ..strategies import WORK, Draw, Flavour

STEPS = 500
"""Steps that the reference takes one after another in an ordinary case."""

MOST_WHOLE = 2**15
"""A multiplier up to which means of small whole numbers stay exact in float32."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of one window; ``geometry`` is stride, padding and dilation as attributes."""

    batch: int
    in_hw: Pair
    out_hw: Pair
    kernel: Pair
    geometry: dict[str, Any]
    budget: int = WORK

    @property
    def taps(self) -> int:
        """Taps of the kernel."""
        return math.prod(self.kernel)

    @property
    def work(self) -> int:
        """Multiply-accumulates a channel."""
        return self.batch * math.prod(self.out_hw) * self.taps

    def channels(self, d: Draw) -> int:
        """A number of channels that the budget of work allows."""
        return d.count(max(1, self.budget // self.work))


def any_window(d: Draw, wide: bool = False) -> Sizes:
    """Any legal window; most are of the kinds that kernels compute in ways of their own: pointwise, or square with one
    stride and padding about as wide as keeps the map's size.

    With ``wide`` some maps have many columns, so that kernels that work in stripes have several.
    """
    batch = d.batch()
    kinds = ("any", "square", "pointwise", *(["wide"] * 2 if wide else []), "square", "any", "square")
    kind = "any" if d.only else d.of(kinds)
    if kind == "any":
        return _sizes(batch, d.window())
    if kind == "pointwise":
        return pointwise_window(d, batch)
    if kind == "wide":
        return replace(_sizes(1, _square(d, (d.of((1, 5, 7, 9, 8)), d.whole(1, 260)), (1, 3, 5, 3))), budget=4 * WORK)
    if d.chance():
        return _sizes(batch, _square(d, (d.whole(1, 11), d.whole(1, 11)), (1, 3, 5, 3, 7, 3)))
    taps, stride = d.of((1, 3, 5, 3, 7, 3)), d.of((1, 2, 1))  # as they are in most networks, all of it or nearly
    less = d.of((0, 0, 1, 0)) if taps > 1 else 0
    pad = (taps // 2, taps // 2, taps // 2, taps // 2 - less)
    geometry = {"kernel": (taps, taps), "stride": (stride, stride), "pad": pad, "dilation": (1, 1)}
    return _sizes(batch, {"in_hw": (d.whole(1, 8), 4 * d.whole(1, 3) + less), **geometry})


def _square(d: Draw, in_hw: Pair, kernels: tuple[int, ...]) -> dict[str, Any]:
    """A window as networks have them, on a map of this size."""
    taps, stride = d.of(kernels), d.of((1, 2, 3, 1, 2))
    pad: list[int] = []
    for size in in_hw:
        before, after = d.of((taps // 2, 0, 1, taps, taps - 1)), d.of((taps // 2, 0, 1, taps, taps - 1))
        pad += (before, max(after, taps - before - size))
    return {
        "in_hw": in_hw,
        "kernel": (taps, taps),
        "stride": (stride, stride),
        "pad": tuple(pad),
        "dilation": (1, 1),
    }


def pointwise_window(d: Draw, batch: int) -> Sizes:
    """That of a pointwise convolution; now and then with padding where it does not move the map."""
    pad = d.of(((0, 0, 0, 0), (0, 1, 0, 2), (0, 0, 0, 0)))
    geometry = {"kernel": (1, 1), "stride": (1, 1), "pad": pad, "dilation": (1, 1)}
    return _sizes(batch, {"in_hw": (d.whole(1, 9), d.whole(1, 9)), **geometry})


def tiles_window(d: Draw) -> Sizes:
    """That of a pointwise layer on a small map, mostly of a multiple of four pixels."""
    geometry = {"kernel": (1, 1), "stride": (1, 1), "pad": (0, 0, 0, 0), "dilation": (1, 1)}
    return _sizes(1, {"in_hw": (d.whole(1, 4), d.of((4, 2, 8, 5))), **geometry})


def layer_window(d: Draw) -> Sizes:
    """That of a depthwise layer, on a small map, or on one that is wide enough for kernels to cut it in stripes."""
    taps, stride = d.of((3, 5, 7)), d.of((1, 2, 1))
    small = d.whole(1, 9), d.of((d.whole(1, 5), d.whole(1, 12)))
    in_hw = d.of((small, small, (d.whole(6, 9), d.of((130, 173, 212, 259))), small))
    geometry = {"stride": (stride, stride), "pad": (taps // 2,) * 4, "dilation": (1, 1)}
    return replace(_sizes(1, {"in_hw": in_hw, "kernel": (taps, taps), **geometry}), budget=4 * WORK)


def image_window(d: Draw) -> Sizes:
    """That of a network's first layer, on a small image."""
    stride, in_hw = d.of((1, 2, 1)), (d.whole(1, 7), d.whole(1, 24))
    return _sizes(1, {"in_hw": in_hw, "kernel": (3, 3), "stride": (stride,) * 2, "pad": (1,) * 4, "dilation": (1, 1)})


def large_window(d: Draw) -> Sizes:
    """The mean of a whole map that may have more pixels than a byte counts."""
    in_hw = d.of((1, 17, 18, 19, 20)), d.whole(16, 20)
    return _sizes(1, {"in_hw": in_hw, "kernel": in_hw, "stride": (1, 1), "pad": (0, 0, 0, 0), "dilation": (1, 1)})


def pool_window(d: Draw) -> Sizes:
    """A window each of whose outputs meets a pixel: where one does not, padding and dilation are made smaller."""
    batch, window = d.batch(), d.window()
    if Window(**window).unmet() is not None:
        (ih, iw), (kh, kw), pad = window["in_hw"], window["kernel"], window["pad"]
        rows = (kh - 1, kh - 1) if kh > ih else (min(pad[0], kh - 1), min(pad[1], kh - 1))
        columns = (kw - 1, kw - 1) if kw > iw else (min(pad[2], kw - 1), min(pad[3], kw - 1))
        window |= {"pad": rows + columns, "dilation": (1, 1)}
    s = _sizes(batch, dict(window))
    if d.flavour is Flavour.WHOLE and math.lcm(*met(s)) > MOST_WHOLE:
        (ih, iw), (kh, kw) = window["in_hw"], window["kernel"]
        kernel = (min(kh, ih), min(kw, iw))
        s = _sizes(batch, {**window, "kernel": kernel, "pad": (0, 0, 0, 0), "dilation": (1, 1)})
    return s


def _sizes(batch: int, window: dict[str, Any]) -> Sizes:
    out_hw = Window(**window).out_hw
    in_hw, kernel = window.pop("in_hw"), window.pop("kernel")
    return Sizes(batch, in_hw, out_hw, kernel, window)


def met(s: Sizes) -> set[int]:
    """How many pixels of the map an output's window meets, over all outputs."""
    count = np.zeros(s.out_hw, int)
    for _, at, _ in Window(s.in_hw, s.kernel, **s.geometry).taps():
        count[at] += 1
    return set(count.flat)


def share(d: Draw, s: Sizes) -> F32:
    """A mean's multiplier; whole for every number of pixels that a window meets, if that is asked for."""
    if d.flavour is Flavour.WHOLE:
        return np.array([math.lcm(*met(s))], np.float32)
    return d.multipliers(1)
