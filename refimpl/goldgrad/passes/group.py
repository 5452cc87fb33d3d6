"""Group: let streamed backward blocks run as many channels at a time as memory that is there anyway allows.

A channel alone gives a kernel one element to compute where registers would hold sixteen, and lets it read all of what
channels have in common again for each.  So this is the pass that buys speed with scratch, and pays only with bytes that
lie idle: at the nodes it changes, no more live than live at the peak.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..composites import scratch_bytes
from ..composites.channels import BYTE, Slicing
from ..graph import Graph, Node
from ..memory.sharing import legal_pairs
from ..rules import rule

MOST = 4 * BYTE
"""Channels in a group for which a place is sought: with more, kernels gain little."""


@rule("STREAM-S13")
def group(graph: Graph, live: Sequence[int], budget: int, below: Mapping[int, int] | None = None) -> Graph:
    """The graph, in its order, with every block in the largest groups with which its node has ``budget`` live bytes.

    ``live`` are the bytes that live at each node now; ``below`` says for nodes, by their place in the order, which
    size their groups must stay below.  What may share a place stays so.
    """
    limits = below or {}
    nodes = (_grouped(graph, node, budget - live[i], limits.get(i)) for i, node in enumerate(graph.nodes))
    return replace(graph, nodes=tuple(nodes))


def _grouped(graph: Graph, node: Node, idle: int, below: int | None) -> Node:
    sizes = [size for size in channel_sizes(graph, node, MOST) if below is None or size < below]
    if not sizes:
        return node
    scratch, pairs = scratch_bytes(graph, node), legal_pairs(graph, node)
    for size in sizes:
        wide = replace(node, attributes={"group": size})
        if scratch_bytes(graph, wide) - scratch <= idle and legal_pairs(graph, wide) == pairs:
            return wide
    return node


@rule("STREAM-S13")
def channel_sizes(graph: Graph, node: Node, most: int) -> list[int]:
    """The groups in which a streamed backward block can run, larger than its own, the largest first."""
    if node.function != "composite.channels":
        return []
    slicing = Slicing(graph, node)
    return [size for size in range(most // BYTE * BYTE, slicing.group, -BYTE) if slicing.takes(size)]
