"""Repeat a case from its line of text."""

from __future__ import annotations

from ..errors import GoldgradError
from .case import Case
from .compare import Mismatch
from .properties import PROPERTIES, verify
from .providers import PROVIDERS


def repro(text: str, provider: str = "c") -> bool:
    """Check the case and print what comes out; True if it all holds.

    ``text`` is ``[PROPERTY] FUNCTION operands attributes`` as a failure prints it.  Without a property every one
    that the case has the arrays for is checked.  Errors: :class:`~goldgrad.errors.GoldgradError` for text that is
    no case, and for an unknown provider.
    """
    first, _, rest = text.strip().partition(" ")
    case = Case.parse(rest if first in PROPERTIES else text)
    if provider not in PROVIDERS:
        raise GoldgradError(f"there is no provider {provider}; give one of {', '.join(PROVIDERS)}")
    under_test = PROVIDERS[provider]()
    if not under_test.provides(case.function):
        raise GoldgradError(f"{provider} does not provide {case.function}; give another provider")
    case.types  # noqa: B018  (a case that breaks a constraint says so here)
    possible = _possible(case)
    if first in PROPERTIES and first not in possible:
        raise GoldgradError(f"{first} says nothing of this case; leave it out, or paste the whole line")
    holds = True
    for name in [first] if first in PROPERTIES else possible:
        try:
            verify(name, case, under_test)
            print(f"{case.function}: {name} holds")
        except Mismatch as mismatch:
            print(mismatch)
            holds = False
    return holds


def _possible(case: Case) -> list[str]:
    """The properties that need no more arrays than the case has."""
    return [p.name for p in PROPERTIES.values() if p.applies(case.entry) and set(p.needs) <= set(case.extra)]
