"""Recompute: compute wide maps of a block a second time for the backward pass, instead of keeping them.

An inverted bottleneck's expanded maps are several times as large as its input, and a full update keeps them, or at
least a bit an element of them, until their gradients are computed.  Computing them again from the block's input costs
multiply-accumulates and no bit: parameters do not change inside a step before their last reader has run.  It is an
option of a plan, made only where a block keeps more than it would have to keep instead (specs/streaming.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..composites.rows import MAPS
from ..graph import Graph, Node
from ..rules import rule
from .dce import eliminate_dead_code
from .stream_forward import blocks


@rule("STREAM-S12")
def recompute(graph: Graph) -> Graph:
    """The graph with what the backward pass reads of wide maps computed anew, from what lies between the blocks."""
    loss = next((i for i, node in enumerate(graph.nodes) if any(graph[r].role == "loss" for r in node.results)), None)
    if loss is None:
        return graph
    forward = graph.with_nodes(graph.nodes[: loss + 1], updates={})
    for block in list(blocks(forward)):
        graph = _again(graph, loss, block)
    return eliminate_dead_code(graph)


def _again(graph: Graph, loss: int, block: Sequence[Node]) -> Graph:
    """The graph with the inner maps of a block computed a second time, if that keeps fewer bytes."""
    behind = graph.nodes[loss + 1 :]
    read = {name for node in behind for name in node.operands}
    inner = [node for node in block if any(node.results[0] in n.operands for n in block) and _is_wide(graph, node)]
    kept = [
        name for node in inner for name in node.results if name in read and node.function != "save_channels.forward"
    ]
    again = _makers(inner, kept)
    made = {name for node in again for name in node.results}
    sources = {str(node.operand(name)) for node in again for name in MAPS[node.function]} - made
    cost = sum(graph[name].nbytes for name in sources - read)
    if not kept or sum(graph[name].nbytes for name in kept) <= cost:
        return graph
    names = {name: f"{name}.again" for name in made}
    if any(name in graph.tensors for name in names.values()):
        return graph
    first = next(i for i, node in enumerate(behind) if not made.isdisjoint(node.operands))
    nodes = [
        *graph.nodes[: loss + 1 + first],
        *(replace(_renamed(node, names), outputs=tuple(names.get(str(n)) for n in node.outputs)) for node in again),
        *(_renamed(node, {name: names[name] for name in kept}) for node in behind[first:]),
    ]
    return graph.with_nodes(nodes, [replace(graph[old], name=new) for old, new in names.items()])


def _is_wide(graph: Graph, node: Node) -> bool:
    """Whether a map has no fewer channels than what it is computed from: a projection's is no wide one."""
    sources = [graph[str(node.operand(name))] for name in MAPS[node.function]]
    return all(graph[node.results[0]].type.shape[-1] >= x.type.shape[-1] for x in sources)


def _makers(inner: Sequence[Node], kept: Sequence[str]) -> list[Node]:
    """The nodes of a block that its kept tensors are computed by, in order."""
    wanted, makers = set(kept), list[Node]()
    for node in reversed(inner):
        if not wanted.isdisjoint(node.results):
            makers.insert(0, node)
            wanted.update(node.operands)
    return makers


def _renamed(node: Node, names: Mapping[str, str]) -> Node:
    return replace(node, inputs=tuple(name if name is None else names.get(name, name) for name in node.inputs))
