"""quantize_input in C (kernels_c/include/goldgrad/quantize_input.h)."""

from __future__ import annotations

from math import prod
from typing import Any

from ._binding import namespace
from ._call import Described, describes

__getattr__ = namespace("quantize_input").__getattr__


@describes("quantize_input.from_uint8")
def _from_uint8(t: Any, *, x_zero: int, y_zero: int) -> Described:
    return prod(t.x.shape), x_zero, y_zero, "x", "m", "y"


@describes("quantize_input.from_float32")
def _from_float32(t: Any, *, y_zero: int) -> Described:
    return prod(t.x.shape), y_zero, "x", "m", "y"
