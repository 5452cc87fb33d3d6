"""goldgrad: the golden model of training on microcontrollers.

``import goldgrad as gg; gg.ops.conv2d.forward(x, w, b, m, x_zero=0, y_zero=0)``
"""

from . import numerics, ops
from ._version import __version__
from .errors import ConstraintError, GoldgradError

__all__ = ["ConstraintError", "GoldgradError", "__version__", "numerics", "ops"]
