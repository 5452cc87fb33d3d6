"""Lower bounds: bytes that no plan can do without (specs/memory.md)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from ..composites import unfold
from ..graph import Graph
from ..rules import rule
from .demand import Demand, counted
from .liveness import lasting


@rule("MEM-S8")
def bound_of_any_order(graph: Graph, asked: Sequence[Demand]) -> int:
    """Bytes that some node needs in every order of the same nodes.

    At a node, whatever the order, live: tensors that exist before it in every order (from outside, or made by what the
    node depends on) and are read by it or after it in every order, or kept; its results, less those that take an
    operand's place; its scratch.
    """
    size = counted(graph)
    before, after = _ancestors(graph), _descendants(graph)
    maker = {name: i for i, node in enumerate(graph.nodes) for name in node.results}
    kept, bound = lasting(graph), 0
    readers: dict[str, int] = dict.fromkeys(size, 0)
    for i, demand in enumerate(asked):
        for name in demand.reads:
            readers[name] |= 1 << i
    for i, demand in enumerate(asked):
        there = {
            name
            for name in size
            if (name not in maker or before[i] >> maker[name] & 1)
            and (name in kept or readers[name] & (after[i] | 1 << i))
        }
        may_end = [name for name in demand.reads if name not in kept and not readers[name] & after[i]]
        shared = sum(size[result] for result in demand.sharing(may_end, size))
        bound = max(bound, sum(size[n] for n in {*there, *demand.writes}) + demand.scratch - shared)
    return bound


@rule("MEM-S9")
def floor(graph: Graph, fed: Collection[str] = ()) -> int:
    """Bytes that any way to run the graph needs that computes nothing twice: however ordered, fused or streamed.

    Before the first node, everything from outside is there.  When the loss has been computed and no gradient yet,
    there is all that the loss is computed from, or along with, and a gradient is computed from.  What is made neither
    on the way to the loss nor from it (a slice that is saved) may come earlier or later: then it, or what it is made
    of, is there, whichever is less.  Samples that come row by row (``fed``) need not be there.
    """
    graph = unfold(graph)
    size = {name: nbytes for name, nbytes in counted(graph).items() if name not in fed}
    kept, nodes = lasting(graph), graph.nodes
    maker = {name: i for i, node in enumerate(nodes) for name in node.results}
    read = {name for node in nodes for name in node.operands}
    start = sum(nbytes for name, nbytes in size.items() if name not in maker and (name in read or name in kept))
    loss = next((i for i, node in enumerate(nodes) if any(graph[name].role == "loss" for name in node.results)), None)
    if loss is None:
        return start
    before, behind = _ancestors(graph)[loss] | 1 << loss, _descendants(graph)[loss]
    wanted = kept | {name for i, node in enumerate(nodes) if behind >> i & 1 for name in node.operands}
    there = {name for name in size if name in wanted and (name not in maker or before >> maker[name] & 1)}
    between = sum(size[name] for name in there)
    for x in size.keys() - there:
        if x not in maker or before >> maker[x] & 1:
            free = [i for i in range(len(nodes)) if not (before | behind) >> i & 1 and nodes[i].operands[0] == x]
            between += min(size[x], sum(size[name] for i in free for name in nodes[i].results if name in wanted))
    return max(start, between)


def _ancestors(graph: Graph) -> list[int]:
    """For each node, the nodes that run before it in every order, as a bit set."""
    maker = {name: i for i, node in enumerate(graph.nodes) for name in node.results}
    readers: dict[str, list[int]] = {}
    for i, node in enumerate(graph.nodes):
        for name in node.operands:
            readers.setdefault(name, []).append(i)
    direct = [{maker[name] for name in node.operands if name in maker} for node in graph.nodes]
    for old, new in graph.updates.items():
        if new in maker:
            direct[maker[new]] |= {i for i in readers.get(old, ()) if i != maker[new]}
    found: dict[int, int] = {}
    for i in _in_order(direct):
        found[i] = 0
        for j in direct[i]:
            found[i] |= found[j] | 1 << j
    return [found[i] for i in range(len(graph.nodes))]


def _in_order(direct: list[set[int]]) -> Iterator[int]:
    """Numbers, each after those that it waits for; usually they are in order already."""
    waiting = [set(waits) for waits in direct]
    behind: list[list[int]] = [[] for _ in direct]
    for i, waits in enumerate(direct):
        for j in waits:
            behind[j].append(i)
    ready = [i for i, waits in enumerate(waiting) if not waits]
    while ready:
        i = ready.pop()
        yield i
        for k in behind[i]:
            waiting[k].discard(i)
            if not waiting[k]:
                ready.append(k)


def _descendants(graph: Graph) -> list[int]:
    """For each node, the nodes that run after it in every order, as a bit set."""
    after = [0] * len(graph.nodes)
    for i, ancestors in enumerate(_ancestors(graph)):
        for j in range(len(graph.nodes)):
            if ancestors >> j & 1:
                after[j] |= 1 << i
    return after
