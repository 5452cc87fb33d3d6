"""Composite nodes: several ordinary nodes run as one, with what they pass on in a little scratch (specs/streaming.md).

A kind says which bodies it can run, how much scratch they want, which result may lie on which operand, and runs them.
It never changes a bit: a composite means that its body runs in order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ..graph import Graph, Node
from ..numerics import Array
from ..rules import rule
from . import channels, rows, whole
from ._scratch import Call, writing


@dataclass(frozen=True)
class Kind:
    """A way to run a body.

    ``check(graph, node, where)`` raises unless the kind can run the node; ``scratch_bytes(graph, node)`` and
    ``legal_pairs(graph, node)`` are what the memory plan asks; ``execute(graph, node, operands, results, scratch,
    call)`` runs it, in memory that exists: ``results`` may overlap ``operands`` where a pair is legal.
    """

    check: Callable[[Graph, Node, str], None]
    scratch_bytes: Callable[[Graph, Node], int]
    legal_pairs: Callable[[Graph, Node], set[tuple[str, str]]]
    execute: Callable[[Graph, Node, Mapping[str, Array], Mapping[str, Array], Array, Call], None]


Answer = TypeVar("Answer")


def _once(ask: Callable[[Graph, Node], Answer]) -> Callable[[Graph, Node], Answer]:
    """Ask once of a node between the same tensors: a plan asks each of its nodes time and again, in many graphs."""

    def answer(graph: Graph, node: Node) -> Answer:
        between = tuple(graph[name] for name in (*node.operands, *node.results))
        if (ask, between) not in node.answers:
            node.answers[ask, between] = ask(graph, node)
        found: Answer = node.answers[ask, between]
        return found

    return answer


def _kind(module: Any) -> Kind:
    return Kind(module.check, _once(module.scratch_bytes), _once(module.legal_pairs), module.execute)


KINDS: Mapping[str, Kind] = {f"composite.{m.__name__.rpartition('.')[2]}": _kind(m) for m in (whole, rows, channels)}
"""The kinds of composite nodes by name."""


def scratch_bytes(graph: Graph, node: Node) -> int:
    """Bytes that a node needs while it runs, besides its operands and results; ordinary nodes need none."""
    return KINDS[node.function].scratch_bytes(graph, node) if node.body else 0


@rule("STREAM-S1")
def unfold(graph: Graph) -> Graph:
    """The same graph without composites: each replaced by its body."""
    nodes = [part for node in graph.nodes for part in (node.body or (node,))]
    return graph.with_nodes(nodes, [tensor for node in graph.nodes for tensor in node.inner])


__all__ = ["KINDS", "Call", "Kind", "scratch_bytes", "unfold", "writing"]
