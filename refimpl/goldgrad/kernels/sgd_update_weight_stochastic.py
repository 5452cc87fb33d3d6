"""sgd_update_weight_stochastic in C (kernels_c/include/goldgrad/sgd_update_weight_stochastic.h)."""

from __future__ import annotations

from typing import Any

from ._binding import binds, lib, namespace, pointer
from ._weight_slice import weight_slice

__getattr__ = namespace("sgd_update_weight_stochastic").__getattr__


@binds("sgd_update_weight_stochastic.update")
def _update(inputs: Any, outputs: Any, scratch: Any) -> None:
    w, dw, q, lr, seed, step, channels = inputs
    lib.gg_sgd_update_weight_stochastic_update(
        weight_slice(w, channels),
        pointer("int8_t", w),
        pointer("float", dw),
        pointer("float", q),
        pointer("float", lr),
        pointer("int32_t", seed),
        pointer("int32_t", step),
        pointer("int32_t", channels),
        pointer("int8_t", outputs[0]),
    )
