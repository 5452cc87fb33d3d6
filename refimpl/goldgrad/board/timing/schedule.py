"""Issue, in order, two at a time: what cycle and slot each instruction of a stretch of code gets, and why so late."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ...rules import rule
from .decode import FLAGS, Instruction
from .table import UNKNOWN, Table

OLDER, YOUNGER, ALONE = "older", "younger", "alone"
FAR = 10
"""Cycles after which no result is waited for any longer."""


@dataclass(frozen=True)
class Issue:
    """When one instruction issued."""

    instruction: Instruction
    cycle: int
    slot: str
    reason: str
    """Why not earlier; empty if it could have been no earlier."""
    waited: int
    """Cycles in which nothing issued before it, although a slot was free."""
    early: bool


@dataclass
class Pipeline:
    """The state between two instructions; :meth:`issue` takes the next."""

    table: Table
    cycle: int = -1
    """The last one in which something issued."""
    closed: bool = True
    """Nothing more can issue in it."""
    free_at: int = 0
    """The first cycle in which anything may issue."""
    older: Instruction | None = None
    older_claims: frozenset[str] = frozenset()
    older_is_first: bool = False
    """Whether it is the first of several VFMA."""
    ready: dict[str, tuple[int, str]] = field(default_factory=dict)
    """By register: the cycle of its maker's issue, and which result it is."""
    shadow_from: int | None = None
    stores: list[tuple[str, int, int, int]] = field(default_factory=list)
    """Base, displacement, bytes and cycle of recent stores."""
    flags_at: int = -FAR

    @rule("TIM-S3")
    def issue(self, instruction: Instruction, taken: bool = False) -> Issue:
        """Issue one; ``taken`` says that it is a branch that leaves."""
        at, reason = self._operands(instruction)
        at, reason = self._kept_by_shadow(instruction, at, reason)
        next_cycle = max(self.cycle + 1, self.free_at)
        fault = self._pair_fault(instruction)
        if not self.closed and at <= self.cycle:
            if self._waits_as_younger(instruction, fault):
                assert self.shadow_from is not None
                fault = "the younger in the shadow of VFMA"
                if self.table.shadow_waits:
                    at, reason = self.shadow_from + self.table.shadow + 1, fault
            elif not fault:
                return self._commit(instruction, self.cycle, YOUNGER, "", 0, taken)
        cycle = max(next_cycle, at)
        why = reason if at > next_cycle else "" if self.closed else fault or reason
        if self.free_at > self.cycle + 1 and cycle == self.free_at:
            why = "the pipeline is blocked"
        slot = ALONE if instruction.row.slot == ALONE else OLDER
        return self._commit(instruction, cycle, slot, why, cycle - self.cycle - 1, taken)

    @rule("TIM-S2")
    def _operands(self, instruction: Instruction) -> tuple[int, str]:
        """The first cycle in which all operands are there, and which comes last."""
        latest, reason = 0, ""
        for register, kind in instruction.reads:
            made, result = self.ready.get(register, (-FAR, ""))
            at = made + self.table.latency.get(result, {}).get(kind, 1)
            if at > latest:
                latest, reason = at, f"{register} ({result} to {kind})"
        if instruction.row.memory == "load" and instruction.place:
            at = self._forwarded(instruction)
            if at > latest:
                latest, reason = at, "the word was just stored"
        return latest, reason

    @rule("TIM-S4")
    def _forwarded(self, instruction: Instruction) -> int:
        """When a load of what was just stored can issue."""
        assert instruction.place
        base, displacement = instruction.place
        at = 0
        for other, start, size, cycle in self.stores:
            if other == base and start < displacement + instruction.bytes and displacement < start + size:
                at = max(at, cycle + self.table.store_to_load)
        return at

    def _in_shadow(self, cycle: int) -> bool:
        """Whether a VFMA issued in one of the cycles before."""
        return self.shadow_from is not None and self.shadow_from < cycle <= self.shadow_from + self.table.shadow

    def _waits_as_younger(self, instruction: Instruction, fault: str) -> bool:
        """Whether the younger slot, or being beside a VFMA that is not the first, keeps it until the shadow ends."""
        if instruction.row.shadow != OLDER or not self.table.shadow or self.older is None:
            return False
        beside = self.older.row.casts_shadow and not self.older_is_first
        return beside if fault else self._in_shadow(self.cycle)

    def _kept_by_shadow(self, instruction: Instruction, at: int, reason: str) -> tuple[int, str]:
        """VFMA keeps some instructions back whatever slot they get."""
        if instruction.row.shadow == "never" and self.shadow_from is not None and self.table.shadow:
            end = self.shadow_from + self.table.shadow + 1
            if end > at:
                return end, "the shadow of VFMA"
        return at, reason

    @rule("TIM-S3")
    def _pair_fault(self, instruction: Instruction) -> str:
        """Why this cannot be the younger beside the older; empty if it can."""
        older, row = self.older, instruction.row
        if older is None or self.closed:
            return "the cycle is over"
        if row.slot != "either":
            return "it pairs with nothing" if row.slot == ALONE else "it can only be the older"
        return self._unit_fault(older, instruction) or self._mac_fault(older, instruction)

    def _unit_fault(self, older: Instruction, instruction: Instruction) -> str:
        """Which unit both would need."""
        both = (older.uses | self.older_claims) & instruction.uses
        if "load" in both and self._same_bank(older, instruction):
            return "the same bank as the load beside it"
        if both - {"load"}:
            return f"one {min(both - {'load'})} a cycle"
        for pair in self.table.never_pair:
            if pair & older.uses and pair & instruction.uses and pair <= older.uses | instruction.uses:
                return f"{' and '.join(sorted(pair))} do not pair"
        return ""

    def _mac_fault(self, older: Instruction, instruction: Instruction) -> str:
        """Loads, stores and moves of the FPU pair with the first VFMA of several alone."""
        behind = older.row.casts_shadow and instruction.row.shadow and not self.older_is_first
        before = instruction.row.casts_shadow and older.row.shadow and self._in_shadow(self.cycle)
        return "not beside VFMA" if behind or before else ""

    @rule("TIM-S6")
    def _same_bank(self, older: Instruction, younger: Instruction) -> bool:
        """Two loads of which base and displacement say that they go to one bank (TIM-S6)."""
        if not older.place or not younger.place or older.place[0] != younger.place[0]:
            return False
        return (older.place[1] ^ younger.place[1]) & 4 == 0

    def _early(self, instruction: Instruction, cycle: int, slot: str) -> bool:
        if slot not in instruction.can_be_early:
            return False
        if slot == YOUNGER and self.older is not None and "shifter" in self.older.uses:
            return False
        for register, _ in instruction.reads:
            made, result = self.ready.get(register, (-FAR, ""))
            if made + self.table.latency.get(result, {}).get("early", 1) > cycle:
                return False
        return True

    def _commit(self, instruction: Instruction, cycle: int, slot: str, reason: str, waited: int, taken: bool) -> Issue:
        row, early = instruction.row, self._early(instruction, cycle, slot)
        if slot == YOUNGER:
            self.closed = True
        else:
            self.closed = slot == ALONE or not self.table.dual_issue
            self.older, self.older_is_first = instruction, not self._in_shadow(cycle)
            self.older_claims = frozenset({row.claims}) if row.claims and early else frozenset()
        for register, result, later in instruction.writes:
            self.ready[register] = (cycle + later, "early" if early and result == "late" else result)
            self.stores = [store for store in self.stores if store[0] != register]
            if register == FLAGS:
                self.flags_at = cycle
        if row.casts_shadow:
            self.shadow_from = cycle
        if (
            row.memory == "store"
            and instruction.place
            and not any(instruction.place[0] == w[0] for w in instruction.writes)
        ):
            self.stores = [store for store in self.stores if store[3] > cycle - FAR]
            self.stores.append((*instruction.place, instruction.bytes, cycle))
        self.cycle = cycle + instruction.cycles - 1
        self.free_at = max(self.free_at, cycle + max(instruction.cycles, row.blocks))
        if taken:
            self.closed = True
            self.free_at = max(self.free_at, self.cycle + 1 + self.table.branch.taken)
        return Issue(instruction, cycle, slot, reason, waited, early)


@rule("TIM-S2", "TIM-S3")
def schedule(instructions: Iterable[Instruction], table: Table, pipeline: Pipeline | None = None) -> list[Issue]:
    """Issue a straight stretch of code, from an empty pipeline unless told otherwise."""
    pipeline = pipeline or Pipeline(table)
    return [pipeline.issue(instruction) for instruction in instructions]


def unknown(issues: Iterable[Issue]) -> int:
    """How many of the instructions have no row."""
    return sum(issue.instruction.row is UNKNOWN for issue in issues)
