"""fully_connected in C (kernels_c/include/goldgrad/fully_connected.h)."""

from __future__ import annotations

from typing import Any

from ._binding import binds, ffi, lib, namespace, pointer, samples, scratch_pointer
from ._split_weight import split

__getattr__ = namespace("fully_connected").__getattr__


def _params(in_c: int, out_c: int, **attributes: int) -> Any:
    return ffi.new("gg_fully_connected_t *", {"in_c": in_c, "out_c": out_c, "lo": -128, "hi": 127, **attributes})


@binds("fully_connected.forward")
def _forward(inputs: Any, outputs: Any, scratch: Any, **attributes: int) -> None:
    x, w, b, m, *parts = inputs
    params = _params(w.shape[1], w.shape[0], **attributes)
    memory = scratch_pointer(scratch, lib.gg_fully_connected_forward_scratch_bytes(params))
    for x_n, y_n, mask_n in samples(x, *outputs):
        lib.gg_fully_connected_forward(
            params,
            pointer("int8_t", x_n),
            pointer("int8_t", w),
            pointer("int32_t", b),
            pointer("float", m),
            *split(w, *parts),
            pointer("int8_t", y_n),
            pointer("uint8_t", mask_n),
            memory,
        )


@binds("fully_connected.vjp_x")
def _vjp_x(inputs: Any, outputs: Any, scratch: Any, in_shape: Any = None) -> None:
    g, w, dx0, *parts = inputs
    params = _params(w.shape[1], w.shape[0])
    memory = scratch_pointer(scratch, lib.gg_fully_connected_vjp_x_scratch_bytes(params))
    for g_n, dx0_n, dx_n in samples(g, dx0, outputs[0]):
        lib.gg_fully_connected_vjp_x(
            params,
            pointer("float", g_n),
            pointer("int8_t", w),
            pointer("float", dx0_n),
            *split(w, *parts),
            pointer("float", dx_n),
            memory,
        )


@binds("fully_connected.vjp_w")
def _vjp_w(inputs: Any, outputs: Any, scratch: Any, **attributes: int) -> None:
    g, x, start = inputs
    (dw,) = outputs
    params = _params(x[0].size, g.shape[1], **attributes)
    memory = scratch_pointer(scratch, lib.gg_fully_connected_vjp_w_scratch_bytes(params))
    for g_n, x_n in samples(g, x):
        lib.gg_fully_connected_vjp_w(
            params, pointer("float", g_n), pointer("int8_t", x_n), pointer("float", start), pointer("float", dw), memory
        )
        start = dw
