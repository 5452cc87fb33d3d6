"""Costs that are kept in a file and compared with today's (MEAS-S10): ``goldgrad board baseline`` and ``compare``.

A cost is a number of a kind (instructions, stack, sram, flash, code) and an item of it: ``total``, an operator, a use
of memory, a function.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from ..board.board import Board
from ..board.elf import Elf
from ..board.function import measure_function, read_arguments
from ..board.measure import measurement
from ..board.stack import StackWatch
from ..board.toolchain import NAMES, Toolchain, find_toolchain, toolchains
from ..errors import GoldgradError, show
from ..kernels import check_set
from ..rules import rule
from . import on_board

FORMAT = "goldgrad baseline 1"
PROGRAMS = (("digits", "sparse"), ("mcunet-5fps", "49kb"))
"""What is measured unless something else is named."""
TOTAL = "total"
KINDS = ("instructions", "stack", "sram", "flash", "code")
REMEDY = "write it with goldgrad board baseline"

Costs = Mapping[str, Mapping[str, int]]
"""By kind and item."""


@dataclass(frozen=True)
class ProgramCase:
    """A training step of a network under a scheme."""

    model: str
    scheme: str
    kernels: str = on_board.KERNELS

    @property
    def title(self) -> str:
        """The case's name in tables."""
        return f"{self.model} {self.scheme}, {self.kernels} kernels"

    def key(self) -> dict[str, str]:
        """What tells the case from others, as in the file."""
        return {"model": self.model, "scheme": self.scheme, "kernels": self.kernels}


@dataclass(frozen=True)
class FunctionCase:
    """A call of a function; the paths are relative to the baseline's folder."""

    elf: str
    function: str
    arguments: str | None = None

    @property
    def title(self) -> str:
        """The case's name in tables."""
        return f"{self.function} of {self.elf}"

    def key(self) -> dict[str, str]:
        """What tells the case from others, as in the file."""
        return {"elf": self.elf, "function": self.function, **({"arguments": self.arguments} if self.arguments else {})}


Case = ProgramCase | FunctionCase


@dataclass(frozen=True)
class Measured:
    """What a case costs, and the compiler that it depends on."""

    case: Case
    compiler: str
    flags: tuple[str, ...]
    costs: Costs


@dataclass(frozen=True)
class Baseline:
    """The content of the file."""

    toolchain: str | None
    """What builds the programs, if there are any: gcc or zig."""
    measured: tuple[Measured, ...]

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        parts: dict[str, Any] = {"format": FORMAT, "toolchain": self.toolchain, "programs": [], "functions": []}
        for m in self.measured:
            part = parts["programs" if isinstance(m.case, ProgramCase) else "functions"]
            part.append({**m.case.key(), "compiler": m.compiler, "flags": list(m.flags), "costs": m.costs})
        return parts


# --- measuring -----------------------------------------------------------------------------------------------------


@rule("MEAS-S10")
def measure(cases: Sequence[Case], compiler: str | None, folder: Path) -> Baseline:
    """Measure every case, on Unicorn; ``folder`` is where the paths of functions begin.

    Programs are built by ``compiler`` (gcc or zig), or if none is named by zig, whose version can be pinned like any
    package's, or else by what is here.
    """
    toolchain = _toolchain(compiler) if any(isinstance(case, ProgramCase) for case in cases) else None
    name = toolchain.name if toolchain else None
    return Baseline(name, tuple(_measure(case, toolchain, folder) for case in cases))


def _toolchain(name: str | None) -> Toolchain:
    known = {toolchain.name: toolchain for toolchain in toolchains()}
    return known["zig"] if name is None and not known["zig"].missing else find_toolchain(name)


def _measure(case: Case, toolchain: Toolchain | None, folder: Path) -> Measured:
    if isinstance(case, FunctionCase):
        elf = Elf.read(_place(case.elf, folder))
        arguments = read_arguments(_place(case.arguments, folder)) if case.arguments else []
        cost = measure_function(elf, case.function, arguments)
        found = {"instructions": cost.instructions, "stack": cost.stack, "flash": elf.symbols[case.function].size}
        return Measured(case, elf.compiler or "unknown", (), {kind: {TOTAL: n} for kind, n in found.items()})
    assert toolchain
    return Measured(case, toolchain.version, toolchain.flags, program_costs(case, toolchain))


def _place(path: str, folder: Path) -> Path:
    """Where a path of the file leads; ``folder`` need not be there yet."""
    return Path(os.path.normpath(folder.resolve() / path))


