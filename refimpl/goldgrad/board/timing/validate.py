"""The model beside published counts of hardware: validation.toml has the counts, whoever has the code builds it."""

from __future__ import annotations

import math
import statistics
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...errors import GoldgradError
from ...rules import rule
from ..elf import Elf
from ..errors import BoardError
from ..function import Argument, TracedCall, trace_function
from .cost import Model
from .table import Table

FILE = Path(__file__).with_name("validation.toml")
USES = ("fitted", "seen", "held out")


@dataclass(frozen=True)
class Point:
    """A published count, and which calls stand for it; the fields are those of validation.toml."""

    source: str
    name: str
    kind: str
    level: str
    cycles: float
    elf: tuple[str, str]
    function: str
    arguments: tuple[Sequence[float], Sequence[float]]
    per: int
    seen: bool = False
    decides: bool = False
    """Whether a fit or a decision names it."""

    @property
    @rule("TIM-S10")
    def use(self) -> str:
        """One of :data:`USES`."""
        return "fitted" if self.decides else "seen" if self.seen else "held out"


@dataclass(frozen=True)
class Outcome:
    """A point with what the model says; ``skipped`` tells why it says nothing."""

    point: Point
    predicted: float | None = None
    instructions: float = 0.0
    skipped: str = ""

    @property
    def error(self) -> float:
        """In percent of the hardware's count."""
        assert self.predicted is not None
        return 100 * (self.predicted / self.point.cycles - 1)


@dataclass(frozen=True)
class Fit:
    """A number that the declared points decide, and what it may be."""

    name: str
    what: str
    values: tuple[float, ...]
    points: tuple[str, ...]

    def now(self, table: Table) -> float:
        """What the table has."""
        return FITTED[self.name][0](table)

    def changed(self, table: Table, value: float) -> Table:
        """The table with another value, and what follows from it."""
        return FITTED[self.name][1](table, value)


def _with_mispredict(table: Table, cycles: float) -> Table:
    early = float(math.floor(0.75 * cycles + 0.5))
    branch = replace(table.branch, mispredict=cycles, mispredict_early_flags=early, indirect=cycles)
    return replace(table, branch=branch)


FITTED: Mapping[str, tuple[Callable[[Table], float], Callable[[Table, float], Table]]] = {
    "mispredict": (lambda table: table.branch.mispredict, _with_mispredict),
    "shadow_waits": (
        lambda table: float(table.shadow_waits),
        lambda table, waits: replace(table, shadow_waits=bool(waits)),
    ),
    "store_to_load": (
        lambda table: table.store_to_load,
        lambda table, cycles: replace(table, store_to_load=int(cycles)),
    ),
}
"""Where a fitted number is in the table, and how another is put there."""


@dataclass(frozen=True)
class Data:
    """All of validation.toml."""

    sources: Mapping[str, Mapping[str, Any]]
    points: tuple[Point, ...]
    fits: tuple[Fit, ...]
    decided: Mapping[str, Mapping[str, Any]]
    """Rules that were chosen, or misread sources that were found, with some points in view."""


def data() -> Data:
    """Read it."""
    content = tomllib.loads(FILE.read_text(encoding="utf-8"))
    fits = tuple(Fit(name, **_tuples(entry)) for name, entry in content["fit"].items())
    decide = {name for entry in (*content["fit"].values(), *content["decided"].values()) for name in entry["points"]}
    points = tuple(Point(**_tuples(entry), decides=entry["name"] in decide) for entry in content["point"])
    unknown = decide - {point.name for point in points}
    if unknown:
        raise ValueError(f"validation.toml has no point {', '.join(sorted(unknown))}")
    return Data(content["source"], points, fits, content["decided"])


def _tuples(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}


class Validation:
    """Calls of what a folder has; each is emulated once, however often the model changes."""

    def __init__(self, folder: Path) -> None:
        """``folder`` holds the ELFs that validation.toml names, as far as they are there."""
        if not folder.is_dir():
            raise GoldgradError(f"{folder} is no folder; name the one with the ELFs that validation.toml tells of")
        self._folder = folder
        self._calls: dict[tuple[str, str, tuple[float, ...]], TracedCall] = {}

    def outcomes(self, table: Table, points: Sequence[Point] | None = None) -> list[Outcome]:
        """Every point by a model, or some."""
        return [self._outcome(point, table) for point in (data().points if points is None else points)]

    @rule("TIM-S10")
    def fitted(self, fit: Fit, table: Table, points: Sequence[Point]) -> dict[float, float]:
        """The mean absolute error of these points, in percent, by what the number may be; empty if one has no ELF."""
        found: dict[float, float] = {}
        for value in fit.values:
            outcomes = self.outcomes(fit.changed(table, value), points)
            if any(outcome.predicted is None for outcome in outcomes):
                return {}
            found[value] = statistics.mean(abs(outcome.error) for outcome in outcomes)
        return found

    def _outcome(self, point: Point, table: Table) -> Outcome:
        absent = [name for name in sorted(set(point.elf)) if not (self._folder / name).is_file()]
        if absent:
            return Outcome(point, skipped=f"{' and '.join(absent)} not there")
        try:
            calls = [self._call(point, i) for i in (0, 1)]
        except BoardError as error:
            return Outcome(point, skipped=str(error).partition(";")[0])
        cycles = [Model(table, call.code).estimate(call.trace).total().total for call in calls]
        instructions = [call.cost.instructions for call in calls]
        return Outcome(point, (cycles[1] - cycles[0]) / point.per, (instructions[1] - instructions[0]) / point.per)

    def _call(self, point: Point, which: int) -> TracedCall:
        numbers = tuple(point.arguments[which])
        key = point.elf[which], point.function, numbers
        if key not in self._calls:
            arguments = [Argument("float32" if isinstance(n, float) else "int32", value=n) for n in numbers]
            self._calls[key] = trace_function(Elf.read(self._folder / point.elf[which]), point.function, arguments)
        return self._calls[key]


def best(errors: Mapping[float, float]) -> float:
    """The value with the least error; of several, the least value."""
    return min(errors, key=lambda value: (errors[value], value))


@dataclass(frozen=True)
class Summary:
    """Absolute errors of some points, in percent."""

    count: int
    median: float
    worst: float


def summary(outcomes: Sequence[Outcome]) -> Summary | None:
    """Median and worst; None if there is nothing."""
    errors = [abs(outcome.error) for outcome in outcomes if outcome.predicted is not None]
    return Summary(len(errors), statistics.median(errors), max(errors)) if errors else None


def band(outcomes: Sequence[Outcome], kind: str) -> int:
    """Percent within which four of five points of a kind lie to which nothing was fitted, rounded up (TIM-S8)."""
    free = [o for o in outcomes if o.point.kind == kind and o.point.use != "fitted" and o.predicted is not None]
    if kind == "integer":
        free = [outcome for outcome in free if outcome.point.use == "held out"]
    errors = sorted(abs(outcome.error) for outcome in free)
    return math.ceil(errors[math.ceil(0.8 * len(errors)) - 1]) if errors else 0
