"""mask in C (kernels_c/include/goldgrad/mask.h)."""

from __future__ import annotations

from typing import Any

from ._binding import binds, lib, namespace, pixels, pointer

__getattr__ = namespace("mask").__getattr__


@binds("mask.pack")
def _pack(inputs: Any, outputs: Any, scratch: Any) -> None:
    (flags,) = inputs
    lib.gg_mask_pack(pixels(flags), flags.shape[-1], pointer("uint8_t", flags), pointer("uint8_t", outputs[0]))


@binds("mask.unpack")
def _unpack(inputs: Any, outputs: Any, scratch: Any, *, channels: int) -> None:
    (mask,) = inputs
    lib.gg_mask_unpack(pixels(mask), channels, pointer("uint8_t", mask), pointer("uint8_t", outputs[0]))
