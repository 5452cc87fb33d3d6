"""Fused nodes: one after the other, what only they see in scratch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..errors import require
from ..graph import Graph, Node
from ..numerics import Array
from ..rules import rule
from ._scratch import Call, Shelf, may_alias, view


@rule("STREAM-C3")
def check(graph: Graph, node: Node, where: str) -> None:
    """Raise if the node has an attribute."""
    require(not node.attributes, "STREAM-C3", f"{where} has the attributes {dict(node.attributes)}", "give none")


@rule("STREAM-M2")
def layout(graph: Graph, node: Node) -> tuple[dict[str, int], int]:
    """Offsets of the inner tensors in scratch, and the bytes of all: each lives from its maker to its last reader."""
    shelf, offsets = Shelf(), {}
    tensors = {tensor.name: tensor for tensor in node.inner}
    last = {name: i for i, part in enumerate(node.body) for name in (*part.results, *part.operands)}
    for i, part in enumerate(node.body):
        for name in part.results:
            if name in tensors:
                offsets[name] = shelf.put(name, tensors[name].type)
        for name in (*part.results, *part.operands):
            if last[name] == i:
                shelf.free(name)
    return offsets, shelf.size


def scratch_bytes(graph: Graph, node: Node) -> int:
    """Bytes of the inner tensors that live at once."""
    return layout(graph, node)[1]


@rule("STREAM-A2")
def legal_pairs(graph: Graph, node: Node) -> set[tuple[str, str]]:
    """Pairs (result, operand) that may start at one address: a result on what its maker reads last, by its table."""
    return {(r, x) for r, x, maker in _candidates(node) if may_alias(node.body[maker], r, x)}


def _candidates(node: Node) -> Iterator[tuple[str, str, int]]:
    for i, part in enumerate(node.body):
        for result in part.results:
            for operand in part.operands:
                last = max(j for j, other in enumerate(node.body) if operand in other.operands)
                if result in node.results and operand in node.operands and last == i:
                    yield result, operand, i


@rule("STREAM-S3", "STREAM-F1")
def execute(
    graph: Graph, node: Node, operands: Mapping[str, Array], results: Mapping[str, Array], scratch: Array, call: Call
) -> None:
    """Run the body in memory that exists."""
    offsets, size = layout(graph, node)
    assert scratch.nbytes == size
    arrays = {**operands, **results}
    arrays |= {tensor.name: view(scratch, offsets[tensor.name], tensor.type) for tensor in node.inner}
    for part in node.body:
        given = [None if name is None else arrays[name] for name in part.inputs]
        call(part.function, given, [None if name is None else arrays[name] for name in part.outputs], part.attributes)
