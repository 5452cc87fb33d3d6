"""The program: its tables, its arrays, a function a node, and the step that calls them in the plan's order."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping
from math import prod

import numpy as np

from ..composites import whole
from ..graph import Node
from ..kernels import KernelCall, describe, scratch_bytes
from ..memory.plan import Plan
from ..numerics import Array
from ..ops import Type
from ..rules import rule
from ..sparse import split_weights
from ..training import Session
from ._channels import channel_calls, channels
from ._memory import Memory
from ._rows import row_calls, rows
from ._text import array, called, comment, header_of, initializer, params_of

KINDS = {"input": "GG_INPUT", "rate": "GG_RATE"}

ScratchOf = Callable[[KernelCall], int]
"""Bytes of scratch that the kernel of a call wants (ABI-M1)."""


@rule("PROG-S1", "PROG-S2")
def generate(session: Session, plan: Plan, scratch_of: ScratchOf = scratch_bytes) -> str:
    """The C source of a planned training step, ready to be compiled with the kernels, for a host or for the board.

    Parameters start as the session has them now.  Raises :class:`~goldgrad.errors.GoldgradError` for a plan that no
    program can follow: with a sample that comes row by row, or tiles of a row.
    """
    return "\n".join(_Program(session, plan, scratch_of).lines()) + "\n"


@rule("MEM-S2")
def kernel_scratch(plan: Plan, scratch_of: ScratchOf = scratch_bytes) -> int:
    """Bytes of scratch that the kernels of a program want, besides the plan: the most that one call wants."""
    return max(map(scratch_of, _calls(Memory(plan))), default=0)


def _calls(memory: Memory) -> Iterator[KernelCall]:
    """Every kernel that is called, with the sizes that it is called with."""
    for node in memory.graph.nodes:
        if node.function == "composite.rows":
            yield from row_calls(memory, node)
        elif node.function == "composite.channels":
            yield from channel_calls(memory, node)
        else:
            scope = memory.graph.inside(node).tensors if node.body else memory.graph.tensors
            for part in node.body or (node,):
                types = _types(part, lambda name, scope=scope: scope[name].type)  # type: ignore[misc]
                yield describe(part.function, types, part.attributes)


class _Program:
    def __init__(self, session: Session, plan: Plan, scratch_of: ScratchOf) -> None:
        self.session, self.plan, self.graph = session, plan, plan.graph
        self.memory = Memory(plan)
        self.values: Mapping[str, Array] = {**session.constants, **session.parameters}
        self.scratch = kernel_scratch(plan, scratch_of)

    def lines(self) -> Iterator[str]:
        """The whole file."""
        yield from self._head()
        yield from self._constants()
        yield from self._tensors()
        for number, node in enumerate(self.graph.nodes):
            yield from self._node(number, node)
        yield from self._init()
        yield from self._step()
        yield from self._tables()

    def _head(self) -> Iterator[str]:
        plan, name = self.plan, self.graph.name
        trained = [f"{n} ({self.graph[n].nbytes:,})" for n in self.graph.updates]
        text = (
            f"One training step of {name}, scheme {self.session.scheme.name}, made by goldgrad from its plan: passes "
            f"{', '.join(plan.passes)}; an arena of {plan.arena_bytes:,} bytes, of which at most "
            f"{plan.live_peak_bytes:,} live at once. Trains, in bytes: {', '.join(trained)}."
        )
        yield "/*"
        yield from (f" * {line}" for line in textwrap.wrap(text, 114, break_on_hyphens=False))
        yield " */"
        yield '#include "program.h"'
        yield ""
        yield "#include <stddef.h>"
        yield ""
        parts = [part for node in self.graph.nodes for part in (node.body or (node,))]
        headers = {header_of(part.function) for part in parts} | {"goldgrad/save_channels.h", "goldgrad/stream.h"}
        yield from (f'#include "{header}"' for header in sorted(headers))
        yield ""
        yield f"static GG_ARENA uint8_t arena[{plan.arena_bytes}];"
        if self.scratch:
            yield f"static GG_SCRATCH uint8_t scratch[{self.scratch}];"
            yield "#define GG_KERNEL_SCRATCH scratch"
        else:
            yield "#define GG_KERNEL_SCRATCH NULL"
        yield ""

    @rule("PROG-M1")
    def _constants(self) -> Iterator[str]:
        """What never changes, and what parameters start as: in flash."""
        splits = split_weights(self.session.graph)
        yield "/* --- in flash: frozen weights and biases, constants, first values of what trains --- */"
        for tensor in self.graph.outside():
            if tensor.name not in self.plan.placement and tensor.name in self.values:
                yield ""
                comment = f"{tensor.name} {tensor.type}: {tensor.role}"
                yield from array(self.memory.names[tensor.name], self.values[tensor.name], comment)
        for name in self.graph.updates:
            if name not in splits and np.any(self.values[name]):
                yield ""
                yield from array(f"{self.memory.names[name]}_start", self.values[name], f"{name}: first value")
        yield ""

    def _tensors(self) -> Iterator[str]:
        yield "/* --- in the arena: bytes from .. to, living from node .. to node --- */"
        yield ""
        for entry in self.plan.entries:
            if entry.name in self.graph.tensors:
                tensor = self.graph[entry.name]
                end = entry.offset + entry.nbytes
                what = f"{entry.offset} .. {end}, nodes {max(entry.life.first, 0)} .. {entry.life.last}: {tensor.type}"
                place = self.memory.at(entry.offset, tensor.type.dtype)
                yield f"#define {self.memory.names[entry.name]} {place} /* {what}, {entry.part} */"
        yield ""

    def _node(self, number: int, node: Node) -> Iterator[str]:
        live = self.plan.profile.live[number]
        yield from comment(f"Node {number}, {live:,} bytes live. {self.memory.described(node)}")
        yield f"static void node_{number}(void) {{"
        match node.function:
            case "composite.rows":
                yield from rows(self.memory, node)
            case "composite.channels":
                yield from channels(self.memory, node)
            case "composite.whole":
                yield from self._whole(node)
            case _:
                yield from self._call(node, 0)
        yield "}"
        yield ""

    @rule("PROG-S2")
    def _call(self, node: Node, number: int) -> Iterator[str]:
        """An ordinary node: one call."""
        inner = self.memory.inner
        types = _types(node, lambda name: (inner.get(name) or self.graph[name]).type)
        params = params_of(node.function, types, node.attributes)
        if params is not None:
            yield from initializer(f"static const {params.ctype} p{number}", params, "    ")
        definition = node.definition
        named = (
            *zip(definition.inputs, node.inputs, strict=False),
            *zip(definition.outputs, node.outputs, strict=True),
        )
        expressions = {name: self.memory[tensor] for name, tensor in named if tensor is not None}
        yield from called(node.function, types, node.attributes, expressions, f"&p{number}", "    ")

    def _whole(self, node: Node) -> Iterator[str]:
        """Fused nodes: one call after the other, what only they see in scratch."""
        base = self.memory.scratch_of(node)
        offsets, _ = whole.layout(self.graph, node)
        self.memory.local = {t.name: self.memory.at(base + offsets[t.name], t.type.dtype) for t in node.inner}
        for number, part in enumerate(node.body):
            yield from comment(self.memory.brief(part), "    ")
            yield f"    {self.memory.mark(part)}"
            yield from self._call(part, number)
        self.memory.local = {}

    @rule("PROG-S5")
    def _init(self) -> Iterator[str]:
        splits, names = split_weights(self.session.graph), self.memory.names
        yield "void gg_program_init(void) {"
        for name in self.graph.updates:
            type_, spelled = self.graph[name].type, names[name]
            if name in splits:
                whole_ = self.graph[splits[name].whole].type
                count, listed = prod(whole_.shape[:-1]), names[splits[name].listed]
                yield (
                    f"    gg_save_channels_forward({count}, {whole_.shape[-1]}, {type_.shape[-1]}, "
                    f"{names[splits[name].whole]}, {listed}, {spelled});"
                )
            elif np.any(self.values[name]):
                yield f"    __builtin_memcpy({spelled}, {spelled}_start, {type_.nbytes});"
            else:
                yield f"    __builtin_memset({spelled}, 0, {type_.nbytes});"
        yield "}"
        yield ""

    def _step(self) -> Iterator[str]:
        yield "void gg_program_step(void) {"
        for number, node in enumerate(self.graph.nodes):
            if not node.body:
                yield f"    {self.memory.mark(node)}"
            yield f"    node_{number}();"
        yield "    gg_mark(GG_BETWEEN);"
        yield "}"
        yield ""

    @rule("PROG-S6")
    def _tables(self) -> Iterator[str]:
        yield "static const gg_buffer_t buffers[] = {"
        count = 0
        for name, kind in self.buffers():
            count += 1
            yield f'    {{"{name}", {self.memory.names[name]}, {self.graph[name].nbytes}, {kind}}},'
        yield "};"
        yield ""
        yield "static const gg_region_t regions[] = {"
        for node in self.memory.regions:
            name = node.results[0]
            yield f'    {{"{name}", "{node.function}", "{self._layer(node)}"}},'
        yield "};"
        yield ""
        scratch = ("scratch", self.scratch) if self.scratch else ("NULL", 0)
        yield "const gg_program_t gg_program = {"
        yield f'    GG_PROGRAM_VERSION, "{self.graph.name} {self.session.scheme.name}",'
        yield f"    buffers, {count},"
        yield f"    regions, {len(self.memory.regions)},"
        yield f"    arena, {self.plan.arena_bytes},"
        yield f"    {scratch[0]}, {scratch[1]},"
        yield "};"

    @staticmethod
    def _layer(node: Node) -> str:
        """The stem of the layer's tensors; of a gradient that of the layer that it goes through."""
        weight = node.operand("w") if "w" in node.definition.inputs else None
        return (weight or node.results[0]).partition(".")[0]

    def buffers(self) -> Iterator[tuple[str, str]]:
        """What the host may touch between steps, with its kind."""
        for tensor in self.graph.outside():
            if tensor.role in KINDS:
                yield tensor.name, KINDS[tensor.role]
        yield from ((name, "GG_OUTPUT") for name in self.graph.outputs)
        yield from ((name, "GG_PARAMETER") for name in self.graph.updates)


def _named(node: Node) -> Iterator[tuple[str, str | None]]:
    """The tensors of a node with the names that its function gives them."""
    definition = node.definition
    absent = [None] * (len(definition.inputs) - len(node.inputs))
    yield from zip(definition.inputs, (*node.inputs, *absent), strict=True)
    yield from zip(definition.outputs, node.outputs, strict=True)


def _types(node: Node, type_of: Callable[[str], Type]) -> dict[str, Type | None]:
    """Types of operands and results by the names that the function gives them."""
    return {name: None if tensor is None else type_of(tensor) for name, tensor in _named(node)}
