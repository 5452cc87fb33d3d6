"""Where a function of C finds its arguments on the board: the procedure call standard for Arm (AAPCS32, hard float)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CORE_REGISTERS, FLOAT_REGISTERS = 4, 16
FLOATS = ("float32", "float64")
WORD, LONG = 4, 8


@dataclass(frozen=True)
class Value:
    """A number passed by value; its type is one of NumPy's names."""

    type: str
    value: int | float


Word = Value | int
"""An argument: a number of some type, or an integer or an address of 32 bits."""


@dataclass(frozen=True)
class Passed:
    """Arguments in their places."""

    core: tuple[int, ...]
    """R0 on."""
    floats: tuple[int, ...]
    """S0 on, as bits; one that nothing was put into is 0."""
    stack: bytes
    """What lies at the stack pointer: a multiple of 8 bytes."""


def passed(arguments: Sequence[Word]) -> Passed:
    """Put arguments where the standard wants them (stage C of 6.5, 6.1.2.3 for floats)."""
    core: list[int] = []
    floats: list[int | None] = [None] * FLOAT_REGISTERS
    stack, is_full = bytearray(), False
    for argument in arguments:
        kind, bits = _bits(argument)
        words = [int.from_bytes(bits[at : at + WORD], "little") for at in range(0, len(bits), WORD)]
        if kind in FLOATS and not is_full:
            step = len(words)
            free = (at for at in range(0, FLOAT_REGISTERS, step) if floats[at : at + step] == [None] * step)
            first = next(free, None)  # a float goes into the gap that a double left
            is_full = first is None  # and once one is on the stack, all that follow are
            if first is not None:
                floats[first : first + step] = words
                continue
        elif kind not in FLOATS:
            core += [0] * (-len(core) % len(words))
            if len(core) + len(words) <= CORE_REGISTERS:
                core += words
                continue
            core += [0] * (CORE_REGISTERS - len(core))
        stack += bytes(-len(stack) % len(bits)) + bits
    stack += bytes(-len(stack) % LONG)
    used = FLOAT_REGISTERS - next((i for i, word in enumerate(reversed(floats)) if word is not None), FLOAT_REGISTERS)
    return Passed(tuple(core), tuple(word or 0 for word in floats[:used]), bytes(stack))


def _bits(argument: Word) -> tuple[str, bytes]:
    """An argument's type, and its bytes as they fill one register or two."""
    if not isinstance(argument, Value):
        return "uint32", (argument & 0xFFFF_FFFF).to_bytes(WORD, "little")
    if argument.type in FLOATS or argument.type.endswith("64"):
        return argument.type, np.array(argument.value, argument.type).tobytes()
    narrow = np.array(int(argument.value), np.int64).astype(argument.type)  # as C converts it
    return argument.type, (int(narrow) & 0xFFFF_FFFF).to_bytes(WORD, "little")
