"""Runs a graph: node after node, in buffers of their own or inside one arena (specs/training.md, inplace.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .composites import KINDS, writing
from .errors import ConstraintError
from .graph import Graph, Node
from .memory.liveness import lives
from .memory.scratch import scratch_bytes, scratch_name
from .memory.sharing import Placement, check_placement, placed_bytes
from .numerics import Array
from .ops import FUNCTIONS, Type
from .rules import rule

Provider = Callable[..., tuple[Array, ...]]
"""Computes a node: ``provider(function_name, *operands, **attributes)`` gives the tuple of results."""

POISON = 0xFF
"""What dead bytes hold: a NaN as float32, -1 as an integer, no mask bit clear (INP-S5)."""


def reference(function: str, *operands: Array | None, **attributes: Any) -> tuple[Array, ...]:
    """The provider that defines what is right: the functions of :mod:`goldgrad.ops`."""
    return FUNCTIONS[function](*operands, **attributes)


@rule("TRAIN-I1")
def check_feeds(graph: Graph, feeds: Mapping[str, Array]) -> None:
    """Every tensor from outside is fed, with its type; otherwise an error names it."""
    for tensor in graph.outside():
        if tensor.name not in feeds:
            raise ConstraintError("TRAIN-I1", f"{tensor.name} is not fed", f"feed {tensor.type}")
        given = Type.of(feeds[tensor.name])
        if given != tensor.type:
            raise ConstraintError("TRAIN-I1", f"{tensor.name} is fed {given}", f"feed {tensor.type}")


def run(graph: Graph, feeds: Mapping[str, Array], provider: Provider = reference) -> dict[str, Array]:
    """All that ``graph.kept`` names, each tensor in a buffer of its own; dead tensors are dropped."""
    check_feeds(graph, feeds)
    life = lives(graph)
    values: dict[str, Array] = {tensor.name: feeds[tensor.name] for tensor in graph.outside()}
    for time, node in enumerate(graph.nodes):
        values.update(_compute(graph, node, values, provider))
        for name in (*node.operands, *node.results):
            if life[name].last == time:
                values.pop(name, None)
    return {name: values[name] for name in graph.kept}


@rule("TRAIN-I2", "STREAM-S1")
def _compute(graph: Graph, node: Node, values: Mapping[str, Array], provider: Provider) -> dict[str, Array]:
    """The results that somebody wants, by name, each of its declared type; a composite's body runs in order."""
    if node.body:
        scope, inside = graph.inside(node), {name: values[name] for name in node.operands}
        for part in node.body:
            inside.update(_compute(scope, part, inside, provider))
        return {name: inside[name] for name in node.results}
    operands = [None if name is None else values[name] for name in node.inputs]
    results = provider(node.function, *operands, **node.attributes)
    computed = {name: value for name, value in zip(node.outputs, results, strict=True) if name is not None}
    for name, value in computed.items():
        given, wanted = Type.of(value), graph[name].type
        if given != wanted:
            raise ConstraintError("TRAIN-I2", f"{node.function} gives {given} for {name}", f"give {wanted}")
    return computed


@rule("INP-S5", "INP-S6")
def run_in_arena(
    graph: Graph,
    feeds: Mapping[str, Array],
    placement: Placement,
    provider: Provider = reference,
    check: bool = True,
) -> dict[str, Array]:
    """As :func:`run`, with the placed tensors at their offsets in one bytearray.

    A composite runs as it would on a device: piece by piece, in the scratch that it states, at the offset that the
    placement gives for its :func:`~goldgrad.memory.scratch.scratch_name`.
    Illegal sharing is an error (``check=False`` skips the proof, to show what a wrong plan does to the bits).
    What is dead is filled with poison before the next node runs, so a tensor that is read after its memory was
    given away, or that its node did not write in full, changes the result.
    """
    check_feeds(graph, feeds)
    if check:
        check_placement(graph, placement)
    life = lives(graph)
    sizes = placed_bytes(graph, placement)
    arena = np.full(max((placement[name] + sizes[name] for name in placement), default=0), POISON, np.uint8)
    values: dict[str, Array] = {}

    def store(name: str, value: Array) -> None:
        if name in placement:
            home = _view(arena, placement[name], graph[name].type)
            home[...] = value
            value = home
        values[name] = value

    for tensor in graph.outside():
        store(tensor.name, feeds[tensor.name])
    for time, node in enumerate(graph.nodes):
        if node.body:
            values.update(_stream(graph, node, values, arena, placement, provider))
        else:
            for name, value in _compute(graph, node, values, provider).items():
                store(name, value)
        _poison(arena, [name for name in values if life[name].last >= time + 1], placement, graph)
    return {name: np.array(values[name]) for name in graph.kept}


@rule("STREAM-F1", "STREAM-S6")
def _stream(
    graph: Graph,
    node: Node,
    values: Mapping[str, Array],
    arena: Array,
    placement: Placement,
    provider: Provider,
) -> dict[str, Array]:
    """The results of a composite, computed where they lie; its operands are overwritten only as its kind does."""

    def home(name: str) -> Array:
        type_ = graph[name].type
        if name in placement:
            return _view(arena, placement[name], type_)
        return _view(np.full(type_.nbytes, POISON, np.uint8), 0, type_)

    results = {name: home(name) for name in node.results}
    size, place = scratch_bytes(graph, node), placement.get(scratch_name(node))
    scratch = np.empty(size, np.uint8) if place is None else arena[place : place + size]
    operands = {name: values[name] for name in node.operands}
    KINDS[node.function].execute(graph, node, operands, results, scratch, writing(provider))
    return results


def _view(arena: Array, offset: int, type_: Type) -> Array:
    return arena[offset : offset + type_.nbytes].view(type_.dtype).reshape(type_.shape)


def _poison(arena: Array, live: Sequence[str], placement: Placement, graph: Graph) -> None:
    """Fill every byte of the arena that belongs to no live tensor."""
    dead = np.ones(arena.size, bool)
    for name in live:
        if name in placement:
            dead[placement[name] : placement[name] + graph[name].nbytes] = False
    arena[dead] = POISON
