"""Offsets: where in the arena each tensor lies, for a graph in its order (specs/memory.md).

What shares a place is one *block*: a parameter and its next value, a map and what is written over it.  A block takes
some bytes for some time, then fewer for some more; blocks that are there at the same time must not touch.  Every order
in which blocks take the lowest place that is free gives a placement; a few orders that are usually good are tried, and
then the orders that put first what came to lie on top, until the arena is as small as the live bytes allow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random

import numpy as np

from ..graph import Graph
from ..numerics import I64
from ..rules import rule
from .cp_sat import solve
from .demand import Demand, counted, profile
from .liveness import lives
from .scratch import scratch_name

TRIES = 150
"""How many orders are tried before the best placement so far is taken."""


@dataclass(frozen=True)
class Span:
    """A time, from node ``first`` to node ``last``, in which a block takes ``nbytes``."""

    first: int
    last: int
    nbytes: int


@dataclass(frozen=True)
class Block:
    """Tensors that lie at one address, one after the other; or a node's scratch; or all that is always there.

    ``names`` are what lies in it, by its offset from the block's.
    """

    names: Mapping[str, int]
    spans: tuple[Span, ...]
    align: int

    @cached_property
    def nbytes(self) -> int:
        """The most bytes that it takes at any time."""
        return max(span.nbytes for span in self.spans)

    @property
    def area(self) -> int:
        """Bytes times nodes."""
        return sum(span.nbytes * (span.last - span.first + 1) for span in self.spans)


@rule("MEM-S3")
def blocks(graph: Graph, asked: Sequence[Demand], shares: Mapping[str, str]) -> list[Block]:
    """All that lies in the arena, by who shares a place: ``shares`` is from a result to an operand of its node."""
    size, life = counted(graph), lives(graph)
    end = len(graph.nodes) - 1
    chains: dict[str, list[str]] = {}
    for name in sorted(size, key=lambda n: life[n].first):  # an operand comes before what is written over it
        chain = chains[shares[name]] if name in shares else []
        chain.append(name)
        chains[name] = chain
    made = list[Block]()
    for chain in {id(chain): chain for chain in chains.values()}.values():
        spans, last = [], -1
        for name in chain:  # what is there before the first node is there at it
            first, last = max(life[name].first, last + 1), min(max(life[name].last, 0), end)
            if first <= last:
                spans.append(Span(first, last, size[name]))
        made.append(Block(dict.fromkeys(chain, 0), tuple(spans), max(_align(graph, name) for name in chain)))
    for time, (node, demand) in enumerate(zip(graph.nodes, asked, strict=True)):
        if demand.scratch:
            made.append(Block({scratch_name(node): 0}, (Span(time, time, demand.scratch),), SCRATCH))
    return _join_constant(made, end)


def _join_constant(items: Sequence[Block], end: int) -> list[Block]:
    """The blocks, with those that always take the same bytes joined to one: their order among themselves is nothing."""
    names, offset, rest = dict[str, int](), 0, list[Block]()
    for block in sorted(items, key=lambda b: -b.align):
        times = sum(span.last - span.first + 1 for span in block.spans)
        if times == end + 1 and all(span.nbytes == block.nbytes for span in block.spans):
            offset = -(-offset // block.align) * block.align
            names |= {name: offset + at for name, at in block.names.items()}
            offset += block.nbytes
        else:
            rest.append(block)
    return [Block(names, (Span(0, end, offset),), SCRATCH), *rest] if names else rest


SCRATCH = 4
"""What scratch is aligned to (INP-C1)."""


def _align(graph: Graph, name: str) -> int:
    return 4 if graph[name].type.dtype in ("int32", "float32") else 1


class Packing:
    """Blocks, and which of them meet."""

    def __init__(self, items: Sequence[Block]) -> None:
        self.items = items
        spans = [(i, span.first, span.last, span.nbytes) for i, item in enumerate(items) for span in item.spans]
        owner, first, last, size = np.array(spans, np.int64).reshape(-1, 4).T
        self.meets: list[list[I64]] = []
        """For each block three lists: others' numbers, and how many bytes this and that one take at one time."""
        for i, item in enumerate(items):
            met = [np.flatnonzero((first <= s.last) & (s.first <= last) & (owner != i)) for s in item.spans]
            mine = np.repeat([s.nbytes for s in item.spans], [len(others) for others in met])
            others = np.concatenate(met)
            self.meets.append([owner[others], mine, size[others]])

    def place(self, order: Sequence[int], like: tuple[Sequence[int], Sequence[int]] = ((), ())) -> list[int]:
        """Each block in turn at the lowest offset at which it touches none that is there; offsets by number.

        ``like``: another order and its offsets, which hold for as long as both orders go the same way.
        """
        offsets = np.full(len(self.items), -1)
        same = next((at for at, (i, j) in enumerate(zip(order, like[0], strict=False)) if i != j), len(like[0]))
        for i in order[:same]:
            offsets[i] = like[1][i]
        for i in order[same:]:
            others, mine, theirs = self.meets[i]
            there = offsets[others]
            placed = there >= 0
            # Offset o is taken if, for one of those that are placed, low < o < high.  In ascending order of low,
            # free[n] is the least offset that is above the first n; it is free of all if the next low is not below it.
            low, high = (there - mine)[placed], (there + theirs)[placed]
            ascending = low.argsort()
            free, align = np.zeros(low.size + 1, np.int64), self.items[i].align
            np.maximum.accumulate(high[ascending], out=free[1:])
            if align > 1:
                free = -(-free // align) * align
            gaps = (low[ascending] >= free[:-1]).nonzero()[0]
            offsets[i] = free[gaps[0]] if len(gaps) else free[-1]
        return [int(offset) for offset in offsets]

    def height(self, offsets: Sequence[int]) -> int:
        """Bytes of the arena."""
        return max((offset + item.nbytes for offset, item in zip(offsets, self.items, strict=True)), default=0)

    def orders(self) -> Iterator[list[int]]:
        """Orders that are usually good."""
        numbers = range(len(self.items))
        item = self.items
        yield sorted(numbers, key=lambda i: (-item[i].nbytes, item[i].spans[0].first))
        yield sorted(numbers, key=lambda i: (-item[i].area, item[i].spans[0].first))
        yield sorted(numbers, key=lambda i: (item[i].spans[0].first - item[i].spans[-1].last, -item[i].nbytes))
        yield sorted(numbers, key=lambda i: (item[i].spans[0].first, -item[i].nbytes))
        yield sorted(numbers, key=lambda i: (-item[i].spans[-1].last, -item[i].nbytes))

    @rule("MEM-S7")
    def search(self, enough: int, tries: int, seed: int = 0) -> list[int]:
        """The lowest placement found; ends early when the arena has ``enough`` bytes."""
        random = Random(seed)
        best, best_order = list[int](), list[int]()
        for order in self.orders():
            offsets = self.place(order)
            if not best_order or self.height(offsets) < self.height(best):
                best, best_order = offsets, order
        order, offsets = best_order, best
        for _ in range(tries):
            if self.height(best) <= enough:
                break
            before = order, offsets
            order = self._lift(*before, random)
            offsets = self.place(order, before)
            if self.height(offsets) <= self.height(best):
                best, best_order = offsets, order
            elif random.random() < 0.1:
                order, offsets = best_order, best
        return best

    def _lift(self, order: Sequence[int], offsets: Sequence[int], random: Random) -> list[int]:
        """The order with a block that ends on top, and sometimes one below it, placed earlier."""
        height = self.height(offsets)
        top = [i for i in order if offsets[i] + self.items[i].nbytes == height]
        moved = random.choice(top)
        position = random.randrange(order.index(moved) + 1)
        changed = [i for i in order if i != moved]
        changed.insert(position, moved)
        if random.random() < 0.5:
            a, b = random.randrange(len(changed)), random.randrange(len(changed))
            changed[a], changed[b] = changed[b], changed[a]
        return changed


@rule("MEM-S3")
def needed(graph: Graph, asked: Sequence[Demand]) -> dict[str, str]:
    """Of what may share a place, that without which more bytes than the peak would live, and what must share."""
    size, life, all_shares = counted(graph), lives(graph), profile(graph, asked)
    live, shares = list(all_shares.live), dict[str, str]()
    for result, operand in all_shares.shares.items():
        time = life[result].first
        if (result, operand) in asked[time].must or live[time] + size[result] > all_shares.peak:
            shares[result] = operand
        else:
            live[time] += size[result]
    return shares


@rule("MEM-S7")
def place(graph: Graph, asked: Sequence[Demand], tries: int = TRIES, seconds: float = 0.0) -> dict[str, int]:
    """Offsets of all that is counted, and of scratch (by :func:`~goldgrad.memory.scratch.scratch_name`).

    With every result in an operand's place that may lie there, and with only those that have to: the former needs
    fewer bytes, the latter is easier to place.  ``seconds`` is for the constraint solver, where both leave a gap.
    """
    found = profile(graph, asked)
    packings = [Packing(blocks(graph, asked, shares)) for shares in (found.shares, needed(graph, asked))]
    best: Packing = packings[0]
    least: Sequence[int] = ()
    for packing in packings:
        offsets = packing.search(found.peak, tries)
        if not least or packing.height(offsets) < best.height(least):
            best, least = packing, offsets
        if best.height(least) <= found.peak:
            break
    if seconds > 0 and best.height(least) > found.peak:
        for packing in packings:
            solved = solve(packing, packing.search(found.peak, 0), found.peak, seconds / len(packings))
            if packing.height(solved) < best.height(least):
                best, least = packing, solved
            if best.height(least) <= found.peak:
                break
    return {name: offset + at for i, offset in enumerate(least) for name, at in best.items[i].names.items()}


@rule("MEM-S12")
def with_constants_on_top(graph: Graph, asked: Sequence[Demand], placement: Mapping[str, int]) -> dict[str, int]:
    """The placement with what is always there on top instead of at the bottom, if the arena is no larger then."""
    shares = profile(graph, asked).shares
    items = blocks(graph, asked, {r: o for r, o in shares.items() if placement[r] == placement[o]})
    if len(items) < 2:
        return dict(placement)
    constant, rest = items[0], items[1:]
    is_constant = constant.spans == (Span(0, len(graph.nodes) - 1, constant.nbytes),)
    if not is_constant or any(placement[name] != at for name, at in constant.names.items()):
        return dict(placement)
    moved = constant.nbytes // SCRATCH * SCRATCH
    found = {name: placement[name] - moved for item in rest for name in item.names}
    top = max(found[name] - at + item.nbytes for item in rest for name, at in item.names.items())
    start = -(-top // SCRATCH) * SCRATCH
    found |= {name: start + at for name, at in constant.names.items()}
    return found if start + constant.nbytes <= moved + top else dict(placement)
