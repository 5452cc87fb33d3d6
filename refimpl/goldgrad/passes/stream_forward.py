"""Stream the forward pass: a block's wide maps exist a few rows at a time (specs/streaming.md)."""

from __future__ import annotations

from collections.abc import Iterator

from ..composites.rows import MAPS, is_row_local, span, window_of
from ..graph import Graph, Node
from ..ops._window import Window
from ..rules import rule
from ._compose import compose, saves


@rule("STREAM-S7")
def stream_forward(graph: Graph, columns: int | None = None) -> Graph:
    """Make composites of the nodes between one narrow map and the next, where that saves memory.

    ``columns``: how many pixels of a row at a time where pixels suffice (None: the row, so that a kernel loads each
    weight once a row).
    """
    attributes = {} if columns is None else {"columns": columns}
    for block in list(blocks(graph)):
        streamed = compose(graph, "composite.rows", block, attributes=attributes)
        if streamed is not None and saves(streamed, block):
            graph = streamed
    return graph


def blocks(graph: Graph) -> Iterator[list[Node]]:
    """Sets of nodes that pass wide maps on to each other, each in program order."""
    nodes = [node for node in graph.nodes if not node.body and is_row_local(graph.tensors, node)]
    block = {id(node): {id(node)} for node in nodes}
    for node in nodes:
        for name in node.results:
            readers = graph.users(name)
            if readers and all(id(r) in block for r in readers) and _passes_rows(graph, node, name, readers):
                joined = set().union(block[id(node)], *(block[id(reader)] for reader in readers))
                block |= dict.fromkeys(joined, joined)
    for node in nodes:
        if len(block[id(node)]) > 1 and next(iter(n for n in nodes if id(n) in block[id(node)])) is node:
            yield [n for n in nodes if id(n) in block[id(node)]]


def _passes_rows(graph: Graph, maker: Node, name: str, readers: list[Node]) -> bool:
    """Whether a map need not exist: nobody keeps it, it is no place to end a block, no reader wants all its rows."""
    if name in graph.kept or not _is_wide(graph, maker, name):
        return False
    windows = [window_of(graph.tensors, reader) for reader in readers]
    return all(window is None or _most_rows(window) < window.in_hw[0] for window in windows)


def _most_rows(window: Window) -> int:
    spans = [span(window, 0, row, row + 1) for row in range(window.out_hw[0])]
    return max(end - first for first, end, *_ in spans)


@rule("STREAM-S7")
def _is_wide(graph: Graph, maker: Node, name: str) -> bool:
    """Whether a map is no place to end a block: it is larger than what it came from, or no smaller than what comes."""
    size = graph[name].nbytes
    before = max(graph[operand].nbytes for operand in (maker.operand(n) for n in MAPS[maker.function]) if operand)
    after = max(graph[reader.results[0]].nbytes for reader in graph.users(name))
    return size > before or size >= after
