"""Group: let streamed backward blocks run as many channels at a time as memory that is there anyway allows.

A channel alone gives a kernel one element to compute where registers would hold sixteen, and lets it read all of what
channels have in common again for each.  So this is the pass that buys speed with scratch, and pays only with bytes that
lie idle: at the nodes it changes, no more live than live at the peak.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..composites.channels import BYTE, Slicing
from ..graph import Graph, Node
from ..memory.scratch import scratch_bytes
from ..memory.sharing import legal_pairs
from ..rules import rule

MOST = 4 * BYTE
"""Channels in a group: with more, kernels gain next to nothing."""


@rule("STREAM-S13")
def group(graph: Graph, live: Sequence[int], budget: int, below: Mapping[int, int] | None = None) -> Graph:
    """The graph, in its order, with every block in the largest groups with which its node has ``budget`` live bytes.

    ``live`` are the bytes that live at each node now; ``below`` says for nodes, by their place in the order, which
    size their groups must stay below.  What may share a place stays so.
    """
    limits = below or {}
    nodes = (_grouped(graph, node, budget - live[i], limits.get(i, MOST + 1)) for i, node in enumerate(graph.nodes))
    return replace(graph, nodes=tuple(nodes))


def _grouped(graph: Graph, node: Node, idle: int, below: int) -> Node:
    if node.function != "composite.channels" or node.attributes:
        return node
    slicing, scratch, pairs = Slicing(graph, node), scratch_bytes(graph, node), legal_pairs(graph, node)
    for size in range((below - 1) // BYTE * BYTE, 0, -BYTE):
        wide = replace(node, attributes={"group": size})
        fits = slicing.takes(size) and scratch_bytes(graph, wide) - scratch <= idle
        if fits and legal_pairs(graph, wide) == pairs:
            return wide
    return node
