"""What one function of somebody's firmware costs: ``goldgrad board measure ELF --function NAME``.

The function is called on its own, in Unicorn, by the procedure call standard (AAPCS, hard float).  Its ELF may have any
memory map; stack and buffers lie in memory of their own.  Nothing else runs: no startup, no interrupts.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import GoldgradError, show
from ..rules import rule
from .aapcs import Value, Word
from .elf import Elf
from .errors import Trap
from .machine import BUFFERS, Placement, UnicornMachine
from .memory_map import FLASH, FLASH_AXI, SRAM
from .program import FIRMWARE
from .timing.edges import Trace
from .timing.memory import Place

TYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "float32")
BUDGET = 1_000_000_000
"""Instructions that a call may take unless told."""
FORM = "[[argument]] with type and value, values, or count and optionally seed"


@dataclass(frozen=True)
class Argument:
    """A scalar, or an array of which the function gets the address."""

    type: str
    value: int | float | None = None
    array: np.ndarray[Any, Any] | None = None


@dataclass(frozen=True)
class FunctionCost:
    """What one call took."""

    function: str
    instructions: int
    stack: int
    """Bytes below the stack pointer at entry, arguments on the stack left out."""
    r0: int
    s0: float
    """Where a result is at return, if there is one: an integer or a float."""
    emulator: str = "unicorn"
    buffers: dict[int, bytes] = field(default_factory=dict, repr=False)
    """What array arguments held afterwards, by the argument's number."""

    def as_json(self) -> dict[str, Any]:
        """Plain values, without the buffers."""
        found = asdict(self)
        del found["buffers"]
        return found


def read_arguments(path: Path) -> list[Argument]:
    """Read a TOML file: ``[[argument]]`` tables in the order of the parameters.

    ``type`` is one of int8, uint8, int16, uint16, int32, uint32 and float32.  ``value`` makes a scalar; ``values`` an
    array; ``count`` an array of random elements, drawn from ``seed`` (default 0).
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8")).get("argument", [])
    except (OSError, ValueError) as fault:
        raise GoldgradError(f"{path} cannot be read: {fault}; write {FORM}") from None
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise GoldgradError(f"{path}: argument is no list of tables; write {FORM}")
    return [_argument(table, f"{path}: argument {i}") for i, table in enumerate(tables)]


def _argument(table: Mapping[str, Any], where: str) -> Argument:
    kind = table.get("type")
    if kind not in TYPES:
        raise GoldgradError(f"{where} has type {show(kind)}; use {', '.join(TYPES)}")
    unknown = set(table) - {"type", "value", "values", "count", "seed"}
    if unknown or len({"value", "values", "count"} & set(table)) != 1:
        raise GoldgradError(f"{where} has {', '.join(sorted(table))}; write {FORM}")
    try:
        if "value" in table:
            np.asarray(table["value"]).astype(kind)
            return Argument(kind, value=np.array(table["value"], kind)[()].item())
        if "values" in table:
            return Argument(kind, array=np.array(table["values"], kind))
        return Argument(kind, array=_random(kind, int(table["count"]), int(table.get("seed", 0))))
    except (OverflowError, TypeError, ValueError) as fault:
        raise GoldgradError(f"{where} is no {kind}: {fault}; write {FORM}") from None


def _random(kind: str, count: int, seed: int) -> np.ndarray[Any, Any]:
    generator = np.random.default_rng(seed)
    if kind == "float32":
        return generator.standard_normal(count).astype(np.float32)
    limits = np.iinfo(kind)
    return generator.integers(limits.min, limits.max, count, kind, endpoint=True)


@dataclass(frozen=True)
class TracedCall:
    """A call with the edges that it took, and how memory holds the code that it ran."""

    cost: FunctionCost
    trace: Trace
    code: Callable[[int, int], bytes]
    """The bytes at an address, after the call."""


def measure_function(elf: Elf, name: str, arguments: list[Argument], budget: int = BUDGET) -> FunctionCost:
    """Call a function once, and count.  ``budget`` is how many instructions it may take."""
    return trace_function(elf, name, arguments, budget).cost


@rule("MEAS-S7")
def trace_function(
    elf: Elf, name: str, arguments: list[Argument], budget: int = BUDGET, native: bool = True, memory: bool = False
) -> TracedCall:
    """Call a function once, and count edges for the timing model.

    ``native`` False counts in Python.  ``memory`` calls it once more, on a machine of its own, and counts what memory
    does to it: arrays in SRAM1, the stack in DTCM, all else where the ELF has it, and caches that are empty at first.
    """
    machine = UnicornMachine(elf, watched=True, native=native)
    arrays = {i: a.array.tobytes() for i, a in enumerate(arguments) if a.array is not None}
    words, places = _laid(machine, arguments, arrays)
    try:
        counted = machine.count(name, words, budget)
    except Trap as trap:
        raise Trap(f"{trap}; check its arguments, and what it needs of startup", trap.region) from None
    buffers = {i: bytes(machine.read(places[i], len(data))) for i, data in arrays.items()}
    cost = FunctionCost(name, counted.instructions, counted.stack, counted.r0, machine.s0, buffers=buffers)
    if memory:
        again = UnicornMachine(elf)
        words, _ = _laid(again, arguments, arrays)
        watch = again.count_accesses(name, words, counted.trace.blocks(), _place)
        counted.trace.memory = watch.take(FIRMWARE)
    return TracedCall(cost, counted.trace, machine.code)


def _laid(
    machine: UnicornMachine, arguments: list[Argument], arrays: Mapping[int, bytes]
) -> tuple[list[Word], dict[int, int]]:
    """Arrays written to the machine: what the function is given, and where they lie."""
    placement = Placement(BUFFERS)  # at addresses that are the same each time: code may depend on them
    places = {i: placement.reserve(max(len(data), 1)) for i, data in arrays.items()}
    for i, data in arrays.items():
        machine.write(places[i], data)
    return [places[i] if i in places else Value(a.type, a.value or 0) for i, a in enumerate(arguments)], places


def _place(address: int) -> Place:
    """What an address is to the timing model when a function is called alone (TIM-S7)."""
    if address in FLASH_AXI:
        return Place.FLASH
    if address in FLASH:
        return Place.FLASH_ITCM
    return Place.SRAM if address in SRAM or address in BUFFERS else Place.TIGHT
