"""Which code runs from ITCM (BOARD-M4), by what itcm.toml says that fetching it from flash costs.

A program is linked once with all code in flash, which tells what of it is there at all; what is chosen is named in the
script of a second link.
"""

from __future__ import annotations

import functools
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..rules import rule
from .elf import Elf, code_sections
from .memory_map import CODE_IN_ITCM

FILE = Path(__file__).with_name("itcm.toml")
PREFIX = ".text."
"""What compilers name a function's own section by."""
ALIGN = 32
"""The linker script begins and ends .itcm by it."""


@functools.cache
def fetch_cycles(kernels: str) -> Mapping[str, int]:
    """Cycles a step that fetching each function of a set of kernels costs, all code in flash."""
    found: Mapping[str, Mapping[str, int]] = tomllib.loads(FILE.read_text(encoding="utf-8"))["cycles"]
    return found[kernels]


def code_for_itcm(elf: Elf, objects: Iterable[Path], kernels: str) -> list[str]:
    """The sections for ITCM of a program that was linked from ``objects`` as ``elf``, in their order there."""
    linked = {symbol.name for symbol in elf.symbols.values() if symbol.is_function}
    room: Counter[str] = Counter()
    for file in objects:
        for section, size, align in code_sections(file):
            room[section.removeprefix(PREFIX)] += -(-size // align) * align + align - 1
    cycles = {name: count for name, count in fetch_cycles(kernels).items() if name in linked and room[name]}
    return [PREFIX + name for name in chosen(cycles, room, CODE_IN_ITCM.size - ALIGN)]


@rule("BOARD-M4")
def chosen(cycles: Mapping[str, int], room: Mapping[str, int], size: int) -> Sequence[str]:
    """Those of most cycles a byte, one after the other; one that no longer fits is left out, and the next looked at."""
    found: list[str] = []
    for name in sorted(cycles, key=lambda name: (-cycles[name] / room[name], name)):
        if room[name] <= size:
            found.append(name)
            size -= room[name]
    return found
