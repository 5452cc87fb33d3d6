"""bias_gradient in C (kernels_c/include/goldgrad/bias_gradient.h)."""

from __future__ import annotations

from typing import Any

from ._binding import binds, lib, namespace, pointer

__getattr__ = namespace("bias_gradient").__getattr__


@binds("bias_gradient.forward")
def _forward(inputs: Any, outputs: Any, scratch: Any) -> None:
    g, db0 = inputs
    channels = g.shape[-1]
    lib.gg_bias_gradient_forward(
        g.size // channels, channels, pointer("float", g), pointer("float", db0), pointer("float", outputs[0])
    )
