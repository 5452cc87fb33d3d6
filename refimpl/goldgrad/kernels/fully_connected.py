"""fully_connected in C (kernels_c/include/goldgrad/fully_connected.h)."""

from __future__ import annotations

from math import prod
from typing import Any

from ._binding import namespace
from ._call import SCRATCH, Described, Struct, describes
from ._parameters import codes
from ._split_weight import check_split, split

__getattr__ = namespace("fully_connected").__getattr__


def _params(in_c: int, out_c: int, **attributes: int) -> Struct:
    return Struct("gg_fully_connected_t", {"in_c": in_c, "out_c": out_c, **codes(attributes)})


@describes("fully_connected.forward", sampled="x y mask", check=check_split)
def _forward(t: Any, **attributes: int) -> Described:
    struct = _params(t.w.shape[1], t.w.shape[0], **attributes)
    return struct, "x", "w", "b", "m", *split(t), "y", "mask", SCRATCH


@describes("fully_connected.vjp_x", sampled="g dx0 dx", check=check_split)
def _vjp_x(t: Any, in_shape: Any = None) -> Described:
    return _params(t.w.shape[1], t.w.shape[0]), "g", "w", "dx0", *split(t), "dx", SCRATCH


@describes("fully_connected.vjp_w", sampled="g x", chained="dw0=dw")
def _vjp_w(t: Any, **attributes: int) -> Described:
    return _params(prod(t.x.shape[1:]), t.g.shape[1], **attributes), "g", "x", "dw0", "dw", SCRATCH
