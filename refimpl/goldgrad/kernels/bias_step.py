"""bias_step in C (kernels_c/include/goldgrad/bias_step.h)."""

from __future__ import annotations

from typing import Any

from ._binding import namespace
from ._call import Described, describes
from ._parameters import pixels

__getattr__ = namespace("bias_step").__getattr__


@describes("bias_step.update")
def _update(t: Any) -> Described:
    return pixels(t.gy), t.gy.shape[-1], "gy", "mask", "m", "b", "q", "limit", "lr", "b_new", "g"
