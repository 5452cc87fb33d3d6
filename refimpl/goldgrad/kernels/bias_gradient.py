"""bias_gradient in C (kernels_c/include/goldgrad/bias_gradient.h)."""

from __future__ import annotations

from typing import Any

from ._binding import binds, lib, namespace, pixels, pointer

__getattr__ = namespace("bias_gradient").__getattr__


@binds("bias_gradient.forward")
def _forward(inputs: Any, outputs: Any, scratch: Any) -> None:
    g, db0 = inputs
    lib.gg_bias_gradient_forward(
        pixels(g), g.shape[-1], pointer("float", g), pointer("float", db0), pointer("float", outputs[0])
    )
