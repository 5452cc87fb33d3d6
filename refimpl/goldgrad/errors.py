"""Errors that a user can cause: one line each, naming the thing at fault and the remedy."""

from __future__ import annotations

import reprlib


class GoldgradError(Exception):
    """A fault in what the user gave (model, scheme, shapes, plan).  The CLI prints it and exits with 2."""

    exit_code = 2


class ConstraintError(GoldgradError):
    """A constraint of the specification is broken.

    ``rule`` is the constraint's ID (``CONV-C3``); the text says what is wrong and what to do.
    """

    def __init__(self, rule: str, fault: str, remedy: str) -> None:
        super().__init__(f"{rule}: {fault}; {remedy}")
        self.rule = rule
        self.fault = fault
        self.remedy = remedy


class _Short(reprlib.Repr):
    """Shortens nested, long and huge values alike (``repr`` of an integer of 5,000 digits is an error of its own)."""

    def repr_int(self, x: int, level: int) -> str:
        return super().repr_int(x, level) if x.bit_length() <= 128 else f"an integer of {x.bit_length()} bits"


_short = _Short()
_short.maxstring = _short.maxother = 60


def show(value: object) -> str:
    """What the user gave, for a message: on one line, and short whatever it is."""
    if isinstance(value, str) and len(value) <= 60:
        return repr(value)
    text = _short.repr(value)
    return text if len(text) <= 100 else f"{text[:96]} ..."


def require(holds: bool, rule: str, fault: str, remedy: str) -> None:
    """Raise :class:`ConstraintError` for ``rule`` unless ``holds``."""
    if not holds:
        raise ConstraintError(rule, fault, remedy)
