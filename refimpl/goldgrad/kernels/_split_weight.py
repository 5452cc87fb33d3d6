"""The parameters of a split weight: trained, channels, and how many there are (specs/ops/conv2d.md, CONV-S7)."""

from __future__ import annotations

from typing import Any

from ..numerics import Array
from ..ops.save_channels import check_channels
from ._binding import pointer


def split(w: Array, trained: Array | None, channels: Array | None) -> tuple[Any, Any, int]:
    """NULL, NULL and 0 where w is whole."""
    if channels is not None:
        check_channels(channels, w.shape[-1])
    return pointer("int8_t", trained), pointer("int32_t", channels), 0 if channels is None else channels.size
