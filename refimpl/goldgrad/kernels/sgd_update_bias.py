"""sgd_update_bias in C (kernels_c/include/goldgrad/sgd_update_bias.h)."""

from __future__ import annotations

from typing import Any

from ._binding import binds, lib, namespace, pointer

__getattr__ = namespace("sgd_update_bias").__getattr__


@binds("sgd_update_bias.update")
def _update(inputs: Any, outputs: Any, scratch: Any) -> None:
    b, db, q, limit, lr = inputs
    lib.gg_sgd_update_bias_update(
        b.size,
        pointer("int32_t", b),
        pointer("float", db),
        pointer("float", q),
        pointer("int32_t", limit),
        pointer("float", lr),
        pointer("int32_t", outputs[0]),
    )
