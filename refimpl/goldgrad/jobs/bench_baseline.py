"""What kernels cost shape by shape, kept in a file and compared with today's: ``goldgrad bench baseline``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..board.toolchain import NAMES
from ..errors import GoldgradError, show
from ..kernels import SETS
from .baseline import check_budgets, grew, other_compiler, read_json
from .bench import Measured

FORMAT = "goldgrad kernels baseline 1"
COSTS = ("instructions", "cycles", "scratch", "stack", "text")
"""What stands in the file of each shape, in this order."""
RATES = ("instructions", "cycles")
"""Those whose budget is in percent; the others' is in bytes."""
REMEDY = "write it with goldgrad bench baseline"

Key = tuple[str, str]
"""A function and a shape."""
Costs = Mapping[Key, Mapping[str, int]]


@dataclass(frozen=True)
class Baseline:
    """The content of the file; all costs depend on the compiler, cycles on the timing model besides."""

    kernels: str
    toolchain: str
    """What builds the kernels: gcc or zig."""
    compiler: str
    timing_model: str
    costs: Costs

    def text(self) -> bytes:
        """As JSON, a line a shape, so that a change of one is a line of a diff."""
        head = {
            "format": FORMAT,
            "kernels": self.kernels,
            "toolchain": self.toolchain,
            "compiler": self.compiler,
            "timing_model": self.timing_model,
            "costs": list(COSTS),
        }
        functions = []
        for function in dict.fromkeys(function for function, _ in self.costs):
            lines = [
                f"   {json.dumps(shape)}: {json.dumps([costs[name] for name in COSTS])}"
                for (of, shape), costs in self.costs.items()
                if of == function
            ]
            functions.append(f"  {json.dumps(function)}: {{\n" + ",\n".join(lines) + "\n  }")
        start = json.dumps(head, indent=1).removesuffix("\n}")
        return (start + ',\n "calls": {\n' + ",\n".join(functions) + "\n }\n}\n").encode()


def costs_of(found: Sequence[Measured]) -> Costs:
    """The costs of calls, cycles as whole ones."""
    return {m.key: {name: round(getattr(m, name)) for name in COSTS} for m in found}


def read(file: Path) -> Baseline:
    """Read a baseline; an error says what is wrong with it."""
    content = read_json(file, REMEDY)
    if not isinstance(content, dict) or content.get("format") != FORMAT or content.get("costs") != list(COSTS):
        raise GoldgradError(f"{file} is no {FORMAT!r}; {REMEDY}")
    known = {"kernels": SETS, "toolchain": tuple(NAMES)}
    for name, values in known.items():
        if content.get(name) not in values:
            raise GoldgradError(f"{file} has {name} {show(content.get(name))}; use {' or '.join(values)}, or {REMEDY}")
    compiler, model = content.get("compiler"), content.get("timing_model")
    if not isinstance(compiler, str) or not isinstance(model, str):
        raise GoldgradError(f"{file} lacks its compiler or timing model; {REMEDY}")
    return Baseline(content["kernels"], content["toolchain"], compiler, model, dict(_calls(file, content)))


def _calls(file: Path, content: Mapping[str, Any]) -> Iterator[tuple[Key, Mapping[str, int]]]:
    calls = content.get("calls")
    if not isinstance(calls, dict) or not calls or not all(isinstance(shapes, dict) for shapes in calls.values()):
        raise GoldgradError(f"{file} has no calls; {REMEDY}")
    for function, shapes in calls.items():
        for shape, numbers in shapes.items():
            is_list = isinstance(numbers, list) and len(numbers) == len(COSTS)
            if not is_list or not all(type(number) is int and number >= 0 for number in numbers):
                raise GoldgradError(f"{file}: {function}, {shape} has no {len(COSTS)} costs; {REMEDY}")
            yield (function, shape), dict(zip(COSTS, numbers, strict=True))


@dataclass(frozen=True)
class Budgets:
    """What a cost of one shape may grow by and be no regression: percent of instructions and of cycles, else bytes."""

    instructions: float = 0.1
    cycles: float = 0.5
    nbytes: int = 0

    def check(self) -> None:
        """Raise for a budget that is no number of at least 0."""
        check_budgets({"instructions": self.instructions, "cycles": self.cycles, "bytes": self.nbytes})

    def __str__(self) -> str:
        return f"{self.instructions:g} % of instructions, {self.cycles:g} % of cycles, {self.nbytes:,} bytes"


@dataclass(frozen=True)
class Change:
    """One cost of one shape, then and now."""

    key: Key
    cost: str
    old: int
    new: int
    over: bool

    @property
    def percent(self) -> float:
        """By how much it grew."""
        return 100 * (self.new - self.old) / self.old if self.old else float("inf") if self.new else 0.0


@dataclass(frozen=True)
class Comparison:
    """The costs that differ, shapes that one side lacks, and what must be known before the numbers are believed."""

    changes: tuple[Change, ...]
    new: tuple[Key, ...]
    gone: tuple[Key, ...]
    notes: tuple[str, ...]
    budgets: Budgets

    @property
    def regressions(self) -> list[Change]:
        """What is over its budget."""
        return [change for change in self.changes if change.over]

    @property
    def verdict(self) -> str:
        """In a line."""
        over = [f"{c.cost} of {c.key[0]}, {c.key[1]}" for c in self.regressions]
        if over:
            more = f"; and {len(over) - 3} more" if len(over) > 3 else ""
            return f"over the budget ({self.budgets}): {'; '.join(over[:3])}{more}"
        less = sum(change.new < change.old for change in self.changes)
        return f"nothing is over the budget ({self.budgets})" + (f"; {less} costs are lower" if less else "")


def compare(old: Baseline, new: Baseline, budgets: Budgets, op: str | None = None) -> Comparison:
    """Costs beside a baseline's; ``op`` says which of its functions were measured."""
    wanted = {key for key in old.costs if op in (None, key[0], key[0].partition(".")[0])}
    changes = [
        Change(key, cost, then, now, _is_over(cost, then, now, budgets))
        for key in new.costs
        if key in wanted
        for cost in COSTS
        if (then := old.costs[key][cost]) != (now := new.costs[key][cost])
    ]
    added = tuple(key for key in new.costs if key not in wanted)
    gone = tuple(key for key in old.costs if key in wanted and key not in new.costs)
    return Comparison(tuple(changes), added, gone, tuple(_notes(old, new)), budgets)


def _is_over(cost: str, old: int, new: int, budgets: Budgets) -> bool:
    if cost in RATES:
        return grew(old, new, float(getattr(budgets, cost)))
    return new - old > budgets.nbytes


def _notes(old: Baseline, new: Baseline) -> Iterator[str]:
    yield from other_compiler(old.compiler, new.compiler)
    if old.timing_model != new.timing_model:
        yield f"another timing model: {old.timing_model} then, {new.timing_model} now; cycles cannot be compared"
