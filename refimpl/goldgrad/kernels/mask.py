"""mask in C (kernels_c/include/goldgrad/mask.h)."""

from __future__ import annotations

from typing import Any

from ._binding import namespace
from ._call import Described, describes
from ._parameters import pixels

__getattr__ = namespace("mask").__getattr__


@describes("mask.pack")
def _pack(t: Any) -> Described:
    return pixels(t.flags), t.flags.shape[-1], "flags", "mask"


@describes("mask.unpack")
def _unpack(t: Any, *, channels: int) -> Described:
    return pixels(t.mask), channels, "mask", "flags"
