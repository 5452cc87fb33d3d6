"""sgd_update_weight_momentum in C (kernels_c/include/goldgrad/sgd_update_weight_momentum.h)."""

from __future__ import annotations

from typing import Any

from ._binding import binds, lib, namespace, pointer
from ._weight_slice import weight_slice

__getattr__ = namespace("sgd_update_weight_momentum").__getattr__


@binds("sgd_update_weight_momentum.update")
def _update(inputs: Any, outputs: Any, scratch: Any) -> None:
    w, dw, q, lr, velocity, mu, channels = inputs
    lib.gg_sgd_update_weight_momentum_update(
        weight_slice(w, channels),
        pointer("int8_t", w),
        pointer("float", dw),
        pointer("float", q),
        pointer("float", lr),
        pointer("float", velocity),
        pointer("float", mu),
        pointer("int32_t", channels),
        pointer("int8_t", outputs[0]),
        pointer("float", outputs[1]),
    )
