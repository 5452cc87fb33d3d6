"""Where a kernel author starts: a map in TOML, or a shim in C, for the functions of an operator."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from ..kernels._call import KERNELS, Argument, Pointer, Scratch, Struct, describe
from ..ops import FUNCTIONS, Type
from .providers.calls import TYPES, parameters, prototype, sizes
from .session import functions_of

HEAD = f"""\
# How your kernels are called: goldgrad check so:LIBRARY --map THIS_FILE (or name it as the library, with .toml).
# Change symbol, and put the arguments into your order. An argument is
#   the name of an operand or result: a pointer to it, for one sample; optional ones may be left out
#   an integer expression over the names listed, elements as lr[0], and shape(x, 0); int32 unless a type is in front:
#   {", ".join(f'"{kind}: ..."' for kind in TYPES[:3])} ... "float32: m[0]"
#   "struct" (goldgrad's own, from goldgrad/<op>.h), "scratch" (then its size in bytes: scratch = "..."), or "NULL"
# A kernel for some shapes says so: only = {{ kernel = [1], stride = [1, 2], pad = [0], channels = [8, 16] }}
# draws such cases (also dilation, size, batch), and when = "in_h == in_w" leaves out what else it is not for.
"""


def template(operator: str) -> str:
    """A map with an entry for every function of the operator."""
    functions = [function for function in functions_of([operator]) if function in KERNELS]
    return "\n".join([HEAD, *map(_entry, functions)])


def shim(operator: str) -> str:
    """C with an empty function of goldgrad's ABI for every function of the operator, to call one's own from."""
    functions = [function for function in functions_of([operator]) if function in KERNELS]
    names = dict.fromkeys(function.partition(".")[0] for function in functions)
    lines = ["/* Call your kernels from here: goldgrad check c:THIS_FILE,YOURS.c. The headers say what is promised. */"]
    lines += ["#include <stddef.h>", "", *(f'#include "goldgrad/{name}.h"' for name in names), ""]
    for function in functions:
        lines += _bodies(function)
    return "\n".join(lines)


def _entry(function: str) -> str:
    entry = FUNCTIONS[function]
    arrays, attributes = _example(function)
    described = _described(function)
    known = sizes(function, arrays, attributes)
    pointers = {*entry.inputs, *entry.outputs}
    arguments: list[str] = []
    for name, argument in zip(parameters(function), described, strict=True):
        if isinstance(argument, Struct):
            for each, field in argument.fields.items():
                names = field if isinstance(field, Mapping) else [each]
                arguments += [f"int32: {n}" if n in pointers else n for n in names]
        elif isinstance(argument, Pointer):
            arguments.append(argument.name)
        elif not isinstance(argument, Scratch):
            arguments.append(name)
    optional = ", ".join(name for name in (*entry.inputs, *entry.outputs) if name in entry.optional) or "none"
    return "\n".join(
        [
            f"# optional: {optional}",
            f"# sizes and codes: {', '.join(known)}",
            f'["{function}"]',
            f'symbol = "my_{function.replace(".", "_")}"',
            "arguments = [",
            *(f'    "{argument}",' for argument in arguments),
            "]",
            "",
        ]
    )


def _described(function: str) -> tuple[Argument, ...]:
    """What C is given for the example."""
    arrays, attributes = _example(function)
    types = {name: Type.of(array) for name, array in arrays.items() if array is not None}
    return describe(function, types, attributes).arguments


@cache
def _example(function: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """A case."""
    from .vectors import drawn

    case = next(drawn([function], 1))
    return case.operands, case.attributes


def _bodies(function: str) -> list[str]:
    symbol = f"gg_{function.replace('.', '_')}"
    lines: list[str] = []
    for name in (symbol, f"{symbol}_scratch_bytes") if Scratch() in _described(function) else (symbol,):
        kind, written = prototype(name)
        unused = [f"    (void){each};" for each in re.findall(r"(\w+)(?:,|$)", written)]
        lines += [f"{kind} {name}({written}) {{", *unused, *(["    return 0;"] if kind != "void" else []), "}", ""]
    return lines
