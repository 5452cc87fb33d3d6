"""sgd_update_bias in C (kernels_c/include/goldgrad/sgd_update_bias.h)."""

from __future__ import annotations

from typing import Any

from ._binding import namespace
from ._call import Described, describes

__getattr__ = namespace("sgd_update_bias").__getattr__


@describes("sgd_update_bias.update")
def _update(t: Any) -> Described:
    return t.b.shape[0], "b", "db", "q", "limit", "lr", "b_new"
