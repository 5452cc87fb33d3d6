"""The parameters of a split weight: trained, channels, and how many there are (specs/ops/conv2d.md, CONV-S7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..numerics import Array
from ..ops.save_channels import check_channels


def split(types: Any) -> tuple[str, str, int]:
    """The two operands and their length, 0 where w is whole."""
    return "trained", "channels", 0 if types.channels is None else types.channels.shape[0]


def check_split(operands: Mapping[str, Array | None], attributes: Mapping[str, Any]) -> None:
    """The channels that train are channels of w: C would write outside its scratch."""
    w, channels = operands["w"], operands["channels"]
    if w is not None and channels is not None:
        check_channels(channels, w.shape[-1])
