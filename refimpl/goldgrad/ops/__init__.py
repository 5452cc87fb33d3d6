"""The operators, a module each; importing this package fills ``FUNCTIONS``."""

from . import bias_gradient, conv2d, mask
from ._function import FUNCTIONS, Alias, Function, Type

__all__ = ["FUNCTIONS", "Alias", "Function", "Type", "bias_gradient", "conv2d", "mask"]