def program_costs(case: ProgramCase, toolchain: Toolchain) -> Costs:
    """One step on the first sample: by operator, by use of memory, by function."""
    session = on_board.session(case.model, case.scheme)
    made = on_board.firmware(session, toolchain=toolchain, kernels=case.kernels)
    (sample,) = on_board.samples(case.model, session, 1)
    with Board(made.elf, "unicorn") as board:
        watch = StackWatch(board)
        known = {buffer.name for buffer in board.program.buffers}
        feeds = on_board.feeds(session, sample, on_board.RATE)
        board.step({name: value for name, value in feeds.items() if name in known})
        taken = watch.by_region()
        found = measurement(board, board.instructions, 1, watch.high_water())
    instructions, stack = Counter[str](), dict[str, int]()
    for number, region in enumerate(found.regions):
        instructions[region.op] += region.instructions
        stack[region.op] = max(stack.get(region.op, 0), taken[number])
    content = found.as_json()
    return {
        "instructions": {TOTAL: found.instructions, **dict(instructions.most_common()), "between": found.between},
        "stack": {TOTAL: found.sram.stack, **{op: stack[op] for op, _ in instructions.most_common()}},
        "sram": {TOTAL: found.sram.total, **{k: v for k, v in content["sram"].items() if k != TOTAL}},
        "flash": {TOTAL: found.flash.total, **{k: v for k, v in content["flash"].items() if k != TOTAL}},
        "code": {s.name: s.size for s in sorted(made.elf.symbols.values(), key=lambda s: s.name) if s.is_function},
    }


# --- the file ------------------------------------------------------------------------------------------------------


