"""From when to when each tensor must keep its bits (specs/inplace.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..graph import Graph
from ..rules import rule

BEFORE = -1
"""The time of tensors from outside: before the first node."""


@dataclass(frozen=True)
class Life:
    """A tensor is written by node ``first`` (BEFORE if from outside) and last read by node ``last``.

    Times are positions in the graph's order; what must outlive the graph has ``last == len(nodes)``.
    """

    first: int
    last: int


@rule("INP-S1")
def lives(graph: Graph) -> Mapping[str, Life]:
    """The life of every tensor; one that is computed and never read lives at its node only.

    A parameter with a next value is needed until its last reader, one without to the end; a sample's tensors
    are needed until their last reader.
    """
    end = len(graph.nodes)
    first = {tensor.name: BEFORE for tensor in graph.outside()}
    last: dict[str, int] = {}
    for time, node in enumerate(graph.nodes):
        for name in node.operands:
            last[name] = time
        for name in node.results:
            first[name] = last[name] = time
    for tensor in graph.outside():
        if tensor.role != "input" and tensor.name not in graph.updates:
            last[tensor.name] = end
    for name in graph.kept:
        last[name] = end
    return {name: Life(first[name], last.get(name, first[name])) for name in graph.tensors}


@rule("INP-S1")
def lasting(graph: Graph) -> set[str]:
    """The tensors that live to the end, whatever the order: what is kept, and from outside what may be read again."""
    return {name for name, life in lives(graph).items() if life.last == len(graph.nodes)}
