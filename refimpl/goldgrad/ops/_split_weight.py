"""A split weight: the channels that train, compact, beside the weight that they replace (specs/training.md, TRAIN-S13).

Shapes: w int8 [..., C], channels int32 [K], trained int8 [..., K]: what stands in place of w's channels ``channels``.
"""

from __future__ import annotations

from ..errors import require
from ..numerics import I8, I32
from ._function import Type
from ._weight_slice import put
from .save_channels import check_channels


def check_split(rule_id: str, w: Type, trained: Type | None, channels: Type | None) -> None:
    """Trained and channels are both absent, or both there and fit w; otherwise ``rule_id`` is broken."""
    if trained is None and channels is None:
        return
    of, kept = w.shape[-1], max((0, *channels.shape[:1])) if channels else 0
    require(
        (trained, channels) == (Type((*w.shape[:-1], kept), "int8"), Type((kept,), "int32")) and 1 <= kept <= of,
        rule_id,
        f"trained is {trained}, channels is {channels}, w is {w}",
        f"give int8 with K channels on w's last axis and int32 [K], K from 1 to {of}, or neither",
    )


def merge(w: I8, trained: I8 | None, channels: I32 | None) -> I8:
    """The weight that a layer uses: w with the channels that ``channels`` lists replaced by ``trained``."""
    if trained is None or channels is None:
        return w
    check_channels(channels, w.shape[-1])
    return put(w, trained, channels)
