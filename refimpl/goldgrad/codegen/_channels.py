"""A streamed backward block in C: a loop over channels, or groups of them (specs/streaming.md)."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from ..composites.channels import BYTE, Cut, Part, Piece, Slicing
from ..graph import Node
from ..kernels import KernelCall, describe
from ..ops import Type
from ..rules import rule
from ._memory import Memory
from ._text import CTYPES, called, comment, initializer, params_of

BODY, INNER = " " * 8, " " * 12


@rule("PROG-S4")
def channels(memory: Memory, node: Node) -> Iterator[str]:
    """The statements of a node's function."""
    writer = _Writer(memory, node)
    lists = {name: memory.names[name] for name in writer.lists}
    for i, (function, types, attributes) in enumerate(writer.calls()):
        params = params_of(function, types, attributes)
        if params is not None:
            yield from initializer(f"static const {params.ctype} p{i}", params, "    ")
    yield from writer.slots()
    for spelled in lists.values():
        yield f"    int32_t at_{spelled} = 0;"
    group = writer.slicing.group
    step = "++c" if group == 1 else f"c += {group}"
    yield f"    for (int32_t c = 0; c < {writer.slicing.channels}; {step}) {{"
    for name, spelled in lists.items():
        kept = memory.graph[name].type.shape[0]
        if group == 1:
            yield f"        const int32_t in_{spelled} = at_{spelled} < {kept} && {spelled}[at_{spelled}] == c;"
        else:
            yield f"        int32_t end_{spelled} = at_{spelled};"
            yield f"        while (end_{spelled} < {kept} && {spelled}[end_{spelled}] < c + {group}) {{"
            yield f"            ++end_{spelled};"
            yield "        }"
    for i, part in enumerate(writer.slicing.parts):
        yield from comment(memory.brief(part.node), " " * 8)
        if part.only is None:
            yield from writer.part(i, part, BODY)
        else:
            yield f"        if (in_{lists[part.only]}) {{"
            yield from writer.part(i, part, INNER)
            yield "        }"
    for spelled in lists.values():
        yield f"        at_{spelled} += in_{spelled};" if group == 1 else f"        at_{spelled} = end_{spelled};"
    yield "    }"


def channel_calls(memory: Memory, node: Node) -> Iterator[KernelCall]:
    """Every kernel that a node calls, for one channel."""
    for function, types, attributes in _Writer(memory, node).calls():
        yield describe(function, types, attributes)


