"""A streamed forward block in C: its schedule as a table, and a case a pipeline (specs/streaming.md)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import prod

from ..composites.rows import Schedule, Step, span
from ..errors import GoldgradError
from ..graph import Node
from ..kernels import KernelCall, describe
from ..kernels._call import Fields
from ..ops import Type
from ..rules import rule
from ._memory import Memory
from ._text import CTYPES, called, comment, initializer, params_of, times_rows, wrapped

INDENT = " " * 12


@rule("PROG-S3")
def rows(memory: Memory, node: Node) -> Iterator[str]:
    """The statements of a node's function."""
    writer = _Writer(memory, node)
    schedule = writer.schedule
    check(node, schedule)
    for i, part in enumerate(node.body):
        params = params_of(part.function, writer.types(i), part.attributes)
        if params is not None:
            yield from initializer(f"static const {params.ctype} p{i}", params, "    ")
    for name, (_, bases) in schedule.bands.items():
        yield f"    /* The first row that the band of {name} holds as each row comes. */"
        yield f"    static const uint16_t from_{memory.names[name]}[{len(bases)}] = {{"
        yield from wrapped(map(str, bases), " " * 8)
        yield "    };"
    numbers = {pipeline: n for n, pipeline in enumerate(sorted(set(schedule.pipeline)))}
    what = "its next rows, and how many" if writer.several else "its next row"
    yield f"    /* Which pipeline computes {what}, step after step. */"
    yield f"    static const uint8_t steps[{len(schedule.steps)}] = {{"
    yield from wrapped((str(numbers[step.pipeline]) for step in schedule.steps), " " * 8)
    yield "    };"
    if writer.several:
        yield f"    static const uint16_t counts[{len(schedule.steps)}] = {{"
        yield from wrapped((str(step.end - step.first) for step in schedule.steps), " " * 8)
        yield "    };"
    for name, (offset, type_) in writer.layout.items():
        place = memory.at(writer.base + offset, type_.dtype)
        kind = f"{type_.shape[1]} rows" if type_.shape[1] > 1 else "a row"
        yield f"    {CTYPES[type_.dtype]} *const {memory.names[name]} = {place}; /* {kind} */"
    yield f"    int32_t next[{len(numbers)}] = {{0}};"
    for name in schedule.bands:
        yield f"    int32_t first_{memory.names[name]} = 0;"
    yield f"    for (int32_t i = 0; i < {len(schedule.steps)}; ++i) {{"
    if writer.several:
        yield "        const int32_t row = next[steps[i]];"
        yield "        const int32_t rows = counts[i];"
        yield "        next[steps[i]] += rows;"
    else:
        yield "        const int32_t row = next[steps[i]]++;"
    yield "        switch (steps[i]) {"
    for pipeline, n in numbers.items():
        yield f"        case {n}: {{"
        yield from writer.pipeline(pipeline)
        yield "            break;"
        yield "        }"
    yield "        default:"
    yield "            break;"
    yield "        }"
    yield "    }"


def row_calls(memory: Memory, node: Node) -> Iterator[KernelCall]:
    """Every kernel that a node calls, once for all steps that are alike in rows and in what these meet of the map."""
    writer = _Writer(memory, node)
    schedule = writer.schedule
    for i, part in enumerate(node.body):
        steps = [step for step in schedule.steps if step.pipeline == schedule.pipeline[i]]
        window = schedule.windows[i]
        if window is None:
            for count in sorted({step.end - step.first for step in steps}):
                yield describe(part.function, writer.types(i, count), part.attributes)
            continue
        call = describe(part.function, writer.types(i), part.attributes)
        assert call.struct is not None
        whole = call.struct.fields["window"]
        assert isinstance(whole, Mapping)
        spans = [(span(window, 0, step.first, step.end), step.end - step.first) for step in steps]
        for met, above, count in sorted({(end - first, above, count) for (first, end, above, _), count in spans}):
            fields = {**call.struct.fields, "window": {**whole, "in_h": met, "out_h": count, "pad_top": above}}
            params = replace(call.struct, fields=fields)
            yield replace(call, arguments=tuple(params if a is call.struct else a for a in call.arguments))


@rule("PROG-S3")
def check(node: Node, schedule: Schedule) -> None:
    """Raise where a block is not made of whole rows of what is there."""
    for name in schedule.fed:
        raise GoldgradError(f"{name} comes row by row, and a program takes it whole; plan without stream-image")
    if any(schedule.tile_columns(name) < schedule.tensors[name].type.shape[2] for name in schedule.tiles):
        raise GoldgradError(
            f"{node.results[0]} is computed in tiles, and a program takes whole rows; leave columns out"
        )


