"""Groups where they cost no byte: streamed blocks take what lies idle around their scratch (specs/streaming.md).

A kernel that is called for a row widens all weights for it, and makes planes of all rows under the window.  For
several rows at a time it does so once; bands and tiles then have more rows.  So this buys speed with scratch, as
:mod:`goldgrad.passes.group` does for channels, where the arena has bytes that nothing else takes: a block's scratch
lives at one node, so whatever is free there is its to take, and nothing has to move.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from ..composites.rows import Schedule
from ..graph import Graph, Node
from ..passes.group import channel_sizes
from ..rules import rule
from .liveness import lives
from .offsets import SCRATCH
from .scratch import scratch_bytes, scratch_name
from .sharing import Placement, legal_pairs, placed_bytes

MOST = 64
"""Channels in a group that takes what is free anyway."""
Free = Callable[[int], Sequence[tuple[int, int]]]
"""From where to where memory is free at a node, in ascending order."""
Sizes = Callable[[Graph, Node], Sequence[int]]
"""The groups that a block may get, larger than its own, the largest first."""


@rule("STREAM-S15")
def with_row_groups(
    graph: Graph,
    placement: Placement,
    live: Sequence[int],
    budget: int,
    limit: int,
    place: Callable[[Graph], Placement],
) -> tuple[Graph, Placement]:
    """The graph with groups of rows where there is room, and where all lies then.

    ``live`` are the bytes that live at each node now, of which there may be ``budget``; the arena ends at ``limit``.
    First all is placed anew, by ``place``, for the largest groups that no more live bytes allow; if that is no arena
    within the limit, scratch gets as large as finds a place where it is free, and all else stays.
    """
    grouped, _ = _grouped(graph, live, budget, lambda time: [(0, budget)], row_sizes)
    placed = place(grouped) if grouped != graph else placement
    sizes = placed_bytes(grouped, placed)
    if all(offset + sizes[name] <= limit for name, offset in placed.items()):
        return grouped, placed
    return _filled(graph, placement, live, budget, limit, row_sizes)


@rule("MEM-S11")
def with_larger_groups(
    graph: Graph, placement: Placement, live: Sequence[int], budget: int, limit: int
) -> tuple[Graph, Placement]:
    """The graph with larger groups of channels where their scratch finds a place, and all else stays."""
    return _filled(graph, placement, live, budget, limit, lambda graph, node: channel_sizes(graph, node, MOST))


def _filled(
    graph: Graph, placement: Placement, live: Sequence[int], budget: int, limit: int, sizes: Sizes
) -> tuple[Graph, Placement]:
    grouped, places = _grouped(graph, live, budget, lambda time: list(_free(graph, placement, time, limit)), sizes)
    return grouped, {**placement, **places}


def _grouped(graph: Graph, live: Sequence[int], budget: int, free: Free, sizes: Sizes) -> tuple[Graph, dict[str, int]]:
    """The graph with the largest groups whose scratch is free memory, and where that is."""
    nodes, places = list(graph.nodes), dict[str, int]()
    for time, node in enumerate(graph.nodes):
        larger = sizes(graph, node)
        if not larger:
            continue
        spans = free(time)
        idle, pairs = budget - live[time] + scratch_bytes(graph, node), legal_pairs(graph, node)
        for size in larger:
            wide = replace(node, attributes={**node.attributes, "group": size})
            wanted = scratch_bytes(graph, wide)
            start = next((start for start, end in spans if start + wanted <= end), None)
            if start is not None and wanted <= idle and legal_pairs(graph, wide) == pairs:
                nodes[time], places[scratch_name(node)] = wide, start
                break
    return replace(graph, nodes=tuple(nodes)), places


@rule("STREAM-S15")
def row_sizes(graph: Graph, node: Node) -> list[int]:
    """The groups of more than one row that a block may get, the largest first.

    For each number of steps that its leader may take the smallest with which it takes no more.
    """
    if node.function != "composite.rows" or {"columns", "group"} & set(node.attributes):
        return []
    schedule = Schedule(graph, node)
    rows = schedule.height(schedule.leader)
    return sorted({-(-rows // steps) for steps in range(1, rows)}, reverse=True)


def without_row_groups(graph: Graph) -> Graph:
    """The graph with all rows of streamed forward blocks one by one."""
    return replace(graph, nodes=tuple(map(_one_by_one, graph.nodes)))


def _one_by_one(node: Node) -> Node:
    if node.function != "composite.rows":
        return node
    return replace(node, attributes={name: value for name, value in node.attributes.items() if name != "group"})


def _free(graph: Graph, placement: Placement, time: int, limit: int) -> Iterator[tuple[int, int]]:
    """From where to where the arena is free at a node, but for the node's scratch, in ascending order."""
    sizes, life = placed_bytes(graph, placement), lives(graph)
    there = [name for name in placement if name in life and life[name].first <= time <= life[name].last]
    end = 0
    for start, nbytes in sorted((placement[name], sizes[name]) for name in there):
        if end < start:
            yield end, start
        end = max(end, -(-(start + nbytes) // SCRATCH) * SCRATCH)
    if end < limit:
        yield end, limit
