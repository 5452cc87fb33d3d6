"""sgd_update_weight_stochastic in C (kernels_c/include/goldgrad/sgd_update_weight_stochastic.h)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..ops._weight_slice import check_channels
from ._binding import namespace
from ._call import Described, describes
from ._weight_slice import weight_slice

__getattr__ = namespace("sgd_update_weight_stochastic").__getattr__


def _dense(w: Any, dense_channels: int | None = None) -> int:
    """How many channels the whole weight has."""
    return w.shape[-1] if dense_channels is None else dense_channels


def _check(operands: Mapping[str, Any], attributes: Mapping[str, Any]) -> None:
    """C would write outside w."""
    check_channels(operands["channels"], _dense(operands["w"], **attributes))


@describes("sgd_update_weight_stochastic.update", check=_check)
def _update(t: Any, dense_channels: int | None = None) -> Described:
    struct = weight_slice(t.w, t.channels if dense_channels is None else None)
    return struct, "w", "dw", "q", "lr", "seed", "step", "channels", _dense(t.w, dense_channels), "w_new"
