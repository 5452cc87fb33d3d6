"""Look for a case that breaks a property, and make what is found small."""

from __future__ import annotations

from hypothesis import Phase, given, settings
from hypothesis.strategies import SearchStrategy

from ..errors import ConstraintError
from . import cases as _cases  # noqa: F401  (fills CASES)
from .case import Case
from .compare import Mismatch
from .minimise import minimise
from .properties import verify
from .providers import Provider
from .strategies import CASES, PREPARE, cases


def strategy(name: str, function: str) -> SearchStrategy[Case]:
    """The cases of a function that a property is checked on."""
    drawn = CASES[function]
    return PREPARE[name](drawn) if name in PREPARE else cases(drawn)


def search(
    name: str, function: str, provider: Provider, examples: int | None = None, same: bool | None = None
) -> Mismatch | None:
    """Check a property on many cases; the plainest failure found, or None.

    ``examples`` is how many, ``same`` whether to draw the same ones each time; else hypothesis' profile says it.
    """
    current = settings()
    profile = settings(
        current,
        max_examples=current.max_examples if examples is None else examples,
        derandomize=current.derandomize if same is None else same,
        database=None,
        report_multiple_bugs=False,
        phases=(Phase.generate, Phase.shrink),
    )

    @profile
    @given(strategy(name, function))
    def holds(case: Case) -> None:
        verify(name, case, provider)

    try:
        holds()
    except Mismatch as found:
        return minimise(found, lambda case: failure(name, case, provider))
    return None


def failure(name: str, case: Case, provider: Provider) -> Mismatch | None:
    """How the case breaks the property; None if it does not, or breaks a constraint and so says nothing."""
    try:
        case.reference()
        verify(name, case, provider)
    except ConstraintError:
        return None
    except Mismatch as mismatch:
        return mismatch
    return None
