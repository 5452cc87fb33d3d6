"""Clamp, ReLU and ReLU6 as the output range of the operator before them (specs/ops/activation.md).

They are no operators: ``lo`` and ``hi`` of conv2d, add, ... do the work, and their mask is the gradient.
"""

from __future__ import annotations

import math
from fractions import Fraction

from ..errors import require
from ..rules import rule
from ._quantization import check_codes

Range = tuple[int, int]

BOUNDS = {"none": (-math.inf, math.inf), "relu": (0.0, math.inf), "relu6": (0.0, 6.0)}
"""The real values that an activation lets through, by kind."""


@rule("ACT-C1", "ACT-S2")
def output_range(kind: str, scale: float, zero_point: int) -> Range:
    """(lo, hi) of ``none``, ``relu`` or ``relu6``; ``scale`` and ``zero_point`` are those of the output."""
    require(kind in BOUNDS, "ACT-C1", f"the activation is {kind!r}", f"give one of {', '.join(BOUNDS)}")
    return clamp_range(*BOUNDS[kind], scale, zero_point)


@rule("ACT-C2", "ACT-C3", "ACT-C4", "ACT-S1")
def clamp_range(least: float, most: float, scale: float, zero_point: int) -> Range:
    """(lo, hi) of a clamp to the real values [least, most]; an infinity is no bound on its side."""
    require(0 < scale < math.inf, "ACT-C2", f"scale is {scale}", "give a positive finite number")
    check_codes("ACT-C3", zero_point=zero_point)
    require(
        least <= most and least < math.inf and most > -math.inf,
        "ACT-C4",
        f"the clamp is to [{least}, {most}]",
        "give least <= most, with a number between them",
    )
    return _code(least, scale, zero_point), _code(most, scale, zero_point)


@rule("ACT-S1")
def _code(bound: float, scale: float, zero_point: int) -> int:
    """rne(bound / scale) + zero_point, of the exact quotient, clamped to the codes."""
    if math.isinf(bound):
        return 127 if bound > 0 else -128
    quotient = Fraction(float(bound)) / Fraction(float(scale))
    return min(max(round(quotient) + zero_point, -128), 127)  # Python rounds a fraction half to even
