"""Dead-code elimination: remove what nothing kept depends on (specs/training.md, TRAIN-S8)."""

from __future__ import annotations

from dataclasses import replace

from ..graph import Graph, Node
from ..rules import rule


@rule("TRAIN-S8")
def eliminate_dead_code(graph: Graph) -> Graph:
    """Remove nodes whose results nobody reads, and optional results (masks) that nobody reads."""
    wanted = set(graph.kept)
    alive: list[Node] = []
    for node in reversed(graph.nodes):
        if wanted.isdisjoint(node.results):
            continue
        optional = node.definition.optional
        outputs = tuple(
            None if tensor not in wanted and name in optional else tensor
            for name, tensor in zip(node.definition.outputs, node.outputs, strict=True)
        )
        alive.append(replace(node, outputs=outputs))
        wanted.update(node.operands)
    return graph.with_nodes(reversed(alive))
