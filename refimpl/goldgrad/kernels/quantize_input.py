"""quantize_input in C (kernels_c/include/goldgrad/quantize_input.h)."""

from __future__ import annotations

from typing import Any

from ._binding import binds, lib, namespace, pointer

__getattr__ = namespace("quantize_input").__getattr__


@binds("quantize_input.from_uint8")
def _from_uint8(inputs: Any, outputs: Any, scratch: Any, *, x_zero: int, y_zero: int) -> None:
    x, m = inputs
    lib.gg_quantize_input_from_uint8(
        x.size, x_zero, y_zero, pointer("uint8_t", x), pointer("float", m), pointer("int8_t", outputs[0])
    )


@binds("quantize_input.from_float32")
def _from_float32(inputs: Any, outputs: Any, scratch: Any, *, y_zero: int) -> None:
    x, m = inputs
    lib.gg_quantize_input_from_float32(
        x.size, y_zero, pointer("float", x), pointer("float", m), pointer("int8_t", outputs[0])
    )
