"""How much scratch each node wants, and what a placement calls it (specs/memory.md)."""

from __future__ import annotations

from ..composites import scratch_bytes
from ..graph import Node


def scratch_name(node: Node) -> str:
    """What a placement calls a node's scratch; no tensor has such a name."""
    return f"scratch of {node.results[0]}"


__all__ = ["scratch_bytes", "scratch_name"]
