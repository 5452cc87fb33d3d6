"""The C kernels through cffi, callable exactly as the reference: ``kernels.conv2d.forward(x, w, b, m, ...)``.

A kernel takes one sample, the reference any batch: the binding loops over samples, and a gradient of
parameters continues its chain from sample to sample, as the reference's does (TRAIN-S5).

What C is given says :func:`describe`, to generated code as well.  :func:`run` allocates results; :func:`call` writes
into arrays that the caller brings, which is how tests place canaries and share memory.
"""

from ..errors import GoldgradError, show
from ..rules import rule
from . import (
    add,
    avg_pool2d,
    bias_gradient,
    bias_step,
    conv2d,
    depthwise_conv2d,
    fully_connected,
    mask,
    mask_scale,
    max_pool2d,
    numerics,
    quantize_input,
    save_channels,
    sgd_update_bias,
    sgd_update_weight,
    sgd_update_weight_master,
    sgd_update_weight_momentum,
    sgd_update_weight_stochastic,
    softmax_cross_entropy,
)
from ._binding import PREFIXES, call, namespace, run, scratch_bytes
from ._call import KERNELS, KernelCall, Pointer, Scratch, Struct, describe

SETS = tuple(PREFIXES)
"""The sets of kernels by name: portable runs anywhere, m7 on a Cortex-M7 only."""


@rule("ABI-S5")
def check_set(kernels: str) -> None:
    """Raise unless a board has these kernels; the error names the sets that there are."""
    if kernels not in SETS:
        raise GoldgradError(f"a board has no kernels {show(kernels)}; use {' or '.join(SETS)}")


__all__ = [
    "KERNELS",
    "SETS",
    "KernelCall",
    "Pointer",
    "Scratch",
    "Struct",
    "add",
    "avg_pool2d",
    "bias_gradient",
    "bias_step",
    "call",
    "check_set",
    "conv2d",
    "depthwise_conv2d",
    "describe",
    "fully_connected",
    "mask",
    "mask_scale",
    "max_pool2d",
    "namespace",
    "numerics",
    "quantize_input",
    "run",
    "save_channels",
    "scratch_bytes",
    "sgd_update_bias",
    "sgd_update_weight",
    "sgd_update_weight_master",
    "sgd_update_weight_momentum",
    "sgd_update_weight_stochastic",
    "softmax_cross_entropy",
]
