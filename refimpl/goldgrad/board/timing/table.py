"""The pipeline table, as ``pipeline.toml`` has it: what is written there is checked here, and nothing is added."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...rules import rule

FILE = Path(__file__).with_name("pipeline.toml")
OPERANDS = (
    *("agu", "shift", "early", "late", "beside", "mul", "acc", "store"),
    *("fp", "fma", "facc", "macc", "fstore", "tocore", "tofp", "flags"),
)
"""Kinds of operands: the columns of the latencies."""
ROLES = {"=", "list", "free", *OPERANDS, *(f"+{kind}" for kind in OPERANDS)}


@dataclass(frozen=True)
class Row:
    """How a class of instructions executes; the fields are those of pipeline.toml."""

    id: str
    what: str
    operands: tuple[str, ...]
    sources: tuple[str, ...]
    disagreement: str
    mnemonics: tuple[str, ...] = ()
    result: str = ""
    slot: str = "either"
    uses: frozenset[str] = frozenset()
    claims: str = ""
    """A unit that it takes in the older slot only, to be early."""
    early: frozenset[str] = frozenset()
    cycles: int = 1
    blocks: int = 0
    memory: str = ""
    bytes: int = 0
    shadow: str = ""
    casts_shadow: bool = False


UNKNOWN = Row("unknown", "what the table does not have", (), (), "", slot="alone")
"""Takes a cycle alone; whoever reports cycles also reports how many of these there were (TIM-S9)."""


@dataclass(frozen=True)
class Branches:
    """What branches cost, in cycles."""

    taken: int
    mispredict: float
    mispredict_early_flags: float
    early_flags: int
    """So many cycles before the branch its flags have to be there for the lower cost."""
    indirect: float
    table: int
    """Entries of two bits."""


@dataclass(frozen=True)
class Memory:
    """What memory costs, in cycles."""

    unaligned_older: float
    unaligned_younger: float
    bank: float
    flash_axi: float
    flash_itcm: float
    sram: float


@dataclass(frozen=True)
class Table:
    """The whole model of the pipeline."""

    name: str
    rows: tuple[Row, ...]
    latency: Mapping[str, Mapping[str, int]]
    """By result, then operand."""
    sources: Mapping[str, str]
    never_pair: tuple[frozenset[str], ...]
    shadow: int
    shadow_waits: bool
    """Whether what cannot be the younger in the shadow waits for its end, rather than issuing as the older at once."""
    store_to_load: int
    branch: Branches
    band: Mapping[str, float]
    """By the kind of arithmetic, in percent."""
    memory: Memory
    by_mnemonic: Mapping[str, Row] = field(repr=False)
    notes: Mapping[str, Mapping[str, Any]] = field(repr=False)
    """By part of the file: its sources, and where they disagree."""
    dual_issue: bool = True

    def row(self, name: str) -> Row:
        """Look a row up."""
        return next(row for row in self.rows if row.id == name)

    def without(self, part: str) -> Table:
        """Return the model less one of :data:`PARTS`, to see what that is worth."""
        return PARTS[part](self)


def _flat_latency(table: Table) -> Table:
    flat = {name: dict.fromkeys(row, 1) for name, row in table.latency.items()}
    return replace(table, latency=flat)


PARTS: Mapping[str, Callable[[Table], Table]] = {
    "dual issue": lambda t: replace(t, dual_issue=False),
    "latencies": _flat_latency,
    "early ALU": lambda t: replace(t, **_rows(t, early=frozenset())),
    "shadow of VFMA": lambda t: replace(t, shadow=0),
    "taken branches": lambda t: replace(t, branch=replace(t.branch, taken=0)),
    "mispredictions": lambda t: replace(
        t, branch=replace(t.branch, mispredict=0.0, mispredict_early_flags=0.0, indirect=0.0)
    ),
    "unaligned access": lambda t: replace(t, memory=replace(t.memory, unaligned_older=0.0, unaligned_younger=0.0)),
    "banks": lambda t: replace(t, memory=replace(t.memory, bank=0.0)),
    "flash": lambda t: replace(t, memory=replace(t.memory, flash_axi=0.0, flash_itcm=0.0)),
    "SRAM1": lambda t: replace(t, memory=replace(t.memory, sram=0.0)),
}
"""What an ablation leaves out of the pipeline, one at a time."""


def _rows(table: Table, **changes: Any) -> dict[str, Any]:
    rows = tuple(replace(row, **changes) for row in table.rows)
    return {"rows": rows, "by_mnemonic": {mnemonic: row for row in rows for mnemonic in row.mnemonics}}


@functools.cache
@rule("TIM-S1")
def load(path: Path = FILE) -> Table:
    """Read the table.  ValueError names what is wrong with it: a fault of goldgrad's own."""
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    rows = tuple(
        Row(
            **{key: _value(key, value) for key, value in entry.items() if key != "operands"},
            operands=tuple(entry["operands"]),
        )
        for entry in content["row"]
    )
    parts = {"why", "sources", "disagreement"}
    latency = {
        name: {key: value for key, value in entry.items() if key not in parts}
        for name, entry in content["latency"].items()
    }
    branch = Branches(**{key: value for key, value in content["branch"].items() if key not in ("what", *parts)})
    table = Table(
        content["name"],
        rows,
        latency,
        content["sources"],
        tuple(frozenset(pair) for pair in content["pairs"]["never"]),
        content["shadow"]["cycles"],
        content["shadow"]["waits"],
        content["store_to_load"]["cycles"],
        branch,
        {kind: float(content["band"][kind]) for kind in ("integer", "float")},
        _memory(content["memory"]),
        {mnemonic: row for row in rows for mnemonic in row.mnemonics},
        _notes(content),
    )
    _check(table, content)
    return table


def _notes(content: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    named = {f"row.{entry['id']}": entry for entry in content["row"]}
    named |= {f"latency.{name}": entry for name, entry in content["latency"].items()}
    named |= {name: content[name] for name in ("shifted", "pairs", "shadow", "store_to_load", "branch")}
    return named | {"bank": content["memory"]["bank"]}


def _memory(content: Mapping[str, Any]) -> Memory:
    unaligned, flash = content["unaligned"], content["flash"]
    return Memory(
        unaligned["older"],
        unaligned["younger"],
        content["bank"]["cycles"],
        flash["axi"],
        flash["itcm"],
        content["sram"]["cycles"],
    )


def _value(key: str, value: Any) -> Any:
    if key in ("uses", "early"):
        return frozenset(value)
    return tuple(value) if isinstance(value, list) else value


def _check(table: Table, content: Mapping[str, Any]) -> None:
    """Every name that the file uses is one that it has."""
    cited = [row.sources for row in table.rows] + [entry["sources"] for entry in content["latency"].values()]
    unknown = {source for sources in cited for source in sources} - set(table.sources)
    unknown |= {role for row in table.rows for role in row.operands} - ROLES
    unknown |= {row.result for row in table.rows} - set(table.latency) - {""}
    unknown |= {kind for entry in table.latency.values() for kind in entry} - set(OPERANDS)
    mnemonics = [mnemonic for row in table.rows for mnemonic in row.mnemonics]
    unknown |= {mnemonic for mnemonic in mnemonics if mnemonics.count(mnemonic) > 1}
    if unknown:
        raise ValueError(f"pipeline.toml uses {', '.join(sorted(unknown))}: unknown, or there twice")
