"""max_pool2d in C (kernels_c/include/goldgrad/max_pool2d.h)."""

from __future__ import annotations

from typing import Any

from ._binding import binds, lib, namespace, pointer, samples, windowed

__getattr__ = namespace("max_pool2d").__getattr__


@binds("max_pool2d.forward")
def _forward(inputs: Any, outputs: Any, scratch: Any, **attributes: Any) -> None:
    (x,) = inputs
    params = windowed("gg_max_pool2d_t", x.shape[1:3], attributes["kernel"], attributes, channels=x.shape[3])
    for x_n, y_n, mask_n, index_n in samples(x, *outputs):
        lib.gg_max_pool2d_forward(
            params,
            pointer("int8_t", x_n),
            pointer("int8_t", y_n),
            pointer("uint8_t", mask_n),
            pointer("uint8_t", index_n),
        )


@binds("max_pool2d.vjp_x")
def _vjp_x(inputs: Any, outputs: Any, scratch: Any, **attributes: Any) -> None:
    gy, index, mask, dx0 = inputs
    params = windowed("gg_max_pool2d_t", attributes["in_hw"], attributes["kernel"], attributes, channels=gy.shape[3])
    for gy_n, index_n, mask_n, dx0_n, dx_n in samples(gy, index, mask, dx0, outputs[0]):
        lib.gg_max_pool2d_vjp_x(
            params,
            pointer("float", gy_n),
            pointer("uint8_t", index_n),
            pointer("uint8_t", mask_n),
            pointer("float", dx0_n),
            pointer("float", dx_n),
        )
