"""Hypothesis strategies of cases: shapes that a person would not think of, values that hurt.

:class:`Draw` draws the parts of a case.  Shapes are drawn integer by integer, so that hypothesis shrinks them.  An
array is one of a few patterns, filled by a seeded generator, with a few elements set on top: quick to make, and what
is left of a failure is made plain element by element in :mod:`~goldgrad.conformance.minimise`.  (Hypothesis takes
the first and the last of several choices more often than the others, so these are the ordinary ones.)
``cases/<op>.py`` holds the strategy of each function; the preconditions of its rules hold by construction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from enum import Enum
from functools import cache, lru_cache
from typing import Any, TypeVar

import numpy as np
from hypothesis import strategies as st

from ..numerics import F32, I8, I32, INT32_MAX, INT32_MIN, Array, float32
from ..ops._function import Shape
from ..ops._weight_slice import scale_axis
from .case import Case

WORK = 40_000
"""Multiply-accumulates of an ordinary case: milliseconds in the reference."""


class Flavour(Enum):
    """What the floats of a case are like."""

    HARD = "whatever hurts"
    """Every magnitude, -0, subnormals, infinities and NaN."""
    WHOLE = "whole numbers"
    """Small integers, so that every order of a sum gives the same and exact result."""
    REAL = "like a gradient"
    """Normally distributed: neither overflow nor underflow, so that an error bound says something."""


TINY, SUBNORMAL = np.float32(2.0**-126), np.float32(2.0**-149)
HUGE = np.finfo(np.float32).max
NASTY = np.array(
    [
        *(0.0, -0.0, 1, -1, 0.5, -0.5, 1.5, 3, 1 + 2**-23, 1 - 2**-24),
        *(SUBNORMAL, -SUBNORMAL, 3 * SUBNORMAL, TINY - SUBNORMAL, TINY, -TINY, 2**-75, 2**-60),
        *(2.0**24, 2.0**24 + 2, -(2.0**31), 2.0**75, HUGE, -HUGE),
    ],
    np.float32,
)
SPECIAL = np.array([np.inf, -np.inf, np.nan], np.float32)

T = TypeVar("T")
Drawn = Callable[["Draw"], Case]
CASES: dict[str, Drawn] = {}
"""How a case of each function is drawn, filled when ``goldgrad.conformance.cases`` is imported."""


def cases_of(function: str) -> Callable[[Drawn], Drawn]:
    """Enter the decorated drawing as that of ``function``."""

    def enter(drawn: Drawn) -> Drawn:
        CASES[function] = drawn
        return drawn

    return enter


ONLY: ContextVar[Mapping[str, Sequence[int]]] = ContextVar("ONLY", default={})  # noqa: B039  (never changed in place)
"""What drawings keep to, for a provider that is made for it: lists of kernel, stride, pad, dilation, size (of a map,
along an axis), channels (of every kind) and batch."""

Prepared = Callable[[Drawn], st.SearchStrategy[Case]]
PREPARE: dict[str, Prepared] = {}
"""How the cases of a property are drawn that needs more than operands."""


@st.composite
def cases(draw: st.DrawFn, drawn: Drawn, flavour: Flavour = Flavour.HARD) -> Case:
    """The cases that a drawing gives."""
    return drawn(Draw(draw, flavour))


# Made once: of the time that a draw takes, to make and examine its strategy is half.
_BOOLEANS = st.booleans()
_integers = lru_cache(maxsize=4096)(st.integers)


@cache
def _positions(count: int) -> st.SearchStrategy[int]:
    """The places of a sequence, shrinking towards its begin."""
    return st.sampled_from(range(count))


class Draw:
    """Draws the parts of one case."""

    def __init__(self, draw: st.DrawFn, flavour: Flavour) -> None:
        self._draw = draw
        self.flavour = flavour
        self.only = ONLY.get()
        self.beside_ties = self.is_open = False
        self.random = np.random.default_rng(draw(_integers(0, 2**16)))

    def whole(self, least: int, most: int) -> int:
        """An integer, shrinking towards ``least``."""
        return self._draw(_integers(least, max(least, most)))

    def of(self, choices: Sequence[T]) -> T:
        """One of these, shrinking towards the first."""
        return choices[self._draw(_positions(len(choices)))]

    def chance(self) -> bool:
        """Yes or no, shrinking towards no."""
        return self._draw(_BOOLEANS)

    # Shapes

    def batch(self) -> int:
        """Samples: mostly one."""
        return self.of(self.only.get("batch", (1, 1, 1, 2, 3)))

    def count(self, most: int) -> int:
        """A number of channels up to ``most``: few, eights, around a multiple of 8, or as many as there may be."""
        if "channels" in self.only:
            return self.of([n for n in self.only["channels"] if n <= most] or [min(self.only["channels"])])
        kinds: tuple[str, ...] = ("few", "few", "few", "eights", "few", "byte", "eights", "byte", "many")
        if self.flavour is Flavour.REAL:  # what is judged by many elements
            kinds = ("few", "many", "eights", "byte", "many")
        kind = self.of(kinds)
        if kind == "eights" and most >= 8:
            return 8 * self.whole(1, min(most, 64) // 8)
        if kind in ("few", "eights"):
            return self.whole(1, min(most, 6))
        if kind == "byte":
            return min(most, self.of((7, 8, 9, 11, 13, 15, 16, 17, 23, 31, 32, 33, 64, 65)))
        return self.whole(1, min(most, 2500))

    def map_shape(self) -> Shape:
        """[N, H, W, C], or [N, C] behind a fully connected layer."""
        batch, pixels = self.batch(), (self.whole(1, 9), self.whole(1, 9)) if self.chance() else ()
        return (batch, *pixels, self.count(2500 // math.prod((batch, *pixels))))

    @staticmethod
    def shape_of(array: Array | None) -> Shape:
        """The shape of an operand that is there."""
        assert array is not None
        return array.shape

    def window(self) -> dict[str, Any]:
        """``in_hw``, ``kernel``, ``stride``, ``pad`` and ``dilation`` of a legal window."""
        rows, columns = self._axis(), self._axis()
        return {
            "in_hw": (rows[0], columns[0]),
            "kernel": (rows[1], columns[1]),
            "stride": (rows[2], columns[2]),
            "pad": (rows[3], rows[4], columns[3], columns[4]),
            "dilation": (rows[5], columns[5]),
        }

    def _axis(self) -> tuple[int, int, int, int, int, int]:
        """Size, kernel, stride, padding before and after, dilation: at least one output."""
        only = self.only
        size = self.of(only["size"]) if "size" in only else self.whole(1, 9)
        kernel = self.of(only.get("kernel", (1, 1, 2, 3, 3, 4, 5, 7)))
        stride = self.of(only.get("stride", (1, 1, 1, 2, 3, 5)))
        dilation = self.of(only.get("dilation", (1, 1, 1, 2, 3)))
        before, after = self.of(only.get("pad", (0, 0, 1, 2, 3, 7))), self.of(only.get("pad", (0, 0, 1, 2, 3)))
        lacking = (kernel - 1) * dilation + 1 - (size + before + after)
        if lacking > 0:
            share = self.whole(0, lacking)
            before, after = before + share, after + lacking - share
        return size, kernel, stride, before, after, dilation

    # Values

    def zero_point(self) -> int:
        """A code, often an extreme one."""
        return self.of((0, -128, 127, 1, -3, 2, 0)) if self.chance() else self.whole(-128, 127)

    def output_range(self) -> dict[str, int]:
        """``lo`` and ``hi``: open, ReLU, or any."""
        if self.is_open:
            return {"lo": -128, "hi": 127}
        lo, hi = self.of(((-128, 127), (-128, -128), (127, 127), (-1, 0), (-3, 5), *[(0, 127)] * 3, *[(-128, 127)] * 6))
        return {"lo": lo, "hi": hi}

    def output_codes(self) -> dict[str, int]:
        """``y_zero``, ``lo`` and ``hi``."""
        return {"y_zero": self.zero_point(), **self.output_range()}

    def integers(self, shape: Shape, least: int, most: int, dtype: str) -> Array:
        """An array of integers in [least, most]."""
        kind = self.of((*["random"] * 4, "zeros", "constant", "extremes", "extremes", "small", *["random"] * 3))
        if kind == "random":
            array = self.random.integers(least, most + 1, shape)
        elif kind == "extremes":
            array = self.random.choice(np.array([least, most, least, most, 0, 1, -1]).clip(least, most), shape)
        elif kind == "small":
            array = self.random.integers(max(least, -2), min(most, 2) + 1, shape)
        else:
            array = np.full(shape, 0 if kind == "zeros" else self.whole(least, most)).clip(least, most)
        array = array.astype(dtype)
        for at in self._places(array):
            array.flat[at] = self.whole(least, most)
        return array

    def codes(self, shape: Shape) -> I8:
        """Activations: any int8."""
        return self.integers(shape, -128, 127, "int8")

    def weights(self, shape: Shape) -> I8:
        """Weights: int8 in [-127, 127]."""
        return self.integers(shape, -127, 127, "int8")

    def split(self, shape: Shape) -> tuple[I8 | None, I32 | None]:
        """The channels that train of a weight of this shape and their list, or nothing: the weight is whole."""
        if not self.chance():
            return None, None
        channels = self.channels(shape[-1])
        return self.weights((*shape[:-1], channels.size)), channels

    def biases_and_multipliers(self, w: Array, x_zero: int, is_beyond: bool = False) -> tuple[I32, F32]:
        """One int32 and one float32 an output channel, which is ``w``'s first axis.

        Biases go up to the last value at which no accumulator can overflow (CONV-C6).  Now and then accumulators lie
        beside a tie, nearer than float32 can tell: the conversion to float32 decides which way they are rounded.
        """
        flat = w.reshape(w.shape[0], -1).astype(np.int64)
        ends = np.stack([flat * (code - x_zero) for code in (-128, 127)])
        least: Array = INT32_MIN - ends.min(axis=0).sum(axis=1)
        most: Array = INT32_MAX - ends.max(axis=0).sum(axis=1)
        bias: Array = np.zeros(w.shape[0])
        kinds = ("zeros", "ties", "random", "any", "beyond", "ends", "some ends", "beyond", "ties", "random")
        kind = self.of((*kinds, "ties", "random", "random"))
        if is_beyond or kind == "beyond":
            return self._beyond(w, x_zero, least, most)
        if kind == "ties" and self.flavour is Flavour.HARD:
            m = self.magnitudes((w.shape[0],), -25, -21)
            codes = self.random.integers(-60, 60, w.shape[0]) + 0.5
            self.beside_ties = True
            bias = np.rint(codes / m.astype(np.float64)) + self.random.integers(-64, 65, w.shape[0])
            return np.clip(bias, least, most).astype(np.int32), m
        if kind != "zeros":
            bias = self.random.integers(np.maximum(least, -5000), np.minimum(most, 5000) + 1)
        if kind == "any":
            bias = self.random.integers(least, most + 1)
        if kind in ("ends", "some ends"):
            chosen = np.where(self.random.random(w.shape[0]) < 0.5, least, most)
            bias = np.where(self.random.random(w.shape[0]) < (1.0 if kind == "ends" else 0.3), chosen, bias)
        return bias.astype(np.int32), self.multipliers(w.shape[0], math.sqrt(flat.shape[1]) * 8000.0)

    def _beyond(self, w: Array, x_zero: int, least: Array, most: Array) -> tuple[I32, F32]:
        """Some channels whose codes take more than 16 bits, by their bias or by their products; no clamp but int8's."""
        self.is_open = True
        count = w.shape[0]
        bound = 127 * (w.size // count) * max(127 - x_zero, x_zero + 128)
        share = self.of(((0.3, 0.0), (0.0, 0.4), (0.3, 0.0), (0.0, 0.4)))
        by_bias, by_products = self.random.random(count) < share[0], self.random.random(count) < share[1]
        far = 20 * bound * self.random.choice([-1, 1], count)
        near = self.random.integers(np.maximum(least, -5000), np.minimum(most, 5000) + 1)
        m = self.random.uniform(0.1, 1.0, count) * 127 / bound
        usual = bound / math.sqrt(w.size // count)  # products of many signs are far below their bound
        m = np.where(by_products, self.random.uniform(1, 4, count) * 64000 / usual, m)
        m = np.where(by_bias, self.random.uniform(33000, 64000, count) / (21.0 * bound), m)
        return np.clip(np.where(by_bias, far, near), least, most).astype(np.int32), float32(m)

    def settled(self, x: I8, x_zero: int) -> I8:
        """``x``; but where accumulators are to lie beside a tie nothing but x_zero, so that they are the biases."""
        return np.full_like(x, x_zero) if self.beside_ties else x

    def multipliers(self, count: int, typical: float = 100.0) -> F32:
        """Positive finite float32: such that sums of the typical magnitude fill the range of codes, or that ties
        abound, or that everything saturates or vanishes.
        """
        if self.flavour is Flavour.WHOLE:
            return self.random.integers(1, 4, count).astype(np.float32)
        kind = self.of((*["fitting"] * 3, "half", "powers", "ends", *["fitting"] * 3))
        if kind == "fitting" or self.flavour is Flavour.REAL:
            return float32(np.exp2(self.random.uniform(-2, 3, count)) * 50.0 / typical)
        if kind == "half":
            return np.full(count, 0.5, np.float32)
        if kind == "powers":
            return float32(np.exp2(self.random.integers(-40, 8, count)))
        return self.random.choice(np.array([SUBNORMAL, TINY, 2**-31, 1, 2**31, HUGE], np.float32), count)

    def floats(self, shape: Shape) -> F32:
        """Gradients: of every magnitude, or as the flavour says."""
        if self.flavour is Flavour.WHOLE:
            return self.random.integers(-3, 4, shape).astype(np.float32)
        if self.flavour is Flavour.REAL:
            return self.normal(shape, self.whole(-20, 20))
        kind = self.of(
            ("normal", "normal", "zeros", "scaled", "nasty", "bits", "subnormal", "special", "special", "normal")
        )
        if kind == "zeros":
            array = np.zeros(shape, np.float32)
        elif kind == "bits":
            array = self.random.integers(0, 2**32, shape, np.uint32).view(np.float32)
            array = np.where(np.isfinite(array), array, np.float32(1))
        elif kind == "nasty":
            array = self.random.choice(NASTY, shape)
        elif kind == "scaled":
            array = self.normal(shape, self.whole(-130, 125))
        else:
            array = self.normal(shape, -145 if kind == "subnormal" else 0)
        if kind == "special":
            array = self.with_specials(array)
        if self.of((False, True, False)):  # as behind a clamp
            zeros = self.random.choice(np.array([0.0, -0.0], np.float32), shape)
            array = np.where(self.random.random(shape) < 0.5, zeros, array)
        for at in self._places(array):
            array.flat[at] = self.of([*NASTY])
        return array

    def with_specials(self, array: F32) -> F32:
        """The array with a few infinities and NaN in it."""
        places = self.random.integers(0, array.size, self.of((1, 3, 10)))
        array.flat[places] = self.random.choice(SPECIAL, places.size)
        return array

    def normal(self, shape: Shape, exponent: int = 0) -> F32:
        """Normally distributed, times a power of two."""
        return float32(self.random.normal(size=shape) * 2.0**exponent)

    def magnitudes(self, shape: Shape, least: int, most: int) -> F32:
        """Positive numbers between two powers of two."""
        return float32(np.exp2(self.random.uniform(least, most, shape)))

    def halves(self, shape: Shape) -> F32:
        """Multiples of a half within the codes: every other one is a tie."""
        return float32(self.random.integers(-260, 261, shape) * 0.5)

    def perhaps(self, shape: Shape) -> F32 | None:
        """Where a chain starts: nothing, or floats."""
        return self.floats(shape) if self.chance() else None

    def masks(self, pixels: Shape, channels: int) -> Array:
        """Packed clamp masks: all through, none, or any; the bits past the last channel are anything (MASK-S3)."""
        likely = self.of((0.6, 0.6, 1.0, 0.0, 0.6))
        bits = self.random.random((*pixels, channels)) < likely
        padding = self.random.random((*pixels, -channels % 8)) < self.of((0.0, 0.5))
        return np.packbits(np.concatenate([bits, padding], axis=-1), axis=-1, bitorder="little")

    def channels(self, count: int) -> I32:
        """Ascending channel numbers below ``count``, at least one."""
        kind = self.of(("all", "first", "one", "random", "random"))
        if kind == "all":
            chosen = np.arange(count)
        elif kind == "first":
            chosen = np.arange(self.whole(1, count))
        elif kind == "one":
            chosen = np.array([self.whole(0, count - 1)])
        else:
            chosen = np.flatnonzero(self.random.random(count) < 0.5)
            chosen = chosen if chosen.size else np.array([count - 1])
        return chosen.astype(np.int32)

    def _places(self, array: Array) -> list[int]:
        """Up to two positions to set by hand."""
        return [self.whole(0, array.size - 1) for _ in range(self.of((0, 0, 1, 2)))]


def _with_tangent(flavour: Flavour) -> Prepared:
    """Cases with a tangent ``v`` of the gradient's shape, both of the same flavour and neither all ones."""

    def drawing(drawn: Drawn) -> st.SearchStrategy[Case]:
        def with_tangent(d: Draw) -> Case:
            case = drawn(d)
            return case.also(v=d.floats(case.types[0].shape))

        return cases(with_tangent, flavour)

    return drawing


PREPARE["adjoint"] = _with_tangent(Flavour.WHOLE)
PREPARE["adjoint_bound"] = _with_tangent(Flavour.REAL)


def _with_slice(drawn: Drawn) -> st.SearchStrategy[Case]:
    """Dense gradients of weights, with the weights themselves and the channels of a sparse update."""

    def with_slice(d: Draw) -> Case:
        case = drawn(d)
        if case.operands.get("channels") is not None:
            case = case.having(x=d.codes((*d.shape_of(case.operands["x"])[:-1], d.shape_of(case.operands["g"])[-1])))
        case = case.having(dw0=None, **({"channels": None} if "channels" in case.entry.inputs else {}))
        shape = case.types[0].shape
        lr, q = d.magnitudes((1,), -10, 0), d.magnitudes((shape[scale_axis(shape)],), -4, 8)
        return case.also(channels=d.channels(shape[-1]), w=d.weights(shape), q=q, lr=lr)

    return cases(with_slice)


PREPARE["sparse"] = _with_slice


def _real(drawn: Drawn) -> st.SearchStrategy[Case]:
    """Cases whose floats neither overflow nor underflow."""
    return cases(drawn, Flavour.REAL)


PREPARE["bias"] = _real


def _with_parameter(drawn: Drawn) -> st.SearchStrategy[Case]:
    """Gradients of weights or biases, with the parameter that they belong to: steps of a few codes."""

    def with_parameter(d: Draw) -> Case:
        case = drawn(d)
        shape = case.types[0].shape
        typical = float(np.abs(np.concatenate([a.ravel() for a in case.reference()])).mean()) or 1.0
        if len(shape) == 1:
            w, scales = d.integers(shape, -5000, 5000, "int32"), shape
        else:
            w, scales = d.weights(shape), (shape[scale_axis(shape)],)
        lr, q = d.magnitudes((1,), -3, 1), float32(d.magnitudes(scales, -2, 2) / np.float32(typical))
        return case.also(w=w, q=q, lr=lr)

    return cases(with_parameter, Flavour.REAL)


PREPARE["update"] = _with_parameter