class _Writer:
    def __init__(self, memory: Memory, node: Node) -> None:
        self.memory, self.node = memory, node
        self.schedule = Schedule(memory.graph, node)
        self.tensors = self.schedule.tensors
        self.layout, _ = self.schedule.layout
        self.base = memory.scratch_of(node)
        self.several = any(count > 1 for count in self.schedule.most.values())
        """Whether some step computes several rows."""

    def types(self, i: int, rows: int = 1) -> dict[str, Type | None]:
        """Operands and results of a part: whole maps where it reads through a window, else some rows of them."""
        part, table = self.node.body[i], {}
        whole = self.schedule.windows[i] is not None
        definition = part.definition
        named = zip((*definition.inputs, *definition.outputs), _padded(part), strict=True)
        for name, tensor in named:
            table[name] = None if tensor is None else self._row_type(tensor, whole, rows)
        return table

    def _row_type(self, tensor: str, whole: bool, rows: int) -> Type:
        type_ = self.tensors[tensor].type
        if whole or len(type_.shape) != 4 or self.tensors[tensor].role in ("weight", "constant"):
            return type_
        return Type((1, rows, *type_.shape[2:]), type_.dtype)

    def pipeline(self, pipeline: int) -> Iterator[str]:
        """A step: a row, or some rows, of all results of a pipeline."""
        s, names = self.schedule, self.memory.names
        members = s.members(pipeline)
        yield f"{INDENT}{self.memory.mark(s.parts[members[0]])}"
        for name in (n for i in members for n in s.parts[i].results if n in s.bands):
            held, spelled = self.layout[name][1].shape[1], names[name]
            size = self._row_bytes(name)
            yield f"{INDENT}if (from_{spelled}[row] > first_{spelled}) {{ /* dead rows make room */"
            yield f"{INDENT}    const int32_t gone = from_{spelled}[row] - first_{spelled};"
            yield f"{INDENT}    __builtin_memmove({self.memory[name]}, {self.memory[name]} + gone * {self._row(name)},"
            yield f"{INDENT}                      (size_t)({held} - gone) * {size});"
            yield f"{INDENT}    first_{spelled} += gone;"
            yield f"{INDENT}}}"
        for i in members:
            if i != members[0]:
                yield f"{INDENT}{self.memory.mark(s.parts[i])}"
            yield from self._part(i)

    def _part(self, i: int) -> Iterator[str]:
        part, types = self.node.body[i], self.types(i)
        twice = None
        yield from comment(self.memory.brief(part), INDENT)
        struct, params, first = params_of(part.function, types, part.attributes), f"&p{i}", "row"
        if self.schedule.windows[i] is not None:
            assert struct is not None
            rows = "rows" if self.several else "1"
            yield f"{INDENT}{struct.ctype} r{i} = p{i};"
            yield f"{INDENT}const int32_t from_{i} = gg_stream_rows(&p{i}.window, row, {rows}, &r{i}.window);"
            params, first = f"&r{i}", f"from_{i}"
        elif self.several:
            twice = self.types(i, 2)
            if struct is not None:
                of_two = params_of(part.function, twice, part.attributes)
                assert of_two is not None
                yield f"{INDENT}{struct.ctype} r{i} = p{i};"
                for field, size in _of_a_row(struct.fields, of_two.fields):
                    yield f"{INDENT}r{i}.{field} = {times_rows(size)};"
                params = f"&r{i}"
        expressions = {}
        definition = part.definition
        maps = set(self._maps(i))
        for name, tensor in zip(definition.inputs, part.inputs, strict=False):
            if tensor is not None:
                expressions[name] = self._rows(tensor, first) if tensor in maps else self.memory[tensor]
        for name, tensor in zip(definition.outputs, part.outputs, strict=True):
            if tensor is not None:
                expressions[name] = self._rows(tensor, "row")
        yield from called(part.function, types, part.attributes, expressions, params, INDENT, twice)

    def _maps(self, i: int) -> list[str]:
        step = Step(self.schedule.pipeline[i], 0, 1)
        return [read.name for read in self.schedule.reads(step) if read.part == i] + [
            name for name in self.node.body[i].operands if name in self.schedule.tiles
        ]

    def _row(self, name: str) -> int:
        """Elements of a row."""
        return prod(self.tensors[name].type.shape[2:])

    def _row_bytes(self, name: str) -> int:
        return Type(self.tensors[name].type.shape[2:], self.tensors[name].type.dtype).nbytes

    def _rows(self, name: str, first: str) -> str:
        """The rows of a map from ``first`` on."""
        if name in self.schedule.tiles:
            return self.memory[name]
        at = f"({first} - first_{self.memory.names[name]})" if name in self.schedule.bands else first
        return f"{self.memory[name]} + {at} * {self._row(name)}"


def _padded(part: Node) -> tuple[str | None, ...]:
    """Operands and results, absent ones at the end included."""
    missing = len(part.definition.inputs) - len(part.inputs)
    return (*part.inputs, *[None] * missing, *part.outputs)


def _of_a_row(one: Fields, two: Fields) -> Iterator[tuple[str, int]]:
    """The fields of a struct that grow with the rows, and what they are for one row."""
    for name, value in one.items():
        other = two[name]
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            yield from ((f"{name}.{field}", size) for field, size in _of_a_row(value, other))
        elif not isinstance(value, Mapping) and other != value:
            yield name, value
