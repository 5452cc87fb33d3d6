"""Who may lie on whom: a placement of tensors at offsets, checked against the alias tables (specs/inplace.md)."""

from __future__ import annotations

from collections.abc import Mapping

from ..composites import KINDS
from ..errors import ConstraintError, require
from ..graph import Graph, Node
from ..rules import rule
from .liveness import Life, lives
from .scratch import scratch_bytes, scratch_name

Placement = Mapping[str, int]
"""Offsets in bytes by tensor name; tensors that are not listed have memory of their own."""


@rule("INP-S3")
def legal_pairs(graph: Graph, node: Node) -> set[tuple[str, str]]:
    """Pairs (result, operand) of tensor names that may start at one address at this node of ``graph``.

    A tensor that is given for several operands must be allowed for each.  A composite's kind knows its pairs.
    """
    if node.body:
        return KINDS[node.function].legal_pairs(graph, node)
    table = {(alias.output, alias.input) for alias in node.definition.aliases}
    pairs = set()
    for output, result in zip(node.definition.outputs, node.outputs, strict=True):
        for operand in node.operands:
            given = [
                name for name, tensor in zip(node.definition.inputs, node.inputs, strict=False) if tensor == operand
            ]
            if result is not None and all((output, name) in table for name in given):
                pairs.add((result, operand))
    return pairs


def placed_bytes(graph: Graph, placement: Placement) -> dict[str, int]:
    """Bytes of each tensor that is placed, and of each composite's scratch."""
    scratch = {scratch_name(node): scratch_bytes(graph, node) for node in graph.nodes if node.body}
    return {name: graph[name].nbytes if name in graph.tensors else scratch.get(name, 0) for name in placement}


@rule("INP-C1")
def check_alignment(graph: Graph, placement: Placement) -> None:
    """Every tensor starts at a multiple of its element's size, and scratch at one of 4."""
    scratch = {scratch_name(node) for node in graph.nodes if node.body}
    for name, offset in placement.items():
        known = name in graph.tensors or name in scratch
        require(known, "INP-C1", f"the placement names {name}, which is no tensor", "remove it")
        size = 4 if name in scratch or graph[name].type.dtype in ("int32", "float32") else 1
        require(
            offset >= 0 and offset % size == 0,
            "INP-C1",
            f"{name} lies at offset {offset}",
            f"use a multiple of {size} that is not negative",
        )


@rule("INP-S2", "INP-S3", "INP-S4")
def check_placement(graph: Graph, placement: Placement) -> None:
    """Raise unless every overlap is legal: no two live tensors share a byte, but for a result that starts where
    an operand of its node ends its life, in a pair of the alias table.
    """
    check_alignment(graph, placement)
    sizes = placed_bytes(graph, placement)
    life = {**lives(graph), **{scratch_name(node): Life(t, t) for t, node in enumerate(graph.nodes) if node.body}}
    placed = sorted((name for name in placement if sizes[name]), key=lambda name: (placement[name], name))
    for position, low in enumerate(placed):
        for high in placed[position + 1 :]:
            if placement[high] >= placement[low] + sizes[low]:
                break
            _check_pair(graph, placement, life, low, high)


def _check_pair(graph: Graph, placement: Placement, life: Mapping[str, Life], one: str, other: str) -> None:
    earlier, later = sorted((one, other), key=lambda name: life[name].first)
    if life[earlier].last < life[later].first:
        return
    where = f"{earlier} at {placement[earlier]} and {later} at {placement[later]} overlap"
    if life[later].first < 0 or life[earlier].first == life[later].first:
        raise ConstraintError("INP-S2", f"{where} while both live", "move one")
    node = graph.nodes[life[later].first]
    require(
        life[earlier].last == life[later].first and earlier in node.operands,
        "INP-S2",
        f"{where} while both live (node {life[later].first}, {node.function})",
        "move one, or the last reader before it",
    )
    require(
        (later, earlier) in legal_pairs(graph, node),
        "INP-S3",
        f"{where}, and {node.function} may not write its result over that operand",
        "see the aliasing table of the operator",
    )
    require(
        placement[earlier] == placement[later] and graph[later].nbytes <= graph[earlier].nbytes,
        "INP-S4",
        f"{where} in part",
        "a result that shares an operand's memory starts at its address and is no larger",
    )
