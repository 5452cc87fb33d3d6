"""Errors that a user can cause: one line each, naming the thing at fault and the remedy."""

from __future__ import annotations


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


def require(holds: bool, rule: str, fault: str, remedy: str) -> None:
    """Raise :class:`ConstraintError` for ``rule`` unless ``holds``."""
    if not holds:
        raise ConstraintError(rule, fault, remedy)
