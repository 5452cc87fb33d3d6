"""Writes inner loops as naked C functions: what the files beside this one have in common.

``python kernels_c/gen/dot_int8.py`` (and so for each) writes its file under kernels_c/src/cortex_m7, which is checked
in; a test holds the two together.  A generator lists instructions in the order in which they run, so that the schedule
can be read from it: the Cortex-M7 issues two neighbours at once where its rules let it (docs/fast-kernels.md).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

TARGET = Path(__file__).resolve().parents[1] / "src" / "cortex_m7"


def function(name: str, parameters: str, lines: Iterable[str], comment: str, returns: str = "void ") -> Iterator[str]:
    """A naked function: its comment, then a string a line.  Labels end in a colon and are numbers (1b, 2f)."""
    yield f"/* {comment} */"
    yield f"__attribute__((naked, noinline)) {returns}{name}({parameters}) {{"
    yield '    __asm__ volatile(".syntax unified\\n"'
    for line in lines:
        indent = "" if line.endswith(":") else "    "
        yield f'                     "{indent}{line}\\n"'
    yield "    );"
    yield "}"


def over(body: Iterable[str]) -> Iterator[str]:
    """A function of one pointer, which it keeps in r11."""
    yield "push {r4-r11, lr}"
    yield "vpush {d8-d15}"
    yield "mov r11, r0"
    yield from body
    yield "vpop {d8-d15}"
    yield "pop {r4-r11, pc}"


def file(generator: str, comment: str, includes: Iterable[str], functions: Iterable[Iterable[str]]) -> str:
    """The text of a C file."""
    lines = [
        f"/* {comment}",
        f" * Made by kernels_c/gen/{generator}: change that, and run it. */",
        "/* clang-format off */",
    ]
    lines += [f'#include "{name}"' for name in includes]
    for body in functions:
        lines += ["", *body]
    return "\n".join(lines) + "\n"


def zipped(*streams: Iterable[str]) -> Iterator[str]:
    """Instructions of several independent streams in turn, so that each waits for its own less."""
    queues = [list(stream) for stream in streams]
    while any(queues):
        for queue in queues:
            if queue:
                yield queue.pop(0)


def beside(products: Iterable[str], others: Iterable[str]) -> Iterator[str]:
    """One of the others after each product that has no load after it, and where first loads are waited for.

    What is left comes at the end.
    """
    lines, waiting = list(products), list(others)
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        yield line
        alone = line.startswith("sml") and not after.startswith("ld")
        if waiting and (alone or line.startswith(("add r12", "ldr r8, [r12]", "ldr r12", "ldrd", "ldm"))):
            yield waiting.pop(0)
    yield from waiting


def write(name: str, text: str) -> None:
    """Write the file; with --check say whether it is up to date instead."""
    target = TARGET / name
    if "--check" in sys.argv[1:]:
        sys.exit(0 if target.read_text(encoding="utf-8") == text else f"{target} is not what its generator makes")
    target.write_text(text, encoding="utf-8")
