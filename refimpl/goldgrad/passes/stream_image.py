"""Stream the image: the step takes it row by row, as a camera gives it, and never has all of it.

See specs/streaming.md, STREAM-S10 and STREAM-S11.
"""

from __future__ import annotations

from dataclasses import replace

from ..composites.rows import is_row_local
from ..graph import Graph, Node
from ..rules import rule
from ._compose import compose


@rule("STREAM-S11")
def stream_image(graph: Graph) -> Graph:
    """Feed each map among the samples by rows to its only reader, together with what alone reads that one's result."""
    for tensor in list(graph.outside()):
        readers = graph.users(tensor.name)
        if tensor.role == "input" and len(tensor.type.shape) == 4 and len(readers) == 1:
            graph = _feed(graph, readers[0])
    return graph


def _feed(graph: Graph, reader: Node) -> Graph:
    """The graph with a reader of a sample as a composite to which the sample is fed."""
    if reader.body:
        fed = replace(reader, attributes={**reader.attributes, "fed": 1})
        rows = reader.function == "composite.rows"
        return graph.with_nodes(fed if node is reader else node for node in graph.nodes) if rows else graph
    if not is_row_local(graph.tensors, reader):
        return graph
    following = graph.users(reader.results[0])
    joined = following[0] if len(following) == 1 and following[0].function == "composite.rows" else None
    body = [reader] if joined is None else [reader, *joined.body]
    inner = () if joined is None else joined.inner
    unfolded = [part for node in graph.nodes for part in (node.body if node is joined else (node,))]
    attributes = {} if joined is None else dict(joined.attributes)
    opened = graph.with_nodes(unfolded, inner)
    return compose(opened, "composite.rows", body, attributes={**attributes, "fed": 1}) or graph
