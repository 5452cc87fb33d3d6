"""Cases of save_channels (specs/ops/save_channels.md)."""

from __future__ import annotations

from ..case import Case
from ..strategies import Draw, cases_of


@cases_of("save_channels.forward")
def forward(d: Draw) -> Case:
    """Any ascending channels."""
    shape = d.map_shape()
    return Case("save_channels.forward", (d.codes(shape), d.channels(shape[-1])))
