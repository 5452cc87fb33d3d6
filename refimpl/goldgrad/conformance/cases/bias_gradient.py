"""Cases of bias_gradient (specs/ops/bias_gradient.md)."""

from __future__ import annotations

from ..case import Case
from ..strategies import Draw, cases_of


@cases_of("bias_gradient.forward")
def forward(d: Draw) -> Case:
    """Maps of any size, and rows of a fully connected layer."""
    shape = d.map_shape()
    return Case("bias_gradient.forward", (d.floats(shape), d.perhaps(shape[-1:])))
