"""Tensors, nodes, graphs: what is computed, from what, in which order (specs/training.md).

A graph is in single-assignment form: every tensor is an operand from outside or the result of one node, and
nodes stand in an order in which they can run.  Parameters do not change inside a graph: an update node gives
a *new* tensor, and ``Graph.updates`` says which parameter it is the next value of.

A *composite* node has a body of ordinary nodes (specs/streaming.md): it means that its body runs in order.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from types import MappingProxyType, NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from .errors import ConstraintError, require, show
from .ops import FUNCTIONS, Function, Type
from .rules import rule

ROLES = (
    "input",  # a sample: image, target
    "rate",  # the learning rate
    "weight",
    "bias",
    "constant",  # multipliers, factors, channel lists: never change
    "activation",
    "mask",
    "saved",  # what forward keeps for backward besides activations and masks
    "gradient",
    "loss",
    "parameter",  # the next value of a weight or bias, or of an optimizer's state
    "state",  # an optimizer's state: master copies, velocities
)
OUTSIDE = frozenset({"input", "rate", "weight", "bias", "constant", "state"})
"""Roles of tensors that come from outside; all others are results of nodes."""
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}")
"""What a name looks like, of a graph or a tensor: a word of the text form, a member of a model's archive."""
DTYPES = ("int8", "uint8", "int32", "float32")


@dataclass(frozen=True)
class Tensor:
    """A value in a graph.  ``scale`` and ``zero_point`` are those of a quantized activation or image."""

    name: str
    type: Type
    role: str
    scale: float | None = None
    zero_point: int | None = None

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.type.nbytes


@dataclass(frozen=True)
class Node:
    """One call of an operator's function: operands and results by tensor name.

    None stands for an optional operand that is absent, or an optional result that nobody wants.  A composite's
    ``function`` is its kind, ``body`` the nodes that it means, ``inner`` the tensors that only they see.
    """

    function: str
    inputs: tuple[str | None, ...]
    outputs: tuple[str | None, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    body: tuple[Node, ...] = ()
    inner: tuple[Tensor, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "attributes", MappingProxyType(dict(self.attributes)))

    @property
    def definition(self) -> Function:
        """The entry of the operator table; a composite calls its operands and results by their own names."""
        return _definition_of(self) if self.body else FUNCTIONS[self.function]

    @cached_property
    def operands(self) -> tuple[str, ...]:
        """Names of the operands that are present."""
        return tuple(name for name in self.inputs if name is not None)

    @cached_property
    def results(self) -> tuple[str, ...]:
        """Names of the results that somebody wants."""
        return tuple(name for name in self.outputs if name is not None)

    @cached_property
    def answers(self) -> dict[Any, Any]:
        """What was found out about it, to be asked once: see :mod:`~goldgrad.composites`."""
        return {}

    def operand(self, name: str) -> str | None:
        """The tensor given for the operand that the function calls ``name``."""
        position = self.definition.inputs.index(name)
        return self.inputs[position] if position < len(self.inputs) else None

    def result(self, name: str) -> str | None:
        """The tensor that takes the result that the function calls ``name``."""
        return self.outputs[self.definition.outputs.index(name)]


def _definition_of(composite: Node) -> Function:
    def undefined(*operands: Any, **attributes: Any) -> Any:
        raise NotImplementedError(f"{composite.function} is run node by node")

    operands, results = composite.operands, composite.results
    return Function(composite.function, undefined, undefined, operands, results, frozenset(), (), None)


@dataclass(frozen=True)
class Graph:
    """Tensors by name, nodes in order, the results to keep, and the next value of each parameter that trains."""

    name: str
    tensors: Mapping[str, Tensor]
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    updates: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tensors", MappingProxyType(dict(self.tensors)))
        object.__setattr__(self, "updates", MappingProxyType(dict(self.updates)))

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    @property
    def kept(self) -> tuple[str, ...]:
        """Everything that must exist when the graph has run: outputs and next values."""
        return (*self.outputs, *self.updates.values())

    def with_nodes(
        self,
        nodes: Iterable[Node],
        tensors: Iterable[Tensor] = (),
        updates: Mapping[str, str] | None = None,
    ) -> Graph:
        """Exchange nodes, add tensors, perhaps exchange updates; tensors that are not used any more are dropped."""
        nodes = tuple(nodes)
        everything = {**self.tensors, **{t.name: t for t in tensors}}
        updates = self.updates if updates is None else updates
        used = {name for node in nodes for name in (*node.operands, *node.results)} | {*self.outputs, *updates}
        kept = {name: tensor for name, tensor in everything.items() if name in used}
        return replace(self, tensors=kept, nodes=nodes, updates=updates)

    def producers(self) -> Mapping[str, Node]:
        """The node that computes each tensor that is not from outside."""
        return self._producers

    @cached_property
    def _producers(self) -> Mapping[str, Node]:
        return {name: node for node in self.nodes for name in node.results}

    def users(self, name: str) -> list[Node]:
        """The nodes that read a tensor, in order."""
        return list(self._readers.get(name, ()))

    @cached_property
    def _readers(self) -> Mapping[str, list[Node]]:
        """The readers of every tensor that has one: passes ask for those of all."""
        readers: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.operands):
                readers.setdefault(name, []).append(node)
        return readers

    def outside(self) -> Iterator[Tensor]:
        """The tensors that must be fed."""
        return (tensor for tensor in self.tensors.values() if tensor.role in OUTSIDE)

    def inside(self, node: Node) -> Graph:
        """What a composite's body sees, as a graph: operands, results and inner tensors; the results are kept."""
        names = (*node.operands, *node.results)
        tensors = {name: self[name] for name in names} | {tensor.name: tensor for tensor in node.inner}
        return Graph(self.name, tensors, node.body, node.results)

    def __str__(self) -> str:
        from .graph_text import print_graph

        return print_graph(self)


