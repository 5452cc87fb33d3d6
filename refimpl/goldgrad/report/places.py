"""To which part of a network a node belongs: where it stands in pictures, and what tables call it."""

from __future__ import annotations

from ..graph import Graph, Node
from ..model import FORWARD


class Places:
    """Rows of forward nodes, and to which of them any other node belongs."""

    def __init__(self, forward: Graph) -> None:
        self.names = [node.results[0].removesuffix(".y") for node in forward.nodes]
        """What each row is called: the layer's name, or that of what is computed."""
        self.row: dict[str, int] = {}
        for row, node in enumerate(forward.nodes):
            own = [name for name in node.results if forward[name].role != "gradient"]
            own += [name for name in node.operands if forward[name].role in ("weight", "bias", "constant")]
            for name in own:
                self.row[name] = row
                self.row.setdefault(name.rpartition(".")[0], row)

    def of(self, node: Node) -> int:
        """The row of the forward node that a node belongs to: that of its result, or of its first operand."""
        if node.function in FORWARD or node.function.startswith("save_channels"):
            return self._row(node.results[0])
        return self._row(node.operands[0])

    def _row(self, name: str) -> int:
        """``conv3.y.grad.2`` belongs to ``conv3.y``."""
        while name and name not in self.row:
            name = name.rpartition(".")[0]
        return self.row.get(name, 0)

    def layers(self, node: Node) -> str:
        """The names of the rows that a node, or a composite's body, belongs to: ``conv24 - add08`` for a stretch."""
        rows = sorted({self.of(part) for part in (node.body or (node,))})
        ends = [row for row in rows if row - 1 not in rows or row + 1 not in rows]
        stretches, stretch = [], list[str]()
        for row in ends:
            stretch.append(self.names[row])
            if row + 1 not in rows:
                stretches.append(" - ".join(stretch))
                stretch = []
        return ", ".join(stretches)
