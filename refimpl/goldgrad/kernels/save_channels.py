"""save_channels in C (kernels_c/include/goldgrad/save_channels.h)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..ops.save_channels import check_channels
from ._binding import namespace
from ._call import Described, describes
from ._parameters import pixels

__getattr__ = namespace("save_channels").__getattr__


def _check(operands: Mapping[str, Any], attributes: Mapping[str, Any]) -> None:
    """C would read outside x."""
    check_channels(operands["channels"], operands["x"].shape[-1])


@describes("save_channels.forward", check=_check)
def _forward(t: Any) -> Described:
    return pixels(t.x), t.x.shape[-1], t.channels.shape[0], "x", "channels", "y"