@rule("TRAIN-C1", "TRAIN-C2", "TRAIN-C3", "TRAIN-C4")
def validate(graph: Graph) -> Graph:
    """The graph itself, or a :class:`~goldgrad.errors.ConstraintError` naming the first fault."""
    _check_name("the graph", graph.name)
    for name, tensor in graph.tensors.items():
        _check_tensor(name, tensor)
    known = {tensor.name for tensor in graph.outside()}
    for index, node in enumerate(graph.nodes):
        check = _check_composite if node.body or node.inner else _check_call
        check(graph, node, f"node {index}", known)
        known.update(node.results)
    for name in graph.tensors:
        require(name in known, "TRAIN-C4", f"{name} is computed by no node", "remove it or add the node")
    for position, name in enumerate(graph.outputs):
        require(name in known, "TRAIN-C4", f"output {show(name)} is no tensor", "remove it or add the node")
        require(name not in graph.outputs[:position], "TRAIN-C4", f"output {name} is listed twice", "list it once")
    for old, new in graph.updates.items():
        require(
            old in known
            and new in known
            and graph[old].role in ("weight", "bias", "state")
            and graph[new].role == "parameter"
            and graph[old].type == graph[new].type,
            "TRAIN-C4",
            f"{show(new)} cannot be the next value of {show(old)}",
            "update a weight, bias or state with a parameter of its own type",
        )
    require(
        len(set(graph.updates.values())) == len(graph.updates),
        "TRAIN-C4",
        "one tensor is the next value of two parameters",
        "give each its own",
    )
    return graph


# A graph is validated after every pass: what is checked of each tensor and operand makes no text before it fails.


def _check_name(what: str, name: str) -> None:
    if not isinstance(name, str) or NAME.fullmatch(name) is None:
        fault = f"{what} is named {show(name)}"
        raise ConstraintError("TRAIN-C1", fault, "use at most 100 letters, digits and . _ -, a letter first")


def _check_tensor(name: str, tensor: Tensor) -> None:
    _check_name("a tensor", name)
    if name != tensor.name:
        raise ConstraintError("TRAIN-C1", f"tensor {show(tensor.name)} is listed as {name}", "use its name")
    if tensor.role not in ROLES:
        fault = f"tensor {name} has the role {show(tensor.role)}"
        raise ConstraintError("TRAIN-C1", fault, f"use one of {', '.join(ROLES)}")
    shape, dtype = tensor.type.shape, tensor.type.dtype
    if dtype not in DTYPES or not shape or not all(type(size) is int and size >= 1 for size in shape):
        fault = f"tensor {name} has the type {show(dtype)} {show(shape)}"
        raise ConstraintError("TRAIN-C1", fault, f"give {', '.join(DTYPES)} and sizes of at least 1")


def _check_call(graph: Graph, node: Node, place: str, known: set[str]) -> None:
    if node.function not in FUNCTIONS:
        fault = f"{place} ({show(node.function)}) is no known function"
        raise ConstraintError("TRAIN-C2", fault, "see `goldgrad spec`")
    where = f"{place} ({node.function})"
    _check_names(graph, node, where, known)
    _check_types(graph, node, where)


