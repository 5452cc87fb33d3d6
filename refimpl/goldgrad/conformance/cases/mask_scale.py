"""Cases of mask_scale (specs/ops/mask_scale.md)."""

from __future__ import annotations

from ..case import Case
from ..strategies import Draw, cases_of


@cases_of("mask_scale.forward")
def forward(d: Draw) -> Case:
    """Any mask; masked-out gradients may be infinite or NaN."""
    shape = d.map_shape()
    arrays = (d.floats(shape), d.masks(shape[:-1], shape[-1]), d.multipliers(shape[-1]))
    return Case("mask_scale.forward", arrays)
