"""bias_gradient in C (kernels_c/include/goldgrad/bias_gradient.h)."""

from __future__ import annotations

from typing import Any

from ._binding import namespace
from ._call import Described, describes
from ._parameters import pixels

__getattr__ = namespace("bias_gradient").__getattr__


@describes("bias_gradient.forward")
def _forward(t: Any) -> Described:
    return pixels(t.g), t.g.shape[-1], "g", "db0", "db"
