"""Checks of operand types that the operators share; each raises the rule that its caller names."""

from __future__ import annotations

from ..errors import require
from ._function import Shape, Type


def has_axes(given: Type, dtype: str, axes: int) -> bool:
    """Whether an array has that element type and so many axes, none of them empty."""
    return given.dtype == dtype and len(given.shape) == axes and min(given.shape) >= 1


def has_channels(given: Type, dtype: str) -> bool:
    """Whether an array has that element type, and channels after at least one other axis, none of them empty."""
    return given.dtype == dtype and len(given.shape) >= 2 and min(given.shape) >= 1


SCALAR = Type((1,), "float32")
"""One multiplier or scale."""


def check_operand(rule_id: str, name: str, given: Type, wanted: Type) -> None:
    """Require that operand ``name`` is ``wanted``."""
    require(given == wanted, rule_id, f"{name} is {given}", f"give {wanted}")


def check_start(rule_id: str, name: str, given: Type | None, wanted: Type) -> None:
    """Require that the optional operand ``name``, where a chain starts, is that chain's type or absent."""
    require(given in (None, wanted), rule_id, f"{name} is {given}", f"give {wanted} or nothing")


def check_gradient(rule_id: str, name: str, given: Type, sample: Shape) -> int:
    """Require a float32 gradient whose samples have shape ``sample``; return how many there are."""
    samples = max((1, *given.shape[:1]))
    check_operand(rule_id, name, given, Type((samples, *sample), "float32"))
    return samples
