"""Cycles of what an emulator counted: every edge is scheduled once, and multiplied by how often it was taken."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from ...rules import rule
from .decode import Instruction, decode
from .edges import Block, Trace
from .schedule import YOUNGER, Issue, Pipeline
from .table import UNKNOWN, Table

CLOCK_HZ = 216_000_000
"""The STM32F746 at its fastest."""
Code = Callable[[int, int], bytes]
"""Gives the bytes at an address."""


@dataclass
class Cycles:
    """Cycles by what they are spent on (TIM-S8)."""

    issue: float = 0.0
    mispredict: float = 0.0
    flash_data: float = 0.0
    flash_instruction: float = 0.0
    sram: float = 0.0
    unaligned: float = 0.0

    @property
    def total(self) -> float:
        """All of them."""
        return float(sum(getattr(self, part.name) for part in fields(self)))

    def add(self, other: Cycles) -> None:
        """Add another's, part by part."""
        for part in fields(self):
            setattr(self, part.name, getattr(self, part.name) + getattr(other, part.name))

    def as_json(self) -> dict[str, int]:
        """Whole cycles; the total is the sum of the parts as they are given."""
        parts = {part.name: round(getattr(self, part.name)) for part in fields(self)}
        return {"total": sum(parts.values()), **parts}


PARTS = tuple(part.name for part in fields(Cycles))


@dataclass
class Estimate:
    """What the model makes of a trace: cycles by region, and how much of the code it does not know."""

    table: Table
    memory: str = "dtcm"
    """Where code and data are taken to be."""
    regions: dict[int, Cycles] = field(default_factory=lambda: defaultdict(Cycles))
    instructions: Counter[int] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    """Executions of instructions without a row, by their text."""
    changed: int = 0
    """Instructions executed in code that is not as in the ELF."""
    float_cycles: float = 0.0
    """Issue cycles of blocks with float arithmetic."""

    @property
    @rule("TIM-S8")
    def band(self) -> float:
        """By how many percent the total may be off."""
        issue = sum(cycles.issue for cycles in self.regions.values())
        share = self.float_cycles / issue if issue else 0.0
        return round(share * self.table.band["float"] + (1 - share) * self.table.band["integer"], 1)

    def as_json(self, cycles: Cycles) -> dict[str, Any]:
        """The cycles of some regions with the model's name and band, and what the model does not know."""
        outside = {"unknown_instructions": sum(self.unknown.values()), "changed_code": self.changed}
        return {**cycles.as_json(), "band_percent": self.band, "model": self.table.name, **outside}

    def total(self, first: int = -2) -> Cycles:
        """All regions from number ``first`` on."""
        found = Cycles()
        for region, cycles in self.regions.items():
            if region >= first:
                found.add(cycles)
        return found


@dataclass(frozen=True)
class _Scheduled:
    """A block after its predecessor."""

    cycles: int
    penalty: float
    """What it costs if the branch at the end of the predecessor is mispredicted."""


