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
        alive.append(_prune_body(graph, node, wanted) if node.body else _prune(node, wanted))
        wanted.update(alive[-1].operands)
    return graph.with_nodes(reversed(alive))


def _prune(node: Node, wanted: set[str]) -> Node:
    """The node without optional results that nobody wants."""
    optional = node.definition.optional
    outputs = tuple(
        None if tensor not in wanted and name in optional else tensor
        for name, tensor in zip(node.definition.outputs, node.outputs, strict=True)
    )
    return replace(node, outputs=outputs)


def _prune_body(graph: Graph, node: Node, wanted: set[str]) -> Node:
    """The composite with the parts of its body that its wanted results depend on; all that these give stays."""
    results = tuple(name for name in node.results if name in wanted)
    inside = eliminate_dead_code(replace(graph.inside(node), outputs=results))
    read = {name for part in inside.nodes for name in part.operands}
    made = {name for part in inside.nodes for name in part.results}
    return replace(
        node,
        inputs=tuple(name for name in node.inputs if name in read),
        outputs=tuple(name for name in node.outputs if name in made),
        body=inside.nodes,
        inner=tuple(tensor for tensor in node.inner if tensor.name in made),
    )
