"""What an emulator counts for the timing model: how often which block of code followed which, and was mispredicted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Block(NamedTuple):
    """A stretch of code that is executed from its start to its end: ``size`` bytes."""

    start: int
    size: int

    @property
    def end(self) -> int:
        """The address behind it."""
        return self.start + self.size


class Edge(NamedTuple):
    """A block and the one before it, in a region; no block before the first."""

    region: int
    before: Block | None
    block: Block


class Accesses(NamedTuple):
    """What an instruction met in memory, in numbers of its loads; or a block of code, in lines fetched."""

    unaligned: int = 0
    same_bank: int = 0
    """To the bank that the instruction right before it used."""
    flash: int = 0
    """Lines of flash on the AXI bus that the caches had not."""
    flash_itcm: int = 0
    """Lines of flash on the ITCM bus that the ART accelerator had not."""
    sram: int = 0
    """Lines of SRAM1 and SRAM2 that the data cache had not."""

    def plus(self, other: Accesses) -> Accesses:
        """The sum."""
        return Accesses(*(a + b for a, b in zip(self, other, strict=True)))


def fetched(block: int) -> int:
    """What stands for the fetches of the block at an address, among instructions, which stand for their loads."""
    return block | 1


@dataclass
class Trace:
    """Counts of one run or several."""

    count: Counter[Edge] = field(default_factory=Counter)
    missed: Counter[Edge] = field(default_factory=Counter)
    """How often the branch at the end of ``before`` was predicted wrongly."""
    memory: dict[tuple[int, int], Accesses] | None = None
    """By region and address, of an instruction or :func:`fetched`; None if memory was not watched."""

    def update(self, other: Trace) -> None:
        """Add what another run counted."""
        self.count.update(other.count)
        self.missed.update(other.missed)
        if other.memory is not None:
            self.memory = self.memory or {}
            for place, accesses in other.memory.items():
                self.memory[place] = self.memory.get(place, Accesses()).plus(accesses)

    def blocks(self) -> set[Block]:
        """Every block that was run."""
        return {edge.block for edge in self.count}

    @classmethod
    def of(cls, edges: Iterable[tuple[Edge, int, int]]) -> Trace:
        """From edges, each with its count and how often it was mispredicted."""
        trace = cls()
        for edge, count, missed in edges:
            trace.count[edge] += count
            if missed:
                trace.missed[edge] += missed
        return trace

    def instructions(self, sizes: Mapping[Block, int]) -> Counter[int]:
        """Instructions by region, when ``sizes`` says how many a block has."""
        found: Counter[int] = Counter()
        for edge, count in self.count.items():
            found[edge.region] += count * sizes[edge.block]
        return found
