"""The operators, a module each; importing this package fills ``FUNCTIONS``."""

from . import (
    avg_pool2d,
    bias_gradient,
    conv2d,
    depthwise_conv2d,
    mask,
    max_pool2d,
    sgd_update_bias,
    sgd_update_weight,
    sgd_update_weight_master,
    sgd_update_weight_momentum,
    sgd_update_weight_stochastic,
)
from ._function import FUNCTIONS, Alias, Function, Type

__all__ = [
    "FUNCTIONS",
    "Alias",
    "Function",
    "Type",
    "avg_pool2d",
    "bias_gradient",
    "conv2d",
    "depthwise_conv2d",
    "mask",
    "max_pool2d",
    "sgd_update_bias",
    "sgd_update_weight",
    "sgd_update_weight_master",
    "sgd_update_weight_momentum",
    "sgd_update_weight_stochastic",
]
