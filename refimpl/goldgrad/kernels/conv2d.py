"""conv2d in C (kernels_c/include/goldgrad/conv2d.h)."""

from __future__ import annotations

from typing import Any

from ._binding import namespace
from ._call import SCRATCH, Described, describes
from ._parameters import windowed
from ._split_weight import check_split, split

__getattr__ = namespace("conv2d").__getattr__


@describes("conv2d.forward", sampled="x y mask", check=check_split)
def _forward(t: Any, **attributes: Any) -> Described:
    sizes = {"in_c": t.x.shape[3], "out_c": t.w.shape[0]}
    struct = windowed("gg_conv2d_t", t.x.shape[1:3], t.w.shape[1:3], attributes, sizes)
    return struct, "x", "w", "b", "m", *split(t), "y", "mask", SCRATCH


@describes("conv2d.vjp_x", sampled="g dx0 dx", check=check_split)
def _vjp_x(t: Any, **attributes: Any) -> Described:
    sizes = {"in_c": t.w.shape[3], "out_c": t.w.shape[0]}
    struct = windowed("gg_conv2d_t", attributes["in_hw"], t.w.shape[1:3], attributes, sizes)
    return struct, "g", "w", "dx0", *split(t), "dx", SCRATCH


@describes("conv2d.vjp_w", sampled="g x", chained="dw0=dw")
def _vjp_w(t: Any, **attributes: Any) -> Described:
    sizes = {"in_c": t.x.shape[3], "out_c": t.g.shape[3]}
    struct = windowed("gg_conv2d_t", t.x.shape[1:3], attributes["kernel"], attributes, sizes)
    return struct, "g", "x", "dw0", "dw", SCRATCH