def read_json(file: Path, remedy: str) -> Any:
    """What a file holds as JSON; the error names the file, what is wrong, and ``remedy``."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError as fault:
        raise GoldgradError(f"{file} cannot be read: {fault.strerror}; {remedy}") from None
    except (ValueError, RecursionError):
        raise GoldgradError(f"{file} is no JSON; {remedy}") from None


def read(file: Path) -> Baseline:
    """Read a baseline; an error says what is wrong with it."""
    content = read_json(file, REMEDY)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise GoldgradError(f"{file} is no {FORMAT!r}; {REMEDY}")
    toolchain = content.get("toolchain")
    if toolchain not in (NAMES if content.get("programs") else (None, *NAMES)):
        raise GoldgradError(f"{file} has toolchain {show(toolchain)}; use {' or '.join(NAMES)}, or {REMEDY}")
    measured: list[Measured] = []
    for part, words in (("programs", ("model", "scheme", "kernels")), ("functions", ("elf", "function", "arguments"))):
        entries = content.get(part, [])
        if not isinstance(entries, list):
            raise GoldgradError(f"{file}: {part} is no list; {REMEDY}")
        for number, entry in enumerate(entries):
            measured.append(_entry(entry, words, f"{file}: {part}, entry {number}"))
    if not measured:
        raise GoldgradError(f"{file} has no program and no function; {REMEDY}")
    return Baseline(toolchain, tuple(measured))


def _entry(entry: Any, words: Sequence[str], where: str) -> Measured:
    if not isinstance(entry, dict):
        raise GoldgradError(f"{where} is {show(entry)}; {REMEDY}")
    names = [entry.get(word) for word in words]
    optional = words[-1] == "arguments" and names[-1] is None
    if not all(isinstance(name, str) for name in (names[:-1] if optional else names)):
        raise GoldgradError(f"{where} lacks {', '.join(words)} as text; {REMEDY}")
    compiler, flags, costs = entry.get("compiler"), entry.get("flags", []), entry.get("costs")
    if not isinstance(compiler, str) or not isinstance(flags, list) or not all(isinstance(f, str) for f in flags):
        raise GoldgradError(f"{where} lacks its compiler and flags; {REMEDY}")
    if not _are_costs(costs):
        raise GoldgradError(f"{where} has costs that are no numbers of {', '.join(KINDS)}; {REMEDY}")
    texts = [name for name in names if isinstance(name, str)]
    case = ProgramCase(*texts) if words[0] == "model" else FunctionCase(*texts)
    return Measured(case, compiler, tuple(flags), costs)


def _are_costs(costs: Any) -> TypeGuard[Costs]:
    if not isinstance(costs, dict) or not costs or not set(costs) <= set(KINDS):
        return False
    tables = costs.values()
    if not all(isinstance(table, dict) for table in tables):
        return False
    return all(type(number) is int and number >= 0 for table in tables for number in table.values())


def function_case(text: str, folder: Path) -> FunctionCase:
    """``ELF:NAME`` or ``ELF:NAME:ARGUMENTS``, as the command line has it, with paths that begin at ``folder``."""
    elf, _, rest = text.partition(":")
    name, _, arguments = rest.partition(":")
    if not elf or not name:
        raise GoldgradError(f"--function is {show(text)}; write ELF:NAME or ELF:NAME:ARGUMENTS.toml")
    return FunctionCase(_relative(elf, folder), name, _relative(arguments, folder) if arguments else None)


def _relative(path: str, folder: Path) -> str:
    return Path(os.path.relpath(Path(path).resolve(), folder.resolve())).as_posix()


def program_case(text: str) -> ProgramCase:
    """``MODEL:SCHEME`` or ``MODEL:SCHEME:KERNELS``, as the command line has it."""
    words = text.split(":")
    if not 2 <= len(words) <= 3 or not all(words):
        raise GoldgradError(f"--program is {show(text)}; write MODEL:SCHEME, for example digits:sparse")
    case = ProgramCase(*words)
    check_set(case.kernels)
    return case


# --- comparing -----------------------------------------------------------------------------------------------------


def check_budgets(budgets: Mapping[str, float]) -> None:
    """Raise for a budget that is no number of at least 0."""
    for name, value in budgets.items():
        if not 0 <= value < float("inf"):
            raise GoldgradError(f"--budget-{name} is {value}; give a number of at least 0")


def grew(old: int, new: int, percent: float) -> bool:
    """Whether a number is more than so many percent above what it was."""
    return (new - old) * 100 > percent * old


def other_compiler(old: str, new: str) -> Iterator[str]:
    """What must be known before numbers are believed that compilers decide."""
    if old != new:
        yield (
            f"another compiler: the baseline was made by {old}, these numbers by {new}; all of them depend on it, so "
            "compare by the same one, or write the baseline anew"
        )


@dataclass(frozen=True)
class Budgets:
    """What a value may grow by and be no regression: instructions in per cent, all else in bytes."""

    instructions: float = 0.1
    stack: int = 0
    sram: int = 0
    flash: int = 0

    def check(self) -> None:
        """Raise for a budget that is no positive number."""
        check_budgets(vars(self))

    def __str__(self) -> str:
        return (
            f"{self.instructions:g} % of instructions, {self.stack:,} bytes of stack, {self.sram:,} of SRAM, "
            f"{self.flash:,} of flash"
        )


@dataclass(frozen=True)
class Row:
    """One cost in both; None where a side does not have it."""

    kind: str
    item: str
    old: int | None
    new: int | None
    judged: bool
    over: bool

    @property
    def change(self) -> int:
        """Today's less the baseline's."""
        return (self.new or 0) - (self.old or 0)


@dataclass(frozen=True)
class Comparison:
    """The rows of one case, and in what the compilers differ."""

    case: Case
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    @property
    def regressions(self) -> list[Row]:
        """What is over its budget."""
        return [row for row in self.rows if row.over]


def compare(old: Baseline, new: Baseline, budgets: Budgets) -> list[Comparison]:
    """The same cases measured twice, row beside row."""
    pairs = zip(old.measured, new.measured, strict=True)
    return [Comparison(a.case, tuple(_rows(a.costs, b.costs, budgets)), tuple(_notes(a, b))) for a, b in pairs]


@rule("MEAS-S10")
def _rows(old: Costs, new: Costs, budgets: Budgets) -> Iterator[Row]:
    for kind in KINDS:
        before, now = old.get(kind, {}), new.get(kind, {})
        for item in dict.fromkeys((*now, *before)):
            a, b = before.get(item), now.get(item)
            judged = item == TOTAL or (kind == "instructions" and a is not None and b is not None)
            yield Row(kind, item, a, b, judged, judged and _is_over(kind, a or 0, b or 0, budgets))


def _is_over(kind: str, old: int, new: int, budgets: Budgets) -> bool:
    if kind == "instructions":
        return grew(old, new, budgets.instructions)
    return new - old > int(getattr(budgets, kind))


def _notes(old: Measured, new: Measured) -> Iterator[str]:
    """What must be known before the numbers are believed."""
    yield from other_compiler(old.compiler, new.compiler)
    gone, added = (" ".join(f for f in a.flags if f not in b.flags) for a, b in ((old, new), (new, old)))
    if gone or added:
        yield f"other flags: the baseline had {gone or 'no other'}, now {added or 'none in their place'}"