class Model:
    """The timing model over some code; keeps what it has decoded and scheduled."""

    def __init__(self, table: Table, code: Code, memory: str = "dtcm") -> None:
        self.table, self._code, self._memory = table, code, memory
        self._instructions: dict[Block, list[Instruction]] = {}
        self._edges: dict[tuple[Block | None, Block], _Scheduled] = {}

    def instructions(self, block: Block) -> list[Instruction]:
        """The block's instructions."""
        if block not in self._instructions:
            self._instructions[block] = decode(self._code(block.start, block.size), block.start, self.table)
        return self._instructions[block]

    @rule("TIM-S3", "TIM-S5")
    def scheduled(self, before: Block | None, block: Block) -> _Scheduled:
        """Cycles from the end of the predecessor to the end of the block."""
        key = before, block
        if key not in self._edges:
            self._edges[key] = self._schedule(before, block)
        return self._edges[key]

    def issues(self, before: Block | None, block: Block) -> tuple[list[Issue], int]:
        """The block's issues after a predecessor, and the cycle in which that ended."""
        pipeline = Pipeline(self.table)
        if before is not None:
            self._run(pipeline, before, before.end != block.start)
        start = pipeline.cycle
        return [pipeline.issue(instruction) for instruction in self.instructions(block)], start

    def _schedule(self, before: Block | None, block: Block) -> _Scheduled:
        pipeline, penalty = Pipeline(self.table), 0.0
        if before is not None:
            penalty = self._run(pipeline, before, before.end != block.start)
        start = pipeline.cycle
        self._run(pipeline, block, False)
        return _Scheduled(pipeline.cycle - start, penalty)

    def _run(self, pipeline: Pipeline, block: Block, taken: bool) -> float:
        instructions = self.instructions(block)
        for instruction in instructions[:-1]:
            pipeline.issue(instruction)
        branch, last = self.table.branch, instructions[-1]
        flags_at = pipeline.flags_at
        issued = pipeline.issue(last, taken)
        if last.branch == "indirect":
            return branch.indirect
        is_early = last.branch == "conditional" and issued.cycle - flags_at >= branch.early_flags
        return branch.mispredict_early_flags if is_early else branch.mispredict

    @rule("TIM-S1", "TIM-S9")
    def estimate(self, trace: Trace) -> Estimate:
        """Cycles of a trace, by region."""
        found = Estimate(self.table, self._memory)
        for edge, count in trace.count.items():
            scheduled = self.scheduled(edge.before, edge.block)
            cycles = found.regions[edge.region]
            cycles.issue += count * scheduled.cycles
            cycles.mispredict += trace.missed.get(edge, 0) * scheduled.penalty
            instructions = self.instructions(edge.block)
            found.instructions[edge.region] += count * len(instructions)
            if any("fp" in instruction.row.uses for instruction in instructions):
                found.float_cycles += count * scheduled.cycles
            for instruction in instructions:
                if instruction.row is UNKNOWN:
                    found.unknown[instruction.text] += count
        if trace.memory is not None:
            self._add_memory(found, trace)
        return found

    def _add_memory(self, found: Estimate, trace: Trace) -> None:
        """Add what loads and fetches waited for memory."""
        for (region, _), waited in self.waits(trace).items():
            found.regions[region].add(waited)

    @rule("TIM-S6", "TIM-S7")
    def waits(self, trace: Trace) -> dict[tuple[int, int], Cycles]:
        """What loads waited for memory, by region and address; at odd addresses what fetches did (edges.fetched)."""
        found: dict[tuple[int, int], Cycles] = {}
        cost, slots = self.table.memory, self._slots(trace) if trace.memory else {}
        for (region, address), seen in (trace.memory or {}).items():
            cycles = found[region, address] = Cycles()
            flash = seen.flash * cost.flash_axi + seen.flash_itcm * cost.flash_itcm
            if self._memory == "flash-aware":
                setattr(cycles, "flash_instruction" if address & 1 else "flash_data", flash)
            times, younger, beside_load = slots.get((region, address), (1, 0, 0))
            waits = younger * cost.unaligned_younger + (times - younger) * cost.unaligned_older
            cycles.unaligned = seen.unaligned * waits / times
            cycles.issue = seen.same_bank * cost.bank * beside_load / times
            if self._memory != "dtcm":
                cycles.sram = seen.sram * cost.sram
        return found

    def _slots(self, trace: Trace) -> dict[tuple[int, int], tuple[int, int, int]]:
        """Of instructions that met something: how often they issued, as the younger, and that beside a load."""
        assert trace.memory is not None
        wanted, found = set(trace.memory), dict[tuple[int, int], tuple[int, int, int]]()
        for edge, count in trace.count.items():
            block = self.instructions(edge.block)
            if not any((edge.region, instruction.address) in wanted for instruction in block):
                continue
            older: Issue | None = None
            for issue in self.issues(edge.before, edge.block)[0]:
                younger = issue.slot == YOUNGER
                beside = younger and older is not None and older.instruction.row.memory == "load"
                key = edge.region, issue.instruction.address
                if key in wanted:
                    before = found.get(key, (0, 0, 0))
                    new = count, count * younger, count * beside
                    found[key] = (before[0] + new[0], before[1] + new[1], before[2] + new[2])
                older = issue
        return found
