"""How a case of each function is drawn, a file an operator; importing this package fills ``strategies.CASES``."""

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
    quantize_input,
    save_channels,
    sgd_update_bias,
    sgd_update_weight,
    softmax_cross_entropy,
)

__all__ = [
    "add",
    "avg_pool2d",
    "bias_gradient",
    "bias_step",
    "conv2d",
    "depthwise_conv2d",
    "fully_connected",
    "mask",
    "mask_scale",
    "max_pool2d",
    "quantize_input",
    "save_channels",
    "sgd_update_bias",
    "sgd_update_weight",
    "softmax_cross_entropy",
]
