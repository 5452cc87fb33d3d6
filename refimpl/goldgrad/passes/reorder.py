"""Reorder: the order in which nodes need the fewest bytes at once (specs/memory.md).

The search goes from state to state; a state is the set of nodes that have run, and determines which bytes are live.
It always continues the state whose way there needed least (best first), so that

- the first way that reaches the end is the best there is, and
- at any time, what the best open state needed is a lower bound for every order.

A move that needs no more than is needed anyway and leaves no more bytes than before is made at once, without
branching: whatever a good order does later, making that move first makes no step of it larger (MEM-S6 says why).  In
training graphs most moves are such, so networks of hundreds of nodes are ordered exactly.  Where too many states
remain, the rest of the way is found greedily, and the gap to the bound is known.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count

from ..graph import Graph
from ..memory.demand import Demand, counted, demands, profile
from ..memory.liveness import lasting
from ..rules import rule

STATES = 4_000
"""How many states the search looks at before it turns greedy."""


@dataclass(frozen=True)
class Ordering:
    """A graph in its new order; ``peak`` live bytes, no order of the same nodes needs fewer than ``bound``."""

    graph: Graph
    peak: int
    bound: int
    states: int

    @property
    def is_best(self) -> bool:
        """Whether no order needs fewer bytes."""
        return self.peak == self.bound


@dataclass(frozen=True)
class _State:
    """Which nodes have run and which could run next (bit sets), the bytes live now, and the way here."""

    done: int
    ready: int
    live: int
    peak: int
    way: tuple[int, _Way] | None


_Way = tuple[int, "_Way"] | None


class _Search:
    def __init__(self, graph: Graph, asked: Sequence[Demand]) -> None:
        self.graph, self.asked = graph, asked
        self.size = counted(graph)
        self.kept = lasting(graph)
        maker = {name: i for i, node in enumerate(graph.nodes) for name in node.results}
        self.readers = dict.fromkeys(self.size, 0)
        for i, demand in enumerate(asked):
            for name in demand.reads:
                self.readers[name] |= 1 << i
        self.before = [
            sum(1 << j for j in {maker[name] for name in node.operands if name in maker}) for node in graph.nodes
        ]
        for old, new in graph.updates.items():
            if new in maker:  # in place: after all who read the old value
                self.before[maker[new]] |= self.readers.get(old, 0) & ~(1 << maker[new])
        self.after: list[list[int]] = [[] for _ in graph.nodes]
        for i, waits in enumerate(self.before):
            for j in _bits(waits):
                self.after[j].append(i)
        self.all = (1 << len(graph.nodes)) - 1
        self.may_end = [
            [(name, self.readers[name] & ~(1 << i)) for name in demand.reads if name not in self.kept]
            for i, demand in enumerate(asked)
        ]
        """For each node, what it reads and can be the last to read, with the other readers."""
        self.changes: dict[tuple[int, tuple[str, ...]], tuple[int, int]] = {}

    def is_legal(self) -> bool:
        """Whether the graph's own order is one: an update may stand before a reader of the old value."""
        return not any(waits >> i for i, waits in enumerate(self.before))

    def start(self) -> _State:
        live = sum(nbytes for name, nbytes in self.size.items() if self._from_outside(name))
        ready = sum(1 << i for i, waits in enumerate(self.before) if not waits)
        return _State(0, ready, live, live, None)

    def _from_outside(self, name: str) -> bool:
        made = any(name in demand.writes for demand in self.asked)
        return not made and (self.readers[name] != 0 or name in self.kept)

    def step(self, state: _State, node: int) -> tuple[int, int]:
        """Live bytes while a node runs, and after it."""
        ending = tuple(name for name, others in self.may_end[node] if not others & ~state.done)
        if (node, ending) not in self.changes:
            self.changes[node, ending] = self._change(self.asked[node], ending)
        during, after = self.changes[node, ending]
        return state.live + during, state.live + after

    def _change(self, demand: Demand, ending: Sequence[str]) -> tuple[int, int]:
        """How many bytes more live while a node runs, and after it, if these operands end."""
        size = self.size
        written = sum(size[result] for result in demand.writes)
        shared = sum(size[result] for result in demand.sharing(ending, size))
        unread = sum(size[r] for r in demand.writes if not self.readers[r] and r not in self.kept)
        return written + demand.scratch - shared, written - unread - sum(size[x] for x in ending)

    def move(self, state: _State, node: int, during: int, after: int) -> _State:
        done, ready = state.done | 1 << node, state.ready & ~(1 << node)
        for other in self.after[node]:
            if not self.before[other] & ~done:
                ready |= 1 << other
        return _State(done, ready, after, max(state.peak, during), (node, state.way))

    @rule("MEM-S6")
    def settle(self, state: _State) -> _State:
        """Make every move that costs nothing: no more than is needed anyway while it runs, no more bytes after it."""
        moved = True
        while moved:
            moved = False
            for node in _bits(state.ready):
                during, after = self.step(state, node)
                if during <= state.peak and after <= state.live:
                    state, moved = self.move(state, node, during, after), True
        return state

    def greedy(self, state: _State) -> _State:
        """To the end by the move that needs least now, then leaves least."""
        while state.done != self.all:
            choices = [(max(state.peak, during), after, node, during) for node, during, after in self.moves(state)]
            _, after, node, during = min(choices)
            state = self.settle(self.move(state, node, during, after))
        return state

    def moves(self, state: _State) -> list[tuple[int, int, int]]:
        return [(node, *self.step(state, node)) for node in _bits(state.ready)]

    def graph_of(self, state: _State) -> Graph:
        order, way = list[int](), state.way
        while way is not None:
            node, way = way
            order.append(node)
        return replace(self.graph, nodes=tuple(self.graph.nodes[i] for i in reversed(order)))


