"""conv2d in C (kernels_c/include/goldgrad/conv2d.h)."""

from __future__ import annotations

from typing import Any

from ._binding import binds, lib, namespace, pointer, samples, scratch_pointer, windowed
from ._split_weight import split

__getattr__ = namespace("conv2d").__getattr__


@binds("conv2d.forward")
def _forward(inputs: Any, outputs: Any, scratch: Any, **attributes: Any) -> None:
    x, w, b, m, *parts = inputs
    params = windowed("gg_conv2d_t", x.shape[1:3], w.shape[1:3], attributes, in_c=x.shape[3], out_c=w.shape[0])
    memory = scratch_pointer(scratch, lib.gg_conv2d_forward_scratch_bytes(params))
    for x_n, y_n, mask_n in samples(x, *outputs):
        lib.gg_conv2d_forward(
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


@binds("conv2d.vjp_x")
def _vjp_x(inputs: Any, outputs: Any, scratch: Any, **attributes: Any) -> None:
    g, w, dx0, *parts = inputs
    params = windowed("gg_conv2d_t", attributes["in_hw"], w.shape[1:3], attributes, in_c=w.shape[3], out_c=w.shape[0])
    memory = scratch_pointer(scratch, lib.gg_conv2d_vjp_x_scratch_bytes(params))
    for g_n, dx0_n, dx_n in samples(g, dx0, outputs[0]):
        lib.gg_conv2d_vjp_x(
            params,
            pointer("float", g_n),
            pointer("int8_t", w),
            pointer("float", dx0_n),
            *split(w, *parts),
            pointer("float", dx_n),
            memory,
        )


@binds("conv2d.vjp_w")
def _vjp_w(inputs: Any, outputs: Any, scratch: Any, **attributes: Any) -> None:
    g, x, start = inputs
    (dw,) = outputs
    params = windowed("gg_conv2d_t", x.shape[1:3], attributes["kernel"], attributes, in_c=x.shape[3], out_c=g.shape[3])
    memory = scratch_pointer(scratch, lib.gg_conv2d_vjp_w_scratch_bytes(params))
    for g_n, x_n in samples(g, x):
        lib.gg_conv2d_vjp_w(
            params, pointer("float", g_n), pointer("int8_t", x_n), pointer("float", start), pointer("float", dw), memory
        )
        start = dw
