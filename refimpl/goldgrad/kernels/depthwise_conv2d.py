"""depthwise_conv2d in C (kernels_c/include/goldgrad/depthwise_conv2d.h)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..ops.save_channels import check_channels
from ._binding import namespace
from ._call import SCRATCH, Described, describes
from ._parameters import windowed
from ._split_weight import check_split, split

__getattr__ = namespace("depthwise_conv2d").__getattr__


@describes("depthwise_conv2d.forward", sampled="x y mask", check=check_split)
def _forward(t: Any, **attributes: Any) -> Described:
    sizes = {"channels": t.w.shape[2]}
    struct = windowed("gg_depthwise_conv2d_t", t.x.shape[1:3], t.w.shape[:2], attributes, sizes)
    return struct, "x", "w", "b", "m", *split(t), "y", "mask", SCRATCH


@describes("depthwise_conv2d.vjp_x", sampled="g dx0 dx", check=check_split)
def _vjp_x(t: Any, **attributes: Any) -> Described:
    sizes = {"channels": t.w.shape[2]}
    struct = windowed("gg_depthwise_conv2d_t", attributes["in_hw"], t.w.shape[:2], attributes, sizes)
    return struct, "g", "w", "dx0", *split(t), "dx", SCRATCH


def _check_slice(operands: Mapping[str, Any], attributes: Mapping[str, Any]) -> None:
    """The channels that x keeps are channels of g: C would read outside g."""
    if operands["channels"] is not None:
        check_channels(operands["channels"], operands["g"].shape[3])


@describes("depthwise_conv2d.vjp_w", sampled="g x", chained="dw0=dw", check=_check_slice)
def _vjp_w(t: Any, **attributes: Any) -> Described:
    sizes = {"channels": t.x.shape[3]}
    struct = windowed("gg_depthwise_conv2d_t", t.x.shape[1:3], attributes["kernel"], attributes, sizes)
    return struct, "g", t.g.shape[3], "x", "dw0", "channels", "dw", SCRATCH
