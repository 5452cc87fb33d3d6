"""mask_scale in C (kernels_c/include/goldgrad/mask_scale.h)."""

from __future__ import annotations

from typing import Any

from ._binding import namespace
from ._call import Described, describes
from ._parameters import pixels

__getattr__ = namespace("mask_scale").__getattr__


@describes("mask_scale.forward")
def _forward(t: Any) -> Described:
    return pixels(t.gy), t.gy.shape[-1], "gy", "mask", "m", "g"
