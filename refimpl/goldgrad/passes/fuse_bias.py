"""Fuse mask, scale, bias gradient and bias update: one function in the place of three (specs/streaming.md)."""

from __future__ import annotations

from ..graph import Graph, Node
from ..rules import rule
from ._compose import exchange


@rule("STREAM-S14")
def fuse_bias(graph: Graph) -> Graph:
    """Put bias_step in the place of mask_scale, bias_gradient and sgd_update_bias, where nothing else reads db."""
    for node in graph.nodes:
        if node.function == "mask_scale.forward":
            graph = _fused(graph, node) or graph
    return graph


def _fused(graph: Graph, scaled: Node) -> Graph | None:
    (g,) = scaled.results
    for summed in graph.users(g):
        if summed.function != "bias_gradient.forward" or summed.operand("db0") is not None:
            continue
        (db,) = summed.results
        readers = graph.users(db)
        if db not in graph.kept and [reader.function for reader in readers] == ["sgd_update_bias.update"]:
            b, _, *rest = readers[0].inputs
            step = Node("bias_step.update", (*scaled.inputs, b, *rest), (*readers[0].outputs, g))
            return exchange(graph, [scaled, summed, *readers], step)
    return None
