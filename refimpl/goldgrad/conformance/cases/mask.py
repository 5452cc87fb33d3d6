"""Cases of mask (specs/ops/mask.md)."""

from __future__ import annotations

from ..case import Case
from ..strategies import Draw, cases_of


@cases_of("mask.pack")
def pack(d: Draw) -> Case:
    """Any number of channels."""
    return Case("mask.pack", (d.integers(d.map_shape(), 0, 1, "bool"),))


@cases_of("mask.unpack")
def unpack(d: Draw) -> Case:
    """Any bits, those past the last channel too."""
    *pixels, channels = d.map_shape()
    return Case("mask.unpack", (d.masks(tuple(pixels), channels),), {"channels": channels})
