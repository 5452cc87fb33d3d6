"""sgd_update_weight_momentum in C (kernels_c/include/goldgrad/sgd_update_weight_momentum.h)."""

from __future__ import annotations

from typing import Any

from ._binding import namespace
from ._call import Described, describes
from ._weight_slice import weight_slice

__getattr__ = namespace("sgd_update_weight_momentum").__getattr__


@describes("sgd_update_weight_momentum.update")
def _update(t: Any) -> Described:
    return weight_slice(t.w, t.channels), "w", "dw", "q", "lr", "velocity", "mu", "channels", "w_new", "velocity_new"
