"""Look for a case that breaks a property, and make what is found small."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

from hypothesis import HealthCheck, Phase, given, reject, seed, settings
from hypothesis.errors import Flaky, Unsatisfiable
from hypothesis.strategies import SearchStrategy

from ..errors import ConstraintError
from ..ops._split_weight import merge
from . import cases as _cases  # noqa: F401  (fills CASES)
from .case import Case
from .compare import Mismatch
from .minimise import minimise
from .properties import PROPERTIES, verify
from .providers import NotProvided, Provider, keeping_to, lacking
from .strategies import CASES, ONLY, PREPARE, cases

Progress = Callable[[], None]
APART = 10
"""Cases after which hypothesis begins to vary those it has."""


@dataclass(frozen=True)
class Exploration:
    """What came of looking."""

    cases: int
    """Cases that were checked, those of shrinking included."""
    found: Mismatch | None
    """The plainest failure, or None."""
    is_flaky: bool = False
    """Whether the failure did not come every time."""


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
    return explore(name, function, provider, examples, same).found


def explore(
    name: str,
    function: str,
    provider: Provider,
    examples: int | None = None,
    same: bool | None = None,
    patience: float = 60.0,
) -> Exploration:
    """Check a property on many cases, and count them.

    Cases that the provider does not take are left out, after what it lacks has been taken from them.  ``patience`` is
    how many seconds shrinking may go on: a case that hangs takes some itself.
    """
    current = settings()
    profile = settings(
        current,
        max_examples=current.max_examples if examples is None else examples,
        derandomize=current.derandomize if same is None else same,
        database=None,
        report_multiple_bugs=False,
        phases=(Phase.generate, Phase.shrink),
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    lacks = lacking(provider, function)
    known: dict[str, Mismatch] = {}
    count, until = 0, 0.0

    def holds(drawn: Case) -> None:
        nonlocal count, until
        case = without(drawn, lacks)
        if known:
            text = case.text()
            if text in known:
                raise known[text]
            if monotonic() > until:
                return
        try:
            case.types  # noqa: B018  (what was taken away may be what made it legal)
            verify(name, case, provider)
            count += 1
        except (ConstraintError, NotProvided):
            reject()
        except Mismatch as mismatch:
            count += 1
            if not known:
                until = monotonic() + patience
            known[case.text()] = mismatch
            raise

    only = keeping_to(provider, function)
    token = ONLY.set(only)
    try:
        apart(holds, name, function, profile)
    except Mismatch as found:
        plain = minimise(found, lambda case: failure(name, case, provider), min(5.0, patience), bool(only))
        return Exploration(count, plain)
    except Flaky:
        return Exploration(count, next(iter(known.values())), is_flaky=True)
    finally:
        ONLY.reset(token)
    return Exploration(count, None)


def apart(holds: Callable[[Case], None], name: str, function: str, profile: settings) -> None:
    """Call ``holds`` on as many cases as the profile says, each drawn for itself.

    Left alone, hypothesis spends half of its cases on variations of others, which have the same shapes: it begins with
    that after ten, so it is begun anew by then, from a seed of its own.  What class DOT alone asks is left alone: a
    judgement over many elements of one case.
    """
    at_once = profile.max_examples if PROPERTIES[name].only == "dot" else APART
    for start in range(0, profile.max_examples, at_once):
        few = settings(profile, max_examples=min(at_once, profile.max_examples - start))
        run = few(given(strategy(name, function))(holds))
        if profile.derandomize and at_once == APART:
            run = seed(zlib.crc32(f"{name} {function} {start}".encode()))(run)
        with suppress(Unsatisfiable):
            run()


def without(case: Case, lacks: frozenset[str]) -> Case:
    """The case with nothing in the optional operands ``lacks``, and a split weight made whole."""
    dropped = {name: None for name in lacks if case.operands.get(name) is not None}
    if "trained" in dropped:
        whole = merge(*(case.operands[each] for each in ("w", "trained", "channels")))  # type: ignore[arg-type]
        return case.having(**{**dropped, "w": whole, "trained": None, "channels": None})
    return case.having(**dropped) if dropped else case


def failure(name: str, case: Case, provider: Provider) -> Mismatch | None:
    """How the case breaks the property; None if it does not, or breaks a constraint and so says nothing."""
    try:
        case.reference()
        verify(name, case, provider)
    except (ConstraintError, NotProvided):
        return None
    except Mismatch as mismatch:
        return mismatch
    return None