@rule("STREAM-C1")
def _check_composite(graph: Graph, node: Node, place: str, known: set[str]) -> None:
    """The body is a graph of ordinary nodes from the operands to the results; the kind then says what it may hold."""
    from .composites import KINDS

    where = f"{place} ({show(node.function)})"
    require(node.function in KINDS, "STREAM-C1", f"{where} is of no known kind", f"use {', '.join(KINDS)}")
    where = f"{place} ({node.function})"
    require(None not in (*node.inputs, *node.outputs), "STREAM-C1", f"{where} has a _", "name what is there")
    _check_names(graph, node, where, known)
    for tensor in node.inner:
        _check_tensor(tensor.name, tensor)
        require(
            tensor.name not in graph.tensors,
            "STREAM-C1",
            f"{where} has an inner tensor named {tensor.name}, as one outside",
            "give each a name of its own",
        )
    scope, inside = graph.inside(node), set(node.operands)
    for position, part in enumerate(node.body):
        require(
            not (part.body or part.inner),
            "STREAM-C1",
            f"{where}, part {position} is composite",
            "put ordinary nodes in a body",
        )
        _check_call(scope, part, f"{where}, part {position}", inside)
        inside.update(part.results)
    read = {name for part in node.body for name in part.operands}
    for names, met, fault in (
        (node.operands, read, "is read by no node of the body"),
        (scope.tensors, inside, "is computed by no node of the body"),
    ):
        for name in names:
            require(name in met, "STREAM-C1", f"{where}: {name} {fault}", "remove it or add the node")
    KINDS[node.function].check(graph, node, where)


def _check_names(graph: Graph, node: Node, where: str, known: set[str]) -> None:
    definition = node.definition
    least = len(definition.inputs) - sum(name in definition.optional for name in definition.inputs)
    if not least <= len(node.inputs) <= len(definition.inputs) or len(node.outputs) != len(definition.outputs):
        raise ConstraintError(
            "TRAIN-C2",
            f"{where} has {len(node.inputs)} operands and {len(node.outputs)} results",
            f"give {_marked(definition, definition.inputs)} -> {_marked(definition, definition.outputs)}",
        )
    for names, given in ((definition.inputs, node.inputs), (definition.outputs, node.outputs)):
        for name, tensor in zip(names, given, strict=False):
            if tensor is None and name not in definition.optional:
                remedy = "only optional operands and results may be absent"
                raise ConstraintError("TRAIN-C2", f"{where} lacks {name}", remedy)
            if tensor is not None and tensor not in graph.tensors:
                fault = f"{where} names {show(tensor)}, which is no tensor"
                raise ConstraintError("TRAIN-C3", fault, "declare it")
    for name in node.operands:
        if name not in known:
            fault = f"{where} reads {name}, which nothing before it computes"
            raise ConstraintError("TRAIN-C3", fault, "declare it as coming from outside, or move the node")
    for position, name in enumerate(node.results):
        if name in known or name in node.results[:position]:
            raise ConstraintError("TRAIN-C3", f"{where} computes {name} a second time", "give it a name of its own")


def _marked(definition: Function, names: Iterable[str]) -> str:
    """Names of operands or results, what is optional with a question mark."""
    return ", ".join(f"{name}?" if name in definition.optional else name for name in names)


def _check_types(graph: Graph, node: Node, where: str) -> None:
    _check_attributes(node, where)
    operands = [None if name is None else graph[name].type for name in node.inputs]
    try:
        types = node.definition.types(*operands, **node.attributes)
    except ConstraintError as error:
        raise ConstraintError(error.rule, f"{where}: {error.fault}", error.remedy) from error
    for result, expected in zip(node.outputs, types, strict=True):
        if result is not None and graph[result].type != expected:
            fault = f"{where} gives {expected} for {result}, declared as {graph[result].type}"
            raise ConstraintError("TRAIN-C2", fault, "declare the type that the function gives")


def _check_attributes(node: Node, where: str) -> None:
    wanted = _attributes(node.definition.types)
    for name, value in node.attributes.items():
        if name not in wanted:
            fault = f"{where} has the attribute {show(name)}"
            raise ConstraintError("TRAIN-C2", fault, f"give {', '.join(wanted)}")
        hint, _ = wanted[name]
        if not _fits(value, hint):
            raise ConstraintError("TRAIN-C2", f"{where} has {name} = {show(value)}", f"give {_meaning(hint)}")
    for name, (hint, needed) in wanted.items():
        if needed and name not in node.attributes:
            raise ConstraintError("TRAIN-C2", f"{where} lacks {name}", f"give {_meaning(hint)}")


