"""mask_scale in C (kernels_c/include/goldgrad/mask_scale.h)."""

from __future__ import annotations

from typing import Any

from ._binding import binds, lib, namespace, pixels, pointer

__getattr__ = namespace("mask_scale").__getattr__


@binds("mask_scale.forward")
def _forward(inputs: Any, outputs: Any, scratch: Any) -> None:
    gy, mask, m = inputs
    lib.gg_mask_scale_forward(
        pixels(gy),
        gy.shape[-1],
        pointer("float", gy),
        pointer("uint8_t", mask),
        pointer("float", m),
        pointer("float", outputs[0]),
    )
