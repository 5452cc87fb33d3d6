"""avg_pool2d in C (kernels_c/include/goldgrad/avg_pool2d.h)."""

from __future__ import annotations

from typing import Any

from ._binding import namespace
from ._call import Described, describes
from ._parameters import windowed

__getattr__ = namespace("avg_pool2d").__getattr__


@describes("avg_pool2d.forward", sampled="x y mask")
def _forward(t: Any, **attributes: Any) -> Described:
    sizes = {"channels": t.x.shape[3]}
    struct = windowed("gg_avg_pool2d_t", t.x.shape[1:3], attributes["kernel"], attributes, sizes)
    return struct, "x", "m", "y", "mask"


@describes("avg_pool2d.vjp_x", sampled="gy mask dx0 dx")
def _vjp_x(t: Any, **attributes: Any) -> Described:
    sizes = {"channels": t.gy.shape[3]}
    struct = windowed("gg_avg_pool2d_t", attributes["in_hw"], attributes["kernel"], attributes, sizes)
    return struct, "gy", "mask", "m", "dx0", "dx"
