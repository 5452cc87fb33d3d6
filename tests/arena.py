"""Whether a placement is right, by definition: who owns each byte of the arena as a graph runs.

A node writes the bytes of its results and of its scratch, and then they are theirs; a node may run if every operand
still owns all its bytes.  Shares no code with ``check_placement`` but for the alias tables.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from goldgrad.graph import Graph
from goldgrad.memory.scratch import scratch_bytes, scratch_name
from goldgrad.memory.sharing import legal_pairs

FREE = -1


def fault(graph: Graph, placement: Mapping[str, int]) -> str | None:
    """What goes wrong first when the graph runs at these offsets; None if nothing does."""
    size = {name: graph[name].nbytes for name in placement if name in graph.tensors}
    size |= {scratch_name(node): scratch_bytes(graph, node) for node in graph.nodes if scratch_name(node) in placement}
    number = {name: i for i, name in enumerate(placement)}
    owner = np.full(max(placement[name] + size[name] for name in placement), FREE, np.int32)

    def place(name: str) -> slice:
        return slice(placement[name], placement[name] + size[name])

    def is_whole(name: str) -> bool:
        return bool((owner[place(name)] == number[name]).all())

    outside = [tensor.name for tensor in graph.outside() if tensor.name in placement]
    for name in outside:
        owner[place(name)] = number[name]
    for name in outside:
        if not is_whole(name):
            return f"{name} is fed, and overwritten by what is fed"
    for time, node in enumerate(graph.nodes):
        operands = [name for name in node.operands if name in placement]
        for name in operands:
            if not is_whole(name):
                return f"{name} is overwritten before node {time} reads it"
        legal = legal_pairs(graph, node)
        written = [name for name in (*node.results, scratch_name(node)) if name in placement and size[name]]
        for name in written:
            touched = {x for x in operands if (owner[place(name)] == number[x]).any()}
            for x in touched:
                fits = placement[x] == placement[name] and name in graph.tensors and size[name] <= size[x]
                if not (fits and (name, x) in legal):
                    return f"{name} is written over {x}, which node {time} reads"
        for name in written:
            owner[place(name)] = number[name]
        for name in written:
            if not is_whole(name):
                return f"{name} is overwritten by what node {time} writes besides"
        owner[owner == number.get(scratch_name(node), FREE)] = FREE
    stays = [t.name for t in graph.outside() if t.role != "input" and t.name not in graph.updates]
    for name in (*graph.kept, *stays):
        if name in placement and not is_whole(name):
            return f"{name} is overwritten before the end"
    return None
