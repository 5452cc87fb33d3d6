"""Stream the backward pass: a block's wide gradients exist a channel at a time (specs/streaming.md)."""

from __future__ import annotations

from collections.abc import Iterator

from ..composites.channels import FIRST, LAST, check, cuts_of
from ..errors import ConstraintError
from ..graph import Graph, Node
from ..rules import rule
from ._compose import compose, saves


@rule("STREAM-S8")
def stream_backward(graph: Graph) -> Graph:
    """Make composites of the nodes that pass a wide gradient on channel by channel, where that saves memory."""
    for source in graph.nodes:
        if graph.producers().get(source.results[0]) is source and _widens(graph, source):
            body = _block(graph, source)
            streamed = compose(graph, "composite.channels", body)
            if streamed is not None and saves(streamed, body):
                graph = streamed
    return graph


@rule("STREAM-S8")
def _widens(graph: Graph, node: Node) -> bool:
    """Whether a block begins here: at a convolution's gradient that is larger than the one it comes from."""
    g = node.operand("g") if node.function == "conv2d.vjp_x" else None
    return g is not None and graph[g].type.shape[0] == 1 and graph[node.results[0]].nbytes > graph[g].nbytes


@rule("STREAM-S8")
def _block(graph: Graph, source: Node) -> list[Node]:
    """The source and all that can run channel by channel with it, found by growing while the body stays legal."""
    body, grown = [source], True
    while grown:
        grown = False
        for joining in (*_followers(graph, body), *_recomputed(graph, body)):
            if _can_stream(graph, [*body, *joining]):
                body, grown = [*body, *joining], True
                break
    return _with_updates_early(graph, body)


def _followers(graph: Graph, body: list[Node]) -> Iterator[list[Node]]:
    """For each tensor that the body passes on channel by channel, its readers: all together, or it must exist."""
    made, columns = _made(graph, body)
    for node in body:
        cuts = cuts_of(graph.tensors, node, made, columns) or {}
        for output, name in zip(node.definition.outputs, node.outputs, strict=True):
            readers = [reader for reader in graph.users(str(name)) if reader not in body]
            if name in graph.kept or cuts.get(output) not in (FIRST, LAST):
                continue
            if readers and all(_follows(graph, reader, str(name), columns) for reader in readers):
                yield readers


def _recomputed(graph: Graph, body: list[Node]) -> Iterator[list[Node]]:
    """Nodes that compute a map of the forward pass for the body, with all others that read it."""
    made, _ = _made(graph, body)
    producers = graph.producers()
    for name in dict.fromkeys(name for node in body for name in node.operands if name not in made):
        maker = producers.get(name)
        if maker is not None and maker.function in ("conv2d.forward", "depthwise_conv2d.forward"):
            readers = [node for result in maker.results for node in graph.users(result) if node not in body]
            if not any(reader.body for reader in readers):
                yield [maker, *(reader for i, reader in enumerate(readers) if reader not in readers[:i])]


def _made(graph: Graph, body: list[Node]) -> tuple[set[str], set[str]]:
    """What a body computes, and which gradients of weights it computes column by column."""
    made = {name for node in body for name in node.results}
    gradients = [node for node in body if node.function == "conv2d.vjp_w"]
    columns = {n.results[0] for n in gradients if (cuts_of(graph.tensors, n, made) or {}).get("dw") is LAST}
    return made, columns


@rule("STREAM-C4")
def _can_stream(graph: Graph, body: list[Node]) -> bool:
    """Whether the nodes together are a legal body: two chains of dx, one upon the other, are not."""
    streamed = compose(graph, "composite.channels", _with_updates_early(graph, body))
    if streamed is None:
        return False
    try:
        check(streamed, next(node for node in streamed.nodes if node.body and body[0] in node.body), "the block")
    except ConstraintError:
        return False
    return True


def _follows(graph: Graph, reader: Node, name: str, columns: set[str]) -> bool:
    """Whether a node can run channel by channel of one operand."""
    if reader.body:
        return False
    cuts = cuts_of(graph.tensors, reader, {name}, columns)
    given = [n for n, tensor in zip(reader.definition.inputs, reader.inputs, strict=False) if tensor == name]
    return cuts is not None and all(cuts.get(n) in (FIRST, LAST) for n in given)


def _with_updates_early(graph: Graph, body: list[Node]) -> list[Node]:
    """The body in the graph's order, each update as soon as its gradient is there and its old value read."""
    made = {node.results[0] for node in body}
    waiting, order = [node for node in graph.nodes if node.results[0] in made], list[Node]()
    while waiting:
        updates = [node for node in waiting if node.definition.updates and _is_ready(node, waiting)]
        order += updates or waiting[:1]
        waiting = [node for node in waiting if node not in order]
    return order


def _is_ready(update: Node, waiting: list[Node]) -> bool:
    others = [node for node in waiting if node is not update]
    made = {name for node in others for name in node.results}
    read = {name for node in others for name in node.operands}
    return made.isdisjoint(update.operands) and update.inputs[0] not in read
