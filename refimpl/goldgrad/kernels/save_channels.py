"""save_channels in C (kernels_c/include/goldgrad/save_channels.h)."""

from __future__ import annotations

from typing import Any

from ..ops.save_channels import check_channels
from ._binding import binds, lib, namespace, pixels, pointer

__getattr__ = namespace("save_channels").__getattr__


@binds("save_channels.forward")
def _forward(inputs: Any, outputs: Any, scratch: Any) -> None:
    x, channels = inputs
    check_channels(channels, x.shape[-1])  # C would read outside x
    lib.gg_save_channels_forward(
        pixels(x),
        x.shape[-1],
        channels.size,
        pointer("int8_t", x),
        pointer("int32_t", channels),
        pointer("int8_t", outputs[0]),
    )
