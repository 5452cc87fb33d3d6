"""Cases of add (specs/ops/add.md)."""

from __future__ import annotations

import numpy as np

from ...numerics import Array, float32, mul32
from ...ops._function import Shape
from ..case import Case
from ..strategies import Draw, Flavour, cases_of


@cases_of("add.forward")
def forward(d: Draw) -> Case:
    """Operands of unlike scales; the multipliers alone decide what saturates."""
    shape = d.map_shape()
    zeros = {"x1_zero": d.zero_point(), "x2_zero": d.zero_point()}
    kind = d.of(("any", "ties", "thirds", "beyond", "ties", "any"))
    arrays = near_ties(d, shape, **zeros) if kind == "ties" else operands(d, shape)
    if kind == "thirds":  # every third sum is beside a half: the order of the two products decides
        arrays = (*arrays[:2], float32([1 / 3]), float32([1 / 6]))
    if kind == "beyond":  # sums are no int16, but not all of them
        arrays = (*arrays[:2], d.magnitudes((1,), 6, 12), d.magnitudes((1,), 6, 12))
    return Case("add.forward", arrays, {**zeros, **d.output_codes()})


def operands(d: Draw, shape: Shape) -> tuple[Array, ...]:
    """Any codes and multipliers."""
    return d.codes(shape), d.codes(shape), d.multipliers(1), d.multipliers(1)


def near_ties(d: Draw, shape: Shape, x1_zero: int, x2_zero: int) -> tuple[Array, ...]:
    """Sums that all but cancel, beside a half: a product rounded before it is added goes the other way."""
    half, second = d.random.integers(-100, 100) + 0.5, d.random.integers(3, 120)
    m1, m2 = np.ones(1, np.float32), float32(np.array([abs(half) / second]))
    x1 = np.clip(x1_zero - half + d.random.integers(-3, 3, shape) + 0.5, -128, 127).astype(np.int8)
    x2 = np.full(shape, np.clip(x2_zero + np.copysign(second, half), -128, 127), np.int8)
    return x1, x2, m1, m2


@cases_of("add.vjp_x")
def vjp_x(d: Draw) -> Case:
    """The gradient of one operand, from nothing or onto that of another user; some all but cancel it, so that a product
    that is rounded before it is added leaves nothing.
    """
    shape = d.map_shape()
    gy, mask, m, dx0 = d.floats(shape), d.masks(shape[:-1], shape[-1]), d.multipliers(1), d.perhaps(shape)
    if dx0 is not None and d.flavour is Flavour.HARD and d.chance():
        dx0 = -mul32(gy, m)
    return Case("add.vjp_x", (gy, mask, m, dx0))