class _Writer:
    def __init__(self, memory: Memory, node: Node) -> None:
        self.memory = memory
        self.slicing = Slicing(memory.graph, node)
        self.tensors = self.slicing.tensors
        self.offsets, _ = self.slicing.layout()
        self.base = memory.scratch_of(node)
        used = (name for p in self.slicing.parts for name in (p.only, p.instead.listed if p.instead else None) if name)
        self.lists = list(dict.fromkeys(used))

    def calls(self) -> Iterator[tuple[str, dict[str, Type | None], dict[str, object]]]:
        """What each part calls: function, types, attributes."""
        for part in self.slicing.parts:
            pieces = (*part.operands, *part.results)
            types: dict[str, Type | None] = {piece.name: self.slicing.slice_type(piece) for piece in pieces}
            yield part.node.function, types, dict(part.node.attributes)

    def part(self, i: int, part: Part, indent: str) -> Iterator[str]:
        """Copies, the call, and copies back, for one channel."""
        function, types, attributes = list(self.calls())[i]
        expressions = {}
        yield f"{indent}{self.memory.mark(part.node)}"
        for piece in part.operands:
            yield from self._take(i, part, piece, indent)
            expressions[piece.name] = self._operand(i, part, piece)
        for piece in part.results:
            expressions[piece.name] = self._home(i, piece)
            if piece.cut is Cut.CHAIN:
                first = expressions.get("dx0", "NULL")
                expressions["dx0"] = f"c > 0 ? {expressions[piece.name]} : {first}"
                types["dx0"] = types[piece.name]
        yield from called(function, types, attributes, expressions, f"&p{i}", indent)
        for piece in part.results:
            yield from self._put(i, piece, indent)

    def slots(self) -> Iterator[str]:
        """Names for the places in scratch: slices of inner tensors, and copies of channels."""
        seen = set()
        for i, part in enumerate(self.slicing.parts):
            for piece in (*part.results, *part.operands):
                key = self.slicing.key(i, piece)
                if key in self.offsets and key not in seen:
                    seen.add(key)
                    type_ = self.slicing.slice_type(piece)
                    place = self.memory.at(self.base + self.offsets[key], type_.dtype)
                    what = "" if piece.tensor in self.slicing.inner else f" /* a channel of {piece.tensor} */"
                    yield f"    {CTYPES[type_.dtype]} *const {self._slot(i, piece)} = {place};{what}"

    def _slot(self, i: int, piece: Piece) -> str | None:
        """The name of a slice's or a copy's place in scratch, where it has one."""
        if self.slicing.key(i, piece) not in self.offsets:
            return None
        return self.memory.names[piece.tensor] if piece.tensor in self.slicing.inner else f"{piece.name}{i}"

    def _index(self, piece: Piece) -> str:
        return "c" if piece.listed is None else f"at_{self.memory.names[piece.listed]}"

    def _row(self, piece: Piece) -> str:
        """The channel's element of the first axis."""
        size = prod(self.tensors[piece.tensor].type.shape[1:])
        step = "" if size == 1 else f" * {size}"
        return f"{self.memory[piece.tensor]} + {self._index(piece)}{step}"

    def _take(self, i: int, part: Part, piece: Piece, indent: str) -> Iterator[str]:
        """Copy a channel of an operand into scratch, where its elements lie apart."""
        slot = self._slot(i, piece)
        if slot is None or piece.tensor in self.slicing.inner:
            return
        instead = part.instead if piece.name == "w" else None
        if instead is not None and self.slicing.group == 1:
            listed = self.memory.names[str(instead.listed)]
            yield f"{indent}if (in_{listed}) {{"
            yield f"{indent}    {self._copied(instead, slot)}"
            yield f"{indent}}} else {{"
            yield f"{indent}    {self._copied(piece, slot)}"
            yield f"{indent}}}"
            return
        yield f"{indent}{self._copied(piece, slot)}"
        if instead is not None:
            listed, type_ = self.memory.names[str(instead.listed)], self.tensors[instead.tensor].type
            source = f"{type_.shape[-1]}, {self.memory[instead.tensor]} + k"
            home = f"{self.slicing.group}, {slot} + {listed}[k] - c"
            yield f"{indent}for (int32_t k = at_{listed}; k < end_{listed}; ++k) {{"
            yield f"{indent}    gg_stream_copy_int8({prod(type_.shape[:-1])}, 1, {source}, {home});"
            yield f"{indent}}}"

    def _copied(self, piece: Piece, slot: str) -> str:
        type_, tensor = self.tensors[piece.tensor].type, self.memory[piece.tensor]
        count, stride, width = prod(type_.shape[:-1]), type_.shape[-1], self.slicing.width(piece)
        if piece.cut is Cut.BIT and self.slicing.group == 1:
            return f"gg_stream_take_bit({count}, {stride}, c, {tensor}, {slot});"
        first = f"c / {BYTE}" if piece.cut is Cut.BIT else self._index(piece)
        source, home = (f"(int8_t *){name}" if type_.dtype == "uint8" else name for name in (tensor, slot))
        kind = _element(type_)
        return f"gg_stream_copy_{kind}({count}, {width}, {stride}, {source} + {first}, {width}, {home});"

    def _operand(self, i: int, part: Part, piece: Piece) -> str:
        slot = self._slot(i, piece)
        if slot is not None:
            return slot
        if piece.cut is Cut.FIRST:
            return self._row(piece)
        if piece.name == "w" and part.instead is not None:
            listed = self.memory.names[str(part.instead.listed)]
            return f"in_{listed} ? {self.memory[part.instead.tensor]} : {self.memory[piece.tensor]}"
        return self.memory[piece.tensor]

    def _home(self, i: int, piece: Piece) -> str:
        slot = self._slot(i, piece)
        if slot is not None:
            return slot
        return self._row(piece) if piece.cut is Cut.FIRST else self.memory[piece.tensor]

    def _put(self, i: int, piece: Piece, indent: str) -> Iterator[str]:
        """Copy a channel of a result out of scratch, where its elements lie apart."""
        slot = self._slot(i, piece)
        if slot is None or piece.tensor in self.slicing.inner:
            return
        type_ = self.tensors[piece.tensor].type
        count, stride, width = prod(type_.shape[:-1]), type_.shape[-1], self.slicing.width(piece)
        home = f"{stride}, {self.memory[piece.tensor]} + {self._index(piece)}"
        yield f"{indent}gg_stream_copy_{_element(type_)}({count}, {width}, {width}, {slot}, {home});"


def _element(type_: Type) -> str:
    return "float" if CTYPES[type_.dtype] == "float" else "int8"
