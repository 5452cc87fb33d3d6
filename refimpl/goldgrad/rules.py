"""Ties between code and the rules of ``specs/``: ``@rule("CONV-S2")`` on the function that implements it.

A rule ID is an operator's prefix, a hyphen, a class letter and a number.  The class letters are
I input, C constraint, S semantics, A alias, F frame, N numerics, M memory.  ``goldgrad spec --check``
reads the ties from the sources; the decorator itself only records them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

RULE_ID = re.compile(r"\b[A-Z][A-Z0-9]*-[ICSAFNM][0-9]+\b")
"""What a rule ID looks like, in specs, Python, C and tests alike."""

F = TypeVar("F", bound=Callable[..., object])


def rule(*ids: str) -> Callable[[F], F]:
    """Mark a function as the implementation of the rules ``ids``."""
    for rule_id in ids:
        if not RULE_ID.fullmatch(rule_id):
            raise ValueError(f"{rule_id!r} is not a rule ID")

    def mark(function: F) -> F:
        function.__rules__ = (*getattr(function, "__rules__", ()), *ids)  # type: ignore[attr-defined]
        return function

    return mark
