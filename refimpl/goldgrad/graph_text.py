"""Graphs as text, one line a tensor from outside and a node: printed to be read, parsed back to an equal graph.

::

    graph tiny
    image        : uint8[1, 8, 8, 1] input scale=0.0625 zero=0
    x            = quantize_input.from_uint8(image, image.m) x_zero=0 y_zero=-128 : int8[1, 8, 8, 1] activation ...
    y, y.mask    = conv2d.forward(x, c.w, c.b, c.m) ... : int8[1, 4, 4, 8] activation ..., uint8[1, 4, 4, 1] mask
    outputs y
    update c.w   <- c.w.new

An operand or result that is absent is ``_``.  After a composite node come the nodes of its body, a ``|`` before each.
The grammar is in specs/model-format.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from .errors import ConstraintError, show
from .graph import NAME, Graph, Node, Tensor
from .ops import Type
from .rules import rule

_INTEGER = r"-?\d{1,18}"
_INTEGERS = f"{_INTEGER}(?:, {_INTEGER})*"
_NUMBER = r"-?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|inf|nan)"
_TENSOR = re.compile(
    rf"(?P<dtype>[a-z0-9]+)\[(?P<shape>{_INTEGERS})\] (?P<role>[a-z]+)"
    rf"(?: scale=(?P<scale>{_NUMBER}))?(?: zero=(?P<zero>{_INTEGER}))?"
)
_ATTRIBUTE = re.compile(rf"(?P<name>[a-z][a-z0-9_]*)=(?:(?P<one>{_INTEGER})|\((?P<many>{_INTEGERS}),?\))")
_CALL = re.compile(
    r"(?P<function>[a-z0-9_]+\.[a-z0-9_]+)\((?P<operands>[^)]*)\)(?P<attributes>(?: [a-z][^:]*)?) *: +(?P<types>.+)"
)


# --- printing ----------------------------------------------------------------------------------------------------


@rule("MODEL-S6")
def print_graph(graph: Graph) -> str:
    """The text form of a graph; it ends in a newline."""
    produced = graph.producers()
    outside = [tensor for name, tensor in graph.tensors.items() if name not in produced]
    rows = [(tensor.name, ":", _tensor(tensor)) for tensor in outside]
    for node in graph.nodes:
        rows.append((_list(node.outputs), "=", _call(graph, node)))
        scope = graph.inside(node) if node.body else graph
        rows += [(f"| {_list(part.outputs)}", "=", _call(scope, part)) for part in node.body]
    rows += [(f"update {old}", "<-", new) for old, new in graph.updates.items()]
    width = min(max((len(left) for left, _, _ in rows), default=0), 40)
    lines = [f"{left:{width}} {sign} {right}" for left, sign, right in rows]
    return "\n".join([f"graph {graph.name}", *lines, f"outputs {_list(graph.outputs)}", ""])


def _list(names: tuple[str | None, ...]) -> str:
    return ", ".join(name or "_" for name in names)


def _tensor(tensor: Tensor) -> str:
    scale = "" if tensor.scale is None else f" scale={float(tensor.scale)!r}"
    zero = "" if tensor.zero_point is None else f" zero={tensor.zero_point}"
    return f"{tensor.type} {tensor.role}{scale}{zero}"


def _call(graph: Graph, node: Node) -> str:
    attributes = "".join(f" {name}={value}" for name, value in sorted(node.attributes.items()))
    types = ", ".join(_tensor(graph[name]) for name in node.results)
    return f"{node.function}({_list(node.inputs)}){attributes} : {types}"


# --- parsing -----------------------------------------------------------------------------------------------------


@rule("MODEL-S6", "MODEL-I8")
def parse_graph(text: str) -> Graph:
    """The graph that a text form says; :func:`~goldgrad.graph.validate` checks whether it makes sense.

    Raises :class:`~goldgrad.errors.ConstraintError` naming the first line that cannot be read.
    """
    parser = _Parser()
    for number, line in enumerate(text.split("\n"), 1):
        parser.number = number
        if line.strip():
            parser.line(line.strip())
    return parser.graph()


class _Parser:
    def __init__(self) -> None:
        self.number = 0
        self.name: str | None = None
        self.outputs: tuple[str, ...] | None = None
        self.tensors: dict[str, Tensor] = {}
        self.nodes: list[Node] = []
        self.updates: dict[str, str] = {}

    def fault(self, fault: str, remedy: str) -> ConstraintError:
        return ConstraintError("MODEL-I8", f"line {self.number} {fault}", remedy)

    def line(self, line: str) -> None:
        left, sign, right = (part.strip() for part in self.split(line))
        word, _, rest = left.partition(" ")
        if sign == "=" and left.startswith("|"):
            self.part(self.names(left[1:].strip()), right)
        elif sign == "=":
            self.nodes.append(self.node(self.names(left), right, self.tensors))
        elif sign == ":":
            self.tensor(self.one(left), right, self.tensors)
        elif sign == "<-" and word == "update":
            old, new = self.one(rest), self.one(right)
            if old in self.updates:
                raise self.fault(f"updates {old} a second time", "give each parameter one next value")
            self.updates[old] = new
        elif word == "graph" and self.name is None:
            self.name = self.one(rest)
        elif word == "outputs" and self.outputs is None:
            self.outputs = tuple(self.one(name) for name in rest.split(", ")) if rest else ()
        else:
            raise self.fault(
                f"is {show(line)}", "write one of: graph, NAME : TENSOR, RESULTS = CALL, update, outputs (each once)"
            )

    @staticmethod
    def split(line: str) -> tuple[str, str, str]:
        """The line at its first sign; ``graph`` and ``outputs`` lines have none."""
        found = re.search(r" (:|=|<-) ", line)
        return (line[: found.start()], found[1], line[found.end() :]) if found else (line, "", "")

    def one(self, name: str) -> str:
        if not NAME.fullmatch(name):
            raise self.fault(f"has the name {show(name)}", "use at most 100 letters, digits and . _ -, a letter first")
        return name

    def names(self, text: str) -> tuple[str | None, ...]:
        return tuple(None if name == "_" else self.one(name) for name in text.split(", ")) if text else ()

    def tensor(self, name: str, text: str, tensors: dict[str, Tensor]) -> None:
        found = _TENSOR.fullmatch(text)
        if found is None:
            raise self.fault(f"has the tensor {show(text)}", "write it as: int8[1, 8] activation scale=0.5 zero=-3")
        if name in tensors:
            raise self.fault(f"declares {name} a second time", "give it a name of its own")
        shape = tuple(int(size) for size in found["shape"].split(", "))
        scale, zero = found["scale"], found["zero"]
        tensors[name] = Tensor(
            name,
            Type(shape, found["dtype"]),
            found["role"],
            None if scale is None else float(scale),
            None if zero is None else int(zero),
        )

    def part(self, results: tuple[str | None, ...], text: str) -> None:
        """A node of the body of the composite before it: what it gives is the composite's, or inner."""
        if not self.nodes:
            raise self.fault("has a part of no node", "write the composite node before the nodes of its body")
        made: dict[str, Tensor] = {}
        part = self.node(results, text, made)
        whole = self.nodes[-1]
        for name, tensor in list(made.items()):
            if name in whole.outputs and made.pop(name) != self.tensors[name]:
                raise self.fault(f"declares {name} otherwise than the composite", f"write: {tensor.type} {tensor.role}")
        self.nodes[-1] = replace(whole, body=(*whole.body, part), inner=(*whole.inner, *made.values()))

    def node(self, results: tuple[str | None, ...], text: str, tensors: dict[str, Tensor]) -> Node:
        call = _CALL.fullmatch(text)
        if call is None:
            raise self.fault(f"has the call {show(text)}", "write: OP.FUNCTION(OPERANDS) ATTRIBUTE=1 : TENSORS")
        given = [name for name in results if name is not None]
        types = re.split(r", (?=[a-z])", call["types"])
        if len(types) != len(given):
            raise self.fault(f"has {len(given)} results and {len(types)} types", "give one type a result")
        for name, type_ in zip(given, types, strict=True):
            self.tensor(name, type_, tensors)
        attributes = dict(self.attributes(call["attributes"].rstrip()))
        return Node(call["function"], self.names(call["operands"]), results, attributes)

    def attributes(self, text: str) -> Iterator[tuple[str, Any]]:
        seen = set()
        for word in re.split(r" (?=[a-z])", text)[1:]:
            found = _ATTRIBUTE.fullmatch(word)
            if found is None or found["name"] in seen:
                raise self.fault(f"has the attribute {show(word)}", "write each once, as: pad=(1, 1, 1, 1) or lo=-128")
            seen.add(found["name"])
            many = found["many"]
            yield found["name"], int(found["one"]) if many is None else tuple(map(int, many.split(", ")))

    def graph(self) -> Graph:
        if self.name is None or self.outputs is None:
            raise ConstraintError("MODEL-I8", "the text has no graph or no outputs line", "give one of each")
        return Graph(self.name, self.tensors, tuple(self.nodes), self.outputs, self.updates)