@cache
def _attributes(types: Callable[..., Any]) -> dict[str, tuple[Any, bool]]:
    """A function's attributes, the keyword parameters of its ``types``: type hint, and whether one must be given."""
    hints = get_type_hints(types)
    return {
        name: (hints[name], parameter.default is parameter.empty)
        for name, parameter in inspect.signature(types).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }


def _fits(value: object, hint: Any) -> bool:
    """Whether an attribute is what its hint says, ``int`` or a tuple of ``int`` below 2^31; a bool is no int here."""
    if hint is int:
        return type(value) is int and abs(value) < 2**31
    if get_origin(hint) is UnionType:
        return any(_fits(value, part) for part in get_args(hint))
    if hint is NoneType:
        return value is None
    if get_args(hint)[1:] == (...,):
        return isinstance(value, tuple) and bool(value) and all(_fits(v, int) for v in value)
    assert get_origin(hint) is tuple
    return isinstance(value, tuple) and len(value) == len(get_args(hint)) and all(_fits(v, int) for v in value)


def _meaning(hint: Any) -> str:
    if get_origin(hint) is tuple and ... not in get_args(hint):
        return f"{len(get_args(hint))} integers"
    return "an integer" if hint is int else "integers"


def quantization(tensor: Tensor | None) -> tuple[float, int] | None:
    """Scale and zero point of a tensor that has both."""
    if tensor is None or tensor.scale is None or tensor.zero_point is None:
        return None
    return tensor.scale, tensor.zero_point


class Builder:
    """Appends nodes to a graph, inferring the types of their results."""

    def __init__(self, graph: Graph | None = None, name: str = "graph") -> None:
        self.name = graph.name if graph else name
        self.tensors: dict[str, Tensor] = dict(graph.tensors) if graph else {}
        self.nodes: list[Node] = list(graph.nodes) if graph else []
        self.updates: dict[str, str] = dict(graph.updates) if graph else {}

    def outside(
        self, name: str, type_: Type, role: str, scale: float | None = None, zero_point: int | None = None
    ) -> str:
        """Declare a tensor that comes from outside (once: a second declaration must agree)."""
        tensor = Tensor(name, type_, role, scale, zero_point)
        require(
            self.tensors.setdefault(name, tensor) == tensor,
            "TRAIN-C3",
            f"two tensors are named {name}",
            "give each a name of its own",
        )
        return name

    def emit(
        self,
        function: str,
        inputs: Iterable[str | None],
        outputs: Iterable[str | None],
        roles: Iterable[str],
        quantization: tuple[float, int] | None = None,
        **attributes: Any,
    ) -> Node:
        """Append a call; ``quantization`` is scale and zero point of the first result."""
        node = Node(function, tuple(inputs), tuple(outputs), attributes)
        operands = [None if name is None else self.tensors[name].type for name in node.inputs]
        try:
            types = node.definition.types(*operands, **attributes)
        except ConstraintError as error:
            where = f"{', '.join(node.results)} = {function}"
            raise ConstraintError(error.rule, f"{where}: {error.fault}", error.remedy) from error
        for position, (result, type_, role) in enumerate(zip(node.outputs, types, roles, strict=True)):
            if result is not None:
                require(
                    result not in self.tensors,
                    "TRAIN-C3",
                    f"two tensors are named {result}",
                    "give each a name of its own",
                )
                scale, zero = quantization if quantization and position == 0 else (None, None)
                self.tensors[result] = Tensor(result, type_, role, scale, zero)
        self.nodes.append(node)
        return node

    def declare(self, tensor: Tensor) -> str:
        """Declare a tensor that comes from outside, as another graph has it."""
        return self.outside(tensor.name, tensor.type, tensor.role, tensor.scale, tensor.zero_point)

    def again(self, node: Node, graph: Graph) -> Node:
        """Append a node of another graph, its results named and used as there; what it lacks comes from outside."""
        for name in node.operands:
            if name not in self.tensors:
                self.declare(graph[name])
        results = [None if name is None else graph[name] for name in node.outputs]
        roles = ["activation" if result is None else result.role for result in results]
        return self.emit(node.function, node.inputs, node.outputs, roles, quantization(results[0]), **node.attributes)

    def fresh(self, stem: str) -> str:
        """``stem``, or the first of ``stem.2``, ``stem.3``, ... that no tensor has."""
        name, number = stem, 1
        while name in self.tensors:
            number += 1
            name = f"{stem}.{number}"
        return name

    def build(self, outputs: Iterable[str]) -> Graph:
        """The validated graph."""
        return validate(Graph(self.name, self.tensors, tuple(self.nodes), tuple(outputs), self.updates))
