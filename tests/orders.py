"""Live bytes and orders by definition, and random demands: what plans and searches are compared with.

:class:`Oracle` counts what lives while a node runs from the set of nodes that ran before, tensor by tensor, tries every
assignment of results to operands' places, and finds the least peak by going through every set of nodes that can have
run.  It shares no code with :mod:`goldgrad.memory` but for what it is told: who may and who must share.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, permutations
from typing import Any

from hypothesis import strategies as st

from goldgrad.graph import Graph, Node, Tensor
from goldgrad.memory.demand import Demand
from goldgrad.ops import Type

Done = frozenset[int]


def best_sharing(demand: Demand, ending: set[str], size: dict[str, int]) -> int:
    """The most bytes that results save in the place of operands: every set of results, every operand for each."""
    forced = {(r, x) for r, x in demand.must if x in ending}
    taken = {x for _, x in demand.must}
    free = [r for r in demand.writes if r not in {r for r, _ in demand.must}]
    places = sorted(x for x in ending if x not in taken)
    best = 0
    for count in range(min(len(free), len(places)) + 1):
        for results in combinations(free, count):
            for operands in permutations(places, count):
                if all(pair in demand.may for pair in zip(results, operands, strict=True)):
                    best = max(best, sum(size[r] for r in results))
    return best + sum(size[r] for r, _ in forced)


class Oracle:
    """A graph whose nodes ask for ``asked``: what lives when, and what is the least that an order needs."""

    def __init__(self, graph: Graph, asked: Sequence[Demand]) -> None:
        self.graph, self.asked = graph, asked
        self.size = {
            name: tensor.nbytes
            for name, tensor in graph.tensors.items()
            if tensor.role not in ("constant", "weight", "bias", "state") or name in graph.updates
        }
        nodes = list(enumerate(graph.nodes))
        self.maker = {name: i for i, node in nodes for name in node.results}
        self.readers = {name: {i for i, node in nodes if name in node.operands} for name in graph.tensors}
        self.lasting = {*graph.outputs, *graph.updates.values()}
        self.lasting |= {name for name, tensor in graph.tensors.items() if tensor.role == "rate"}
        self.waits = [{self.maker[name] for name in node.operands if name in self.maker} for _, node in nodes]
        for old, new in graph.updates.items():
            self.waits[self.maker[new]] |= self.readers[old] - {self.maker[new]}

    def during(self, done: Done, node: int) -> int:
        """Bytes that live while a node runs, after the nodes of ``done``."""
        demand, live = self.asked[node], 0
        for name, nbytes in self.size.items():
            is_there = name not in self.maker or self.maker[name] in done or self.maker[name] == node
            is_needed = name in self.lasting or self.maker.get(name) == node or bool(self.readers[name] - done)
            live += nbytes if is_there and is_needed else 0
        ending = {
            name
            for name in self.graph.nodes[node].operands
            if name in self.size and name not in self.lasting and self.readers[name] <= done | {node}
        }
        return live + demand.scratch - best_sharing(demand, ending, self.size)

    def live(self) -> list[int]:
        """Bytes that live at each node, in the graph's order."""
        return [self.during(frozenset(range(i)), i) for i in range(len(self.graph.nodes))]

    def peak(self, order: Sequence[int]) -> int:
        """The most bytes of an order; it must be a legal one."""
        assert sorted(order) == list(range(len(self.graph.nodes)))
        for position, node in enumerate(order):
            assert self.waits[node] <= set(order[:position]), f"node {node} runs before one that it waits for"
        return max(self.during(frozenset(order[:position]), node) for position, node in enumerate(order))

    def order_of(self, other: Graph) -> list[int]:
        """The numbers that the nodes of a graph in another order have in this one."""
        number = {node.results: i for i, node in enumerate(self.graph.nodes)}
        return [number[node.results] for node in other.nodes]

    def legal_orders(self, done: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
        """Every legal order, one by one."""
        if len(done) == len(self.graph.nodes):
            yield done
        for node, waits in enumerate(self.waits):
            if node not in done and waits <= set(done):
                yield from self.legal_orders((*done, node))

    def least_peak(self, most: int = 1 << 30) -> int | None:
        """The least peak of any order, over every set of nodes that can have run; None if they are more than most."""
        reached: dict[Done, int] = {frozenset(): 0}
        looked = 0
        for _ in self.graph.nodes:
            following: dict[Done, int] = {}
            for done, peak in reached.items():
                for node, waits in enumerate(self.waits):
                    if node not in done and waits <= done:
                        now, then = max(peak, self.during(done, node)), done | {node}
                        following[then] = min(now, following.get(then, now))
            reached, looked = following, looked + len(following)
            if looked > most:
                return None
        (peak,) = reached.values()
        return peak


# --- random demands ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Demands:
    """A graph of nodes that no operator has, and what each asks."""

    graph: Graph
    asked: tuple[Demand, ...]

    @property
    def oracle(self) -> Oracle:
        """The definition."""
        return Oracle(self.graph, self.asked)


@st.composite
def made_up(draw: st.DrawFn, nodes: int = 7, legal: bool = True) -> Demands:
    """Any structure: fan-out, several results, results that nobody reads, parameters, rates, scratch, any sharing.

    Unless ``legal``, updates may stand before readers of the old value.
    """
    size = st.integers(1, draw(st.sampled_from([3, 12, 40])))
    tensors: dict[str, Tensor] = {}

    def tensor(name: str, role: str, nbytes: int | None = None) -> str:
        tensors[name] = Tensor(name, Type((draw(size) if nbytes is None else nbytes,), "int8"), role)
        return name

    there = [tensor(f"x{i}", "input") for i in range(draw(st.integers(0, 2)))]
    there += [tensor("lr", "rate")] if draw(st.booleans()) else []
    weights = [tensor(f"w{i}", "weight") for i in range(draw(st.integers(0, 2)))]
    updates: dict[str, str] = {}
    made: list[tuple[list[str], list[str]]] = []
    for i in range(draw(st.integers(1, nodes))):
        known = [*there, *(w for w in weights if w not in updates)]
        reads = draw(st.lists(st.sampled_from(known), unique=True, max_size=3)) if known else []
        writes = [tensor(f"t{i}.{j}", "activation") for j in range(draw(st.sampled_from([1, 1, 2, 3])))]
        there += writes
        for w in [name for name in reads if name in weights and draw(st.booleans())]:
            updates[w] = tensor(f"{w}.new", "parameter", tensors[w].nbytes)
            writes.append(updates[w])
        made.append((reads, writes))
    outputs = tuple(name for name in there if name in tensors and draw(st.integers(0, 6)) == 6)
    read = {name for reads, _ in made for name in reads}
    kept = {name: t for name, t in tensors.items() if name in read or name in outputs or "." in name}
    graph = Graph("made-up", kept, tuple(Node("made.up", tuple(r), tuple(w)) for r, w in made), outputs, updates)
    asked = tuple(_demand(draw, graph, node, size) for node in graph.nodes)
    return Demands(graph, asked) if legal else _shuffled(draw, Demands(graph, asked))


def _demand(draw: st.DrawFn, graph: Graph, node: Node, size: st.SearchStrategy[int]) -> Demand:
    reads = tuple(name for name in node.operands if graph[name].role != "weight" or name in graph.updates)
    pairs = [(r, x) for r in node.results for x in reads if graph[r].nbytes <= graph[x].nbytes]
    may = {pair for pair in pairs if draw(st.booleans())}
    must = {(new, old) for old, new in graph.updates.items() if new in node.results}
    return Demand(reads, node.results, draw(st.just(0) | size), frozenset(may), frozenset(must))


def _shuffled(draw: st.DrawFn, demands: Demands) -> Demands:
    graph, left, order = demands.graph, list(range(len(demands.asked))), list[int]()
    maker = {name: i for i, node in enumerate(graph.nodes) for name in node.results}
    while left:
        ready = [i for i in left if {maker[x] for x in graph.nodes[i].operands if x in maker} <= set(order)]
        order.append(draw(st.sampled_from(ready)))
        left.remove(order[-1])
    nodes: Any = tuple(graph.nodes[i] for i in order)
    return Demands(replace(graph, nodes=nodes), tuple(demands.asked[i] for i in order))
