"""How things are spelled in C: names, numbers, arrays, structs, calls."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from ..kernels import Pointer, Scratch, Struct, describe
from ..numerics import Array
from ..ops import FUNCTIONS, Type

CTYPES = {"int8": "int8_t", "uint8": "uint8_t", "int32": "int32_t", "float32": "float"}
WIDTH = 118
RESERVED = """auto break case char const continue default do double else enum extern float for goto if inline int long
register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while
arena scratch step steps counts next row rows memory buffers regions NULL"""
"""Words that are no tensor's name: C's, and those that programs use."""


class Names:
    """C identifiers for tensors: theirs, with what C does not know replaced, each once."""

    def __init__(self) -> None:
        self.taken: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        if name not in self.taken:
            stem = re.sub(r"\W", "_", name)
            known, number = {*self.taken.values(), *RESERVED.split()}, 1
            spelled = stem
            while spelled in known or spelled.startswith("gg_"):
                number += 1
                spelled = f"t_{stem}" if number == 2 else f"t_{stem}_{number}"
            self.taken[name] = spelled
        return self.taken[name]


def number(value: Any) -> str:
    """A literal that has the value's bits; a float as C's hexadecimal one."""
    if isinstance(value, np.floating):
        if np.isnan(value):
            return '__builtin_nanf("")'
        if np.isinf(value):
            return "-__builtin_inff()" if value < 0 else "__builtin_inff()"
        return f"{float(value).hex()}f"
    return "(-2147483647 - 1)" if int(value) == -(2**31) else str(int(value))


def wrapped(words: Iterable[str], indent: str = "    ") -> Iterator[str]:
    """Words with commas between them, in lines."""
    line = indent
    for word in words:
        if len(line) + len(word) + 1 > WIDTH:
            yield line.rstrip()
            line = indent
        line += f"{word}, "
    yield line.rstrip()


def comment(text: str, indent: str = "") -> Iterator[str]:
    """A comment of one line, or a block of several."""
    lines = textwrap.wrap(text.replace("*/", ""), WIDTH - 4 - len(indent), break_on_hyphens=False)
    if len(lines) == 1:
        yield f"{indent}/* {lines[0]} */"
        return
    yield f"{indent}/*"
    yield from (f"{indent} * {line}" for line in lines)
    yield f"{indent} */"


def array(name: str, value: Array, comment: str) -> Iterator[str]:
    """The definition of a constant array."""
    yield f"/* {comment} */"
    yield f"static const {CTYPES[str(value.dtype)]} {name}[{value.size}] = {{"
    yield from wrapped(number(element) for element in value.reshape(-1))
    yield "};"


def struct(fields: Mapping[str, Any]) -> str:
    """The initializer of a struct."""
    inner = ", ".join(f".{k} = {struct(v) if isinstance(v, Mapping) else v}" for k, v in fields.items())
    return f"{{{inner}}}"


def initializer(left: str, params: Struct, indent: str) -> Iterator[str]:
    """``left = {...};`` in lines."""
    words = re.split(r"(?<=,) ", f"{left} = {struct(params.fields)};")
    line = indent
    for word in words:
        if len(line) + len(word) > WIDTH:
            yield line.rstrip()
            line = f"{indent}    "
        line += f"{word} "
    yield line.rstrip()


def called(
    function: str,
    types: Mapping[str, Type | None],
    attributes: Mapping[str, Any],
    expressions: Mapping[str, str],
    params: str,
    indent: str,
    twice: Mapping[str, Type | None] | None = None,
) -> Iterator[str]:
    """The call of a kernel; ``expressions`` are of what is there, by the function's names.

    With ``twice``, the types that two rows have where ``types`` has one, the call is for ``rows`` rows.
    """
    call = describe(function, types, attributes)
    others = call.arguments if twice is None else describe(function, twice, attributes).arguments
    words = []
    for argument, other in zip(call.arguments, others, strict=True):
        match argument:
            case Struct():
                words.append(params)
            case Pointer():
                words.append(expressions.get(argument.name, "NULL"))
            case Scratch():
                words.append("GG_KERNEL_SCRATCH")
            case _:
                words.append(number(argument) if argument == other else times_rows(argument))
    line = f"{indent}{call.symbol}("
    for position, word in enumerate(words):
        text = word + (");" if position == len(words) - 1 else ", ")
        if len(line) + len(text.rstrip()) > WIDTH:
            yield line.rstrip()
            line = f"{indent}    "
        line += text
    yield line


def times_rows(of_one: int) -> str:
    """A size that a row has, of ``rows`` rows."""
    return "rows" if of_one == 1 else f"rows * {of_one}"


def params_of(function: str, types: Mapping[str, Type | None], attributes: Mapping[str, Any]) -> Struct | None:
    """The struct of attributes that a call takes, if it takes one."""
    call = describe(function, types, attributes)
    return next((argument for argument in call.arguments if isinstance(argument, Struct)), None)


def header_of(function: str) -> str:
    """The header that declares a function's kernel."""
    return f"goldgrad/{FUNCTIONS[function].name.partition('.')[0]}.h"
