"""Cases of the weight updates (specs/ops/sgd_update_weight.md and the pages of its variants)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ...numerics import F32, Array, float32
from ...ops._function import Shape
from ...ops._weight_slice import scale_axis
from ...ops.sgd_update_weight_stochastic import draws, mix
from ..case import Case
from ..strategies import Draw, cases_of

Operands = dict[str, Array | None]


def layout(d: Draw) -> Shape:
    """OHWI, OI or HWC."""
    axes = d.of(("OI", "OHWI", "HWC"))
    if axes == "OI":
        return d.count(40), d.count(600)
    if axes == "HWC":
        return d.whole(1, 5), d.whole(1, 5), d.count(600)
    return d.count(40), d.whole(1, 3), d.whole(1, 3), d.count(60)


def operands(d: Draw) -> Operands:
    """What every weight update has: a step of any size, or one near a weight's rounding boundaries."""
    shape = layout(d)
    channels = d.channels(shape[-1]) if d.chance() else None
    compact = shape if channels is None else (*shape[:-1], channels.size)
    w = d.weights(shape)
    lr, q, dw = steps(d, (shape[scale_axis(shape)],), compact)
    if d.of((False, True, False)):
        dw = near_ties(d, w if channels is None else w[..., channels])
        lr, q = np.ones(1, np.float32), np.full_like(q, 1 / 3)
    return {"w": w, "dw": dw, "q": q, "lr": lr, "channels": channels}


def near_ties(d: Draw, w: Array) -> F32:
    """Gradients that take weights beside a half: a product rounded before it is added goes the other way."""
    return float32((w - d.random.integers(-9, 9, w.shape) - 0.5) * 3)


def steps(d: Draw, scales: Shape, gradient: Shape) -> tuple[F32, F32, F32]:
    """Learning rate, factors and gradient: ordinary, with a few infinities or NaN, all ties, or whatever hurts."""
    kind = d.of(("ordinary", "special", "special", "ties", "hard", "ordinary"))
    if kind in ("ordinary", "special"):
        lr, q, dw = d.magnitudes((1,), -10, 0), d.magnitudes(scales, 0, 10), d.normal(gradient, d.whole(-4, 12))
        return lr, q, d.with_specials(dw) if kind == "special" else dw
    if kind == "ties":
        return d.magnitudes((1,), 0, 0), d.magnitudes(scales, 0, 0), d.halves(gradient)
    return d.floats((1,)), d.floats(scales), d.floats(gradient)


def case(function: str, given: Operands, **more: Any) -> Case:
    """The case with its operands in the order of the function's table entry."""
    return Case(function, ()).having(**given, **more)


@cases_of("sgd_update_weight.update")
def update(d: Draw) -> Case:
    """Every layout, dense or a slice."""
    return case("sgd_update_weight.update", operands(d))


@cases_of("sgd_update_weight_master.update")
def master(d: Draw) -> Case:
    """A master copy near its weights' rounding boundaries, or anywhere."""
    given = operands(d)
    shape = d.shape_of(given["dw"])
    copy = d.halves(shape) if d.chance() else d.floats(shape)
    return case("sgd_update_weight_master.update", given, master=copy)


@cases_of("sgd_update_weight_momentum.update")
def momentum(d: Draw) -> Case:
    """Any velocity."""
    given = operands(d)
    velocity, mu = d.floats(d.shape_of(given["dw"])), d.of((d.magnitudes((1,), -1, -1), d.floats((1,))))
    return case("sgd_update_weight_momentum.update", given, velocity=velocity, mu=mu)


@cases_of("sgd_update_weight_stochastic.update")
def stochastic(d: Draw) -> Case:
    """Any seed and step; of a slice, the dense weight or the part that trains alone."""
    seed, step = (d.integers((1,), -(2**31), 2**31 - 1, "int32") for _ in range(2))
    given, attributes = operands(d), {}
    w, channels, q = (given[name] for name in ("w", "channels", "q"))
    if w is not None and q is not None and channels is not None and d.chance():
        given |= {"w": w[..., channels], "q": q if scale_axis(w.shape) == 0 else q[channels]}
        attributes = {"dense_channels": w.shape[-1]}
    elif w is not None and q is not None and channels is None and d.of((False, True, False)):
        # Fractions that are the draws, as far as float32 has them, the first one to its last bit: it rounds to zero.
        seeds = d.random.integers(-(2**31), 2**31, 4096).astype(np.int32)
        first = mix(mix(step.view(np.uint32) ^ mix(seeds.view(np.uint32))))
        seed = seeds[[int(np.argmin(first % 256))]]
        draw = draws(w.shape, seed, step)
        given |= {
            "w": np.zeros_like(w),
            "dw": float32(draw / -(2.0**32)),
            "q": np.ones_like(q),
            "lr": np.ones(1, np.float32),
        }
    return replace(case("sgd_update_weight_stochastic.update", given, seed=seed, step=step), attributes=attributes)
