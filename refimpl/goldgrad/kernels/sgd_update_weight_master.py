"""sgd_update_weight_master in C (kernels_c/include/goldgrad/sgd_update_weight_master.h)."""

from __future__ import annotations

from typing import Any

from ._binding import namespace
from ._call import Described, describes
from ._weight_slice import weight_slice

__getattr__ = namespace("sgd_update_weight_master").__getattr__


@describes("sgd_update_weight_master.update")
def _update(t: Any) -> Described:
    return weight_slice(t.w, t.channels), "w", "dw", "q", "lr", "master", "channels", "w_new", "master_new"
