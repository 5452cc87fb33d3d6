"""Where a program's tensors are, as C expressions: in the arena at their offsets, or constant arrays in flash."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..composites import KINDS
from ..graph import Graph, Node, Tensor
from ..memory.plan import Plan
from ..memory.scratch import scratch_name
from ..rules import rule
from ._text import CTYPES, Names


class Memory:
    """The tensors of a plan; ``memory[name]`` is a C expression, a pointer to the tensor's first element."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.graph: Graph = plan.graph
        self.names = Names()
        self.inner: Mapping[str, Tensor] = {t.name: t for node in self.graph.nodes for t in node.inner}
        self.regions = [part for node in self.graph.nodes for part in (node.body or (node,))]
        """What instructions are counted for: every node, those of composites one by one."""
        self.local: dict[str, str] = {}
        """Inner tensors of the node that is being written, where they have a place of their own."""

    def __getitem__(self, name: str) -> str:
        return self.local.get(name) or self.names[name]

    def at(self, offset: int, dtype: str) -> str:
        """Bytes of the arena as elements of a type."""
        return f"(({CTYPES[dtype]} *)(void *)(arena + {offset}))"

    @rule("PROG-S6")
    def mark(self, node: Node) -> str:
        """The statement that begins a node's region."""
        return f"gg_mark({next(i for i, other in enumerate(self.regions) if other is node)});"

    def scratch_of(self, node: Node) -> int:
        """Offset of a composite's scratch."""
        return self.plan.placement.get(scratch_name(node), 0)

    def described(self, node: Node) -> str:
        """A node in a comment: function, operands and results with their types."""
        return f"{self._titled(node)}: {self._typed(node.operands)} -> {self._typed(node.results)}"

    def brief(self, node: Node) -> str:
        """A part of a composite in a comment: function, names of operands, results with their types."""
        return f"{self._titled(node)}: {', '.join(node.operands)} -> {self._typed(node.results)}"

    def _titled(self, node: Node) -> str:
        rule_ids = () if node.function in KINDS else getattr(node.definition.run, "__rules__", ())
        return f"{node.function} ({rule_ids[0]})" if rule_ids else node.function

    def _typed(self, names: Iterable[str]) -> str:
        return ", ".join(f"{name} {(self.inner.get(name) or self.graph[name]).type}" for name in names)
