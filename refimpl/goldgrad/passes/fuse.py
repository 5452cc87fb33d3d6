"""Fuse what belongs together: a gradient and the update made with it (specs/streaming.md)."""

from __future__ import annotations

from ..composites import scratch_bytes
from ..composites.channels import cuts_of
from ..graph import Graph, Node
from ..rules import rule
from ._compose import compose, saves


@rule("STREAM-S9")
def fuse(graph: Graph) -> Graph:
    """Make composites of gradients of parameters with their updates, and of what else one piece of scratch saves."""
    for node in graph.nodes:
        if node.function == "mask_scale.forward":
            graph = _fuse_bias(graph, node)
        elif node.function.endswith(".vjp_w"):
            graph = _fuse_weight(graph, node)
        elif node.function in ("depthwise_conv2d.forward", "depthwise_conv2d.vjp_x"):
            graph = _in_place(graph, node)
    return graph


def _fuse_bias(graph: Graph, mask_scale: Node) -> Graph:
    """Mask, bias gradient and bias update; g stays a result, so that it can lie on gy whether or not it is read."""
    (g,) = mask_scale.results
    for reader in graph.users(g):
        update = _update_of(graph, reader) if reader.function == "bias_gradient.forward" else None
        if update is not None:
            return compose(graph, "composite.whole", [mask_scale, reader, update], keep=[g]) or graph
    return graph


def _fuse_weight(graph: Graph, gradient: Node) -> Graph:
    """A weight's gradient and update, a filter at a time."""
    update = _update_of(graph, gradient)
    if update is None or cuts_of(graph.tensors, update, ()) is None or not _one_sample(graph, gradient):
        return graph
    fused = compose(graph, "composite.channels", [gradient, update])
    return fused if fused is not None and saves(fused, [gradient, update]) else graph


def _in_place(graph: Graph, depthwise: Node) -> Graph:
    """A depthwise convolution, or the gradient of its input, a plane at a time, so that the result can lie on the map.

    A result with more pixels than the map (a stride's gradient) cannot lie there; the bits of a mask are no planes.
    """
    x, y = graph[str(depthwise.inputs[0])], graph[str(depthwise.outputs[0])]
    if x.type.shape[0] != 1 or len(depthwise.results) != 1 or y.nbytes > x.nbytes:
        return graph
    planes = compose(graph, "composite.channels", [depthwise])
    if planes is None:
        return graph
    scratch = scratch_bytes(planes, next(node for node in planes.nodes if node.body == (depthwise,)))
    return planes if scratch < y.nbytes else graph


def _update_of(graph: Graph, gradient: Node) -> Node | None:
    """The update that alone reads a gradient."""
    readers = graph.users(gradient.results[0])
    alone = len(readers) == 1 and not readers[0].body and gradient.results[0] not in graph.kept
    return readers[0] if alone and readers[0].definition.updates else None


def _one_sample(graph: Graph, node: Node) -> bool:
    g = node.operand("g")
    return g is not None and graph[g].type.shape[0] == 1
