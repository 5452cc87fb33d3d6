"""How much scratch each node wants (specs/memory.md)."""

from __future__ import annotations

from ..composites import KINDS
from ..graph import Graph, Node


def scratch_bytes(graph: Graph, node: Node) -> int:
    """Bytes that a node needs while it runs, besides its operands and results; ordinary nodes need none."""
    return KINDS[node.function].scratch_bytes(graph, node) if node.body else 0


def scratch_name(node: Node) -> str:
    """What a placement calls a node's scratch; no tensor has such a name."""
    return f"scratch of {node.results[0]}"