def _bits(number: int) -> list[int]:
    """Positions of the bits that are set, ascending."""
    positions = []
    while number:
        lowest = number & -number
        positions.append(lowest.bit_length() - 1)
        number ^= lowest
    return positions


@rule("MEM-S5", "MEM-S6")
def order(graph: Graph, in_place: bool = True, states: int = STATES) -> Ordering:
    """The order of least live bytes: the best where ``states`` suffice, else a good one and a bound for all."""
    asked = demands(graph, in_place)
    search, number = _Search(graph, asked), count()
    first = search.settle(search.start())
    queue = [(first.peak, 0, first.live, next(number), first)]
    seen = {first.done: first.peak}
    looked = 0
    deepest = first
    while queue:
        peak, _, _, _, state = heapq.heappop(queue)
        if peak > seen[state.done]:
            continue
        if state.done == search.all:
            return Ordering(search.graph_of(state), peak, peak, looked)
        if looked == states:
            return _unproved(search, graph, asked, deepest, peak, looked)
        looked += 1
        deepest = max(deepest, state, key=lambda s: s.done.bit_count())
        for node, during, after in search.moves(state):
            reached = search.settle(search.move(state, node, during, after))
            if reached.peak < seen.get(reached.done, reached.peak + 1):
                seen[reached.done] = reached.peak
                entry = (reached.peak, -reached.done.bit_count(), reached.live, next(number), reached)
                heapq.heappush(queue, entry)
    raise AssertionError("a graph has an order")


def _unproved(
    search: _Search, graph: Graph, asked: Sequence[Demand], deepest: _State, bound: int, looked: int
) -> Ordering:
    """The best of up to three orders: greedy from the start, greedy from where the search got to, the given one."""
    found = min((search.greedy(state) for state in (search.settle(search.start()), deepest)), key=lambda s: s.peak)
    if search.is_legal():
        given = profile(graph, asked).peak
        if given <= found.peak:
            return Ordering(graph, given, bound, looked)
    return Ordering(search.graph_of(found), found.peak, bound, looked)


def reorder(graph: Graph) -> Graph:
    """The graph in the order of least live bytes."""
    return order(graph).graph
