"""What each C function of a program took, static ones too: a profile of a trace (TIM-S11)."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...rules import rule
from ..elf import Symbol
from .edges import Block, Edge

NOWHERE = "outside of functions"
"""Code that no function has, and what fetches of instructions waited for."""


@dataclass
class Spent:
    """What a function took itself, whatever it calls left out; ``cycles`` with those of mispredicted branches."""

    calls: int = 0
    instructions: int = 0
    cycles: float = 0.0
    mispredict: float = 0.0

    def add(self, other: Spent) -> None:
        """Add another's."""
        self.calls += other.calls
        self.instructions += other.instructions
        self.cycles += other.cycles
        self.mispredict += other.mispredict

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**vars(self)}


Profile = Mapping[str, Spent]
"""What each function took, by its name."""


@dataclass
class Functions:
    """Where functions begin and end."""

    symbols: Iterable[Symbol]
    _found: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._sorted = sorted(self.symbols, key=lambda symbol: symbol.address)
        self._starts = [symbol.address for symbol in self._sorted]

    def around(self, address: int) -> str:
        """The function that an address lies in; one of hand-written code without a size lasts until the next."""
        if address not in self._found:
            at = bisect.bisect_right(self._starts, address) - 1
            symbol = self._sorted[at] if at >= 0 else None
            inside = symbol is not None and (symbol.size == 0 or address < symbol.address + symbol.size)
            self._found[address] = symbol.name if symbol is not None and inside else NOWHERE
        return self._found[address]

    def enters(self, edge: Edge) -> bool:
        """Whether an edge is a call, or a jump in place of one: to the begin of a function, from outside of it."""
        at = bisect.bisect_left(self._starts, edge.block.start)
        begins = at < len(self._starts) and self._starts[at] == edge.block.start
        return begins and (edge.before is None or not self._is_within(edge.before, edge.block))

    def _is_within(self, before: Block, block: Block) -> bool:
        return self.around(before.start) == self.around(block.start)


@rule("TIM-S11")
def together(profiles: Iterable[Profile]) -> dict[str, Spent]:
    """The sum of profiles, those functions first that took most cycles."""
    found: dict[str, Spent] = {}
    for profile in profiles:
        for name, spent in profile.items():
            found.setdefault(name, Spent()).add(spent)
    return dict(sorted(found.items(), key=lambda item: (-item[1].cycles, item[0])))
