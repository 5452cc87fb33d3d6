"""Cases of fully_connected (specs/ops/fully_connected.md)."""

from __future__ import annotations

from ...ops._split_weight import merge
from ..case import Case
from ..strategies import WORK, Draw, cases_of
from ._window import STEPS


def sizes(d: Draw) -> tuple[int, int, int]:
    """Samples, output and input channels."""
    batch, outputs = d.batch(), d.count(STEPS)
    return batch, outputs, d.count(max(1, WORK // (batch * outputs)))


@cases_of("fully_connected.forward")
def forward(d: Draw) -> Case:
    """A weight that is whole or split, biases up to where an accumulator could overflow."""
    (batch, outputs, inputs), x_zero = sizes(d), d.zero_point()
    x, w = d.codes((batch, inputs)), d.weights((outputs, inputs))
    parts = d.split(w.shape)
    scales = d.biases_and_multipliers(merge(w, *parts), x_zero)
    arrays = (d.settled(x, x_zero), w, *scales, *parts)
    return Case("fully_connected.forward", arrays, {"x_zero": x_zero, **d.output_codes()})


@cases_of("fully_connected.vjp_x")
def vjp_x(d: Draw) -> Case:
    """A weight that is whole or split; the chain starts from nothing or from somewhere."""
    batch, outputs, inputs = sizes(d)
    g, w = d.floats((batch, outputs)), d.weights((outputs, inputs))
    return Case("fully_connected.vjp_x", (g, w, d.perhaps((batch, inputs)), *d.split(w.shape)))


@cases_of("fully_connected.vjp_w")
def vjp_w(d: Draw) -> Case:
    """The chain starts from nothing or from somewhere."""
    batch, outputs, inputs = sizes(d)
    arrays = (d.floats((batch, outputs)), d.codes((batch, inputs)), d.perhaps((outputs, inputs)))
    return Case("fully_connected.vjp_w", arrays, {"x_zero": d.zero_point()})
