"""How much scratch each node wants (specs/memory.md)."""

from __future__ import annotations

from ..graph import Graph, Node


def scratch_bytes(graph: Graph, node: Node) -> int:
    """Bytes that a node needs while it runs, besides its operands and results; ordinary nodes need none."""
    return 0
