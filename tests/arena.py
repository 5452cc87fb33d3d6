"""Whether a placement is right, by definition: who owns each byte of the arena as a graph runs.

A node writes the bytes of its results and of its scratch, and then they are theirs; a node may run if every operand
still owns all its bytes.  Shares no code with ``check_placement`` but for the alias tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from goldgrad.graph import Graph, Node
from goldgrad.memory.scratch import scratch_bytes, scratch_name
from goldgrad.memory.sharing import legal_pairs


def fault(graph: Graph, placement: Mapping[str, int]) -> str | None:
    """What goes wrong first when the graph runs at these offsets; None if nothing does."""
    return next(_Arena(graph, placement).faults(), None)


class _Arena:
    def __init__(self, graph: Graph, placement: Mapping[str, int]) -> None:
        self.graph, self.placement = graph, placement
        self.size = {name: graph[name].nbytes for name in placement if name in graph.tensors}
        scratch = {scratch_name(node): node for node in graph.nodes}
        self.size |= {name: scratch_bytes(graph, scratch[name]) for name in placement if name in scratch}
        self.number = {name: i for i, name in enumerate(placement, 1)}
        self.owner = np.zeros(max(placement[name] + self.size[name] for name in placement), np.int32)

    def bytes_of(self, name: str) -> np.ndarray:
        """The owners of the bytes where something lies."""
        return self.owner[self.placement[name] : self.placement[name] + self.size[name]]

    def is_whole(self, name: str) -> bool:
        """Whether all its bytes are still its own."""
        return name not in self.placement or bool((self.bytes_of(name) == self.number[name]).all())

    def write(self, names: list[str], faulty: str) -> Iterator[str]:
        """Several at one time: none may lie on another."""
        for name in names:
            self.bytes_of(name)[:] = self.number[name]
        yield from (f"{name} {faulty}" for name in names if not self.is_whole(name))

    def faults(self) -> Iterator[str]:
        """All that goes wrong, from the first node to the last."""
        outside = [tensor for tensor in self.graph.outside() if tensor.name in self.placement]
        yield from self.write([tensor.name for tensor in outside], "is overwritten by what else is fed")
        for time, node in enumerate(self.graph.nodes):
            yield from self.run(node, f"node {time} ({node.function})")
        stays = [t.name for t in outside if t.role != "input" and t.name not in self.graph.updates]
        for name in (*self.graph.kept, *stays):
            if not self.is_whole(name):
                yield f"{name} is overwritten before the end"

    def run(self, node: Node, where: str) -> Iterator[str]:
        """Read the operands, write results and scratch."""
        yield from (f"{x} is overwritten before {where} reads it" for x in node.operands if not self.is_whole(x))
        written = [name for name in (*node.results, scratch_name(node)) if self.size.get(name)]
        legal = legal_pairs(self.graph, node)
        for name in written:
            for x in node.operands:
                if x in self.placement and (self.bytes_of(name) == self.number[x]).any():
                    begins_there = self.placement[x] == self.placement[name] and self.size[name] <= self.size[x]
                    if not begins_there or (name, x) not in legal:
                        yield f"{name} is written over {x}, which {where} reads"
        yield from self.write(written, f"is overwritten by what {where} writes besides")
        self.owner[self.owner == self.number.get(scratch_name(node), -1)] = 0
