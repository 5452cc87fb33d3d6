"""The channels of an activation that a sparse update will need again (specs/ops/save_channels.md).

Shapes: x int8 [..., C], channels int32 [K], y int8 [..., K].
"""

from __future__ import annotations

import numpy as np

from ..errors import require
from ..numerics import I8, I32
from ..rules import rule
from ._checks import has_channels
from ._function import Type, function


@rule("SAVE-C1", "SAVE-C2")
def types(x: Type, channels: Type) -> tuple[Type]:
    """Type of y, or the constraint that the operands break."""
    require(
        has_channels(x, "int8"),
        "SAVE-C1",
        f"x is {x}",
        "give int8 with channels on the last of at least two axes, no axis empty",
    )
    require(
        channels.dtype == "int32" and len(channels.shape) == 1 and 1 <= channels.shape[0] <= x.shape[-1],
        "SAVE-C2",
        f"channels is {channels}, x has {x.shape[-1]} channels",
        "give int32 [K] with at least one channel and no more than x has",
    )
    return (Type((*x.shape[:-1], channels.shape[0]), "int8"),)


@rule("SAVE-C3")
def check_channels(channels: I32, of: int) -> None:
    """``channels`` ascends strictly from 0 or more to less than ``of``; otherwise SAVE-C3 is broken."""
    ascends = bool(np.all(channels[1:] > channels[:-1]))
    require(
        ascends and channels[0] >= 0 and channels[-1] < of,
        "SAVE-C3",
        f"channels is {channels.tolist()}",
        f"list each channel once, in ascending order, from 0 to {of - 1}",
    )


@function("x channels", "y", types, aliases="y=x:SAVE-A1")
@rule("SAVE-S1", "SAVE-A1", "SAVE-F1")
def forward(x: I8, channels: I32) -> I8:
    """y: the channels of x that ``channels`` lists, every bit as it was."""
    check_channels(channels, x.shape[-1])
    return x[..., channels]
