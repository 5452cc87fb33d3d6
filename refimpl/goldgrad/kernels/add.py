"""add in C (kernels_c/include/goldgrad/add.h)."""

from __future__ import annotations

from typing import Any

from ..ops import Type
from ._binding import namespace
from ._call import Described, Struct, describes
from ._parameters import codes, pixels

__getattr__ = namespace("add").__getattr__


CODES = ("x1_zero", "x2_zero", "y_zero", "lo", "hi")


def _params(array: Type, **attributes: int) -> Struct:
    return Struct("gg_add_t", {"pixels": pixels(array), "channels": array.shape[-1], **codes(attributes, CODES)})


@describes("add.forward")
def _forward(t: Any, **attributes: int) -> Described:
    return _params(t.x1, **attributes), "x1", "x2", "m1", "m2", "y", "mask"


@describes("add.vjp_x")
def _vjp_x(t: Any) -> Described:
    return _params(t.gy), "gy", "mask", "m", "dx0", "dx"
