"""What each node asks of memory, whatever the order: what it reads and writes, scratch, who may take whose place.

A plan counts what lies in SRAM (specs/memory.md).  Frozen parameters and constants lie in flash.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ..composites.rows import fed_by_rows
from ..graph import Graph, Node
from ..rules import rule
from .liveness import lives
from .scratch import scratch_bytes
from .sharing import legal_pairs


def fed_samples(graph: Graph) -> set[str]:
    """The samples that come row by row (STREAM-S10)."""
    return {name for node in graph.nodes if node.body for name in fed_by_rows(node, graph.tensors)}


@rule("MEM-S1")
def counted(graph: Graph) -> dict[str, int]:
    """Bytes of every tensor that lies in SRAM.

    All but constants, parameters that have no next value, and samples that come row by row.
    """
    fed = fed_samples(graph)
    never = {
        name
        for name, tensor in graph.tensors.items()
        if tensor.role == "constant" or (tensor.role in ("weight", "bias", "state") and name not in graph.updates)
    }
    return {name: tensor.nbytes for name, tensor in graph.tensors.items() if name not in never | fed}


@dataclass(frozen=True)
class Demand:
    """What one node asks: counted operands and results, bytes of scratch, and (result, operand) that may share.

    ``must`` are the pairs that have to share: the next value of a parameter lies where the parameter lay.
    """

    reads: tuple[str, ...]
    writes: tuple[str, ...]
    scratch: int
    may: frozenset[tuple[str, str]]
    must: frozenset[tuple[str, str]]

    @rule("MEM-S3")
    def sharing(self, ending: Collection[str], size: Mapping[str, int]) -> dict[str, str]:
        """Which result takes which operand's place, so that most bytes are saved; only ``ending`` operands give theirs.

        Results are matched one by one, updates first and then the largest, by augmenting paths: whichever set of
        results can be matched at all contains, of two, the one that saves more.
        """
        places = {
            result: [
                x for r, x in sorted(self.may) if r == result and x in ending and x not in dict(self.must).values()
            ]
            for result in self.writes
        }
        taken = {x: r for r, x in self.must if x in ending}

        def match(result: str, tried: set[str]) -> bool:
            for x in places[result]:
                if x not in tried:
                    tried.add(x)
                    if x not in taken or match(taken[x], tried):
                        taken[x] = result
                        return True
            return False

        for result in sorted(self.writes, key=lambda name: (-size[name], name)):
            if result not in dict(self.must):
                match(result, set())
        return {result: x for x, result in taken.items()}


def demands(graph: Graph, in_place: bool = True) -> list[Demand]:
    """The demand of every node, in order; without ``in_place`` only what must share does."""
    size = counted(graph)
    return [_demand(graph, node, size, in_place) for node in graph.nodes]


@rule("MEM-S2", "MEM-S3")
def _demand(graph: Graph, node: Node, size: Mapping[str, int], in_place: bool) -> Demand:
    legal = {(r, x) for r, x in legal_pairs(graph, node) if x in size and size[r] <= size[x]}
    must = frozenset((r, x) for x, r in graph.updates.items() if r in node.results and x in node.operands)
    return Demand(
        reads=tuple(dict.fromkeys(name for name in node.operands if name in size)),
        writes=node.results,
        scratch=scratch_bytes(graph, node),
        may=frozenset(legal) if in_place else frozenset(),
        must=must,
    )


@dataclass(frozen=True)
class Profile:
    """Live bytes at every node of a graph in its order, and who takes whose place (MEM-S3)."""

    live: Sequence[int]
    shares: Mapping[str, str]
    """From a result to the operand in whose place it lies."""

    @property
    def peak(self) -> int:
        """The most bytes that are live at once."""
        return max(self.live)


@rule("MEM-S4")
def profile(graph: Graph, asked: Sequence[Demand] | None = None) -> Profile:
    """Live bytes node by node: all counted tensors that live, scratch, less what takes an operand's place."""
    asked = demands(graph) if asked is None else asked
    size, life = counted(graph), lives(graph)
    change = [0] * (len(graph.nodes) + 2)
    for name, nbytes in size.items():
        change[max(life[name].first, 0)] += nbytes
        change[min(life[name].last, len(graph.nodes) - 1) + 1] -= nbytes
    live, shares, total = list[int](), dict[str, str](), 0
    for time, demand in enumerate(asked):
        total += change[time]
        sharing = demand.sharing([x for x in demand.reads if life[x].last == time], size)
        live.append(total + demand.scratch - sum(size[result] for result in sharing))
        shares |= sharing
    return Profile(live, shares)
