"""max_pool2d in C (kernels_c/include/goldgrad/max_pool2d.h)."""

from __future__ import annotations

from typing import Any

from ._binding import namespace
from ._call import Described, Struct, describes
from ._parameters import windowed

__getattr__ = namespace("max_pool2d").__getattr__


def _params(in_hw: Any, channels: int, attributes: dict[str, Any]) -> Struct:
    return windowed(
        "gg_max_pool2d_t", in_hw, attributes["kernel"], attributes, {"channels": channels}, names=("lo", "hi")
    )


@describes("max_pool2d.forward", sampled="x y mask index")
def _forward(t: Any, **attributes: Any) -> Described:
    return _params(t.x.shape[1:3], t.x.shape[3], attributes), "x", "y", "mask", "index"


@describes("max_pool2d.vjp_x", sampled="gy index mask dx0 dx")
def _vjp_x(t: Any, **attributes: Any) -> Described:
    return _params(attributes["in_hw"], t.gy.shape[3], attributes), "gy", "index", "mask", "dx0", "dx"
