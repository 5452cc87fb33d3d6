"""Cases of add (specs/ops/add.md)."""

from __future__ import annotations

from ..case import Case
from ..strategies import Draw, cases_of


@cases_of("add.forward")
def forward(d: Draw) -> Case:
    """Operands of unlike scales; the multipliers alone decide what saturates."""
    shape = d.map_shape()
    arrays = (d.codes(shape), d.codes(shape), d.multipliers(1), d.multipliers(1))
    zeros = {"x1_zero": d.zero_point(), "x2_zero": d.zero_point()}
    return Case("add.forward", arrays, {**zeros, **d.output_codes()})


@cases_of("add.vjp_x")
def vjp_x(d: Draw) -> Case:
    """The gradient of one operand, from nothing or onto that of another user."""
    shape = d.map_shape()
    arrays = (d.floats(shape), d.masks(shape[:-1], shape[-1]), d.multipliers(1), d.perhaps(shape))
    return Case("add.vjp_x", arrays)
