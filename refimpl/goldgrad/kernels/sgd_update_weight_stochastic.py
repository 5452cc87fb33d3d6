"""sgd_update_weight_stochastic in C (kernels_c/include/goldgrad/sgd_update_weight_stochastic.h)."""

from __future__ import annotations

from typing import Any

from ..ops._weight_slice import check_channels
from ._binding import binds, lib, namespace, pointer
from ._weight_slice import weight_slice

__getattr__ = namespace("sgd_update_weight_stochastic").__getattr__


@binds("sgd_update_weight_stochastic.update")
def _update(inputs: Any, outputs: Any, scratch: Any, dense_channels: int | None = None) -> None:
    w, dw, q, lr, seed, step, channels = inputs
    of = w.shape[-1] if dense_channels is None else dense_channels
    check_channels(channels, of)
    lib.gg_sgd_update_weight_stochastic_update(
        weight_slice(w, channels if dense_channels is None else None),
        pointer("int8_t", w),
        pointer("float", dw),
        pointer("float", q),
        pointer("float", lr),
        pointer("int32_t", seed),
        pointer("int32_t", step),
        pointer("int32_t", channels),
        of,
        pointer("int8_t", outputs[0]),
    )
