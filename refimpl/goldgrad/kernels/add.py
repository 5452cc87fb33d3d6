"""add in C (kernels_c/include/goldgrad/add.h)."""

from __future__ import annotations

from typing import Any

from ..numerics import Array
from ._binding import binds, ffi, lib, namespace, pixels, pointer

__getattr__ = namespace("add").__getattr__


def _params(array: Array, **attributes: int) -> Any:
    return ffi.new(
        "gg_add_t *",
        {"pixels": pixels(array), "channels": array.shape[-1], "lo": -128, "hi": 127, **attributes},
    )


@binds("add.forward")
def _forward(inputs: Any, outputs: Any, scratch: Any, **attributes: int) -> None:
    x1, x2, m1, m2 = inputs
    y, mask = outputs
    lib.gg_add_forward(
        _params(x1, **attributes),
        pointer("int8_t", x1),
        pointer("int8_t", x2),
        pointer("float", m1),
        pointer("float", m2),
        pointer("int8_t", y),
        pointer("uint8_t", mask),
    )


@binds("add.vjp_x")
def _vjp_x(inputs: Any, outputs: Any, scratch: Any) -> None:
    gy, mask, m, dx0 = inputs
    lib.gg_add_vjp_x(
        _params(gy),
        pointer("float", gy),
        pointer("uint8_t", mask),
        pointer("float", m),
        pointer("float", dx0),
        pointer("float", outputs[0]),
    )
