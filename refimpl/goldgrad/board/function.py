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
from .elf import Elf, Symbol
from .emulators import find_emulator
from .emulators._blocks import count_instructions
from .emulators.unicorn import watch_call
from .errors import Hang, StackOverflow, Trap, WrongImage
from .timing.edges import Trace

TYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "float32")
PAGE = 4096
STACK, STACK_BYTES = 0x6000_0000, 1 << 16
BUFFERS, BUFFER_BYTES = 0x6100_0000, 1 << 24
RETURN = 0x6200_0000
PAINT = 0xA5
CORE_REGISTERS, FLOAT_REGISTERS = 4, 16
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


def function(elf: Elf, name: str) -> Symbol:
    """The function called ``name``; the error lists some that there are."""
    found = elf.symbols.get(name)
    if found is None or not found.is_function:
        some = sorted(s.name for s in elf.symbols.values() if s.is_function)[:8]
        raise WrongImage(f"{elf.path} has no function {name}; it has {', '.join(some)} ...")
    return found


@rule("MEAS-S7")
def measure_function(elf: Elf, name: str, arguments: list[Argument], budget: int = 1_000_000_000) -> FunctionCost:
    """Call a function once, and count.  ``budget`` is how many instructions it may take."""
    find_emulator("unicorn")
    return _Call(elf, function(elf, name)).run(arguments, budget)


@dataclass(frozen=True)
class TracedCall:
    """A call with the edges that it took, and how memory holds the code that it ran."""

    cost: FunctionCost
    trace: Trace
    code: Callable[[int, int], bytes]
    """The bytes at an address, after the call."""


@rule("MEAS-S7")
def trace_function(
    elf: Elf, name: str, arguments: list[Argument], budget: int = 1_000_000_000, native: bool = True
) -> TracedCall:
    """Call a function once, and count edges for the timing model; ``native`` False counts in Python."""
    find_emulator("unicorn")
    call = _Call(elf, function(elf, name), native)
    cost = call.run(arguments, budget)
    assert call.watch
    return TracedCall(cost, call.watch.trace(), call.read)


class _Call:
    """Memory and registers for one call; edges are watched unless ``native`` is None."""

    def __init__(self, elf: Elf, target: Symbol, native: bool | None = None) -> None:
        from unicorn import Uc, arm_const, unicorn_const

        self._a, self._c, self._elf, self._target = arm_const, unicorn_const, elf, target
        mode = unicorn_const.UC_MODE_THUMB | unicorn_const.UC_MODE_MCLASS
        uc = self._uc = Uc(unicorn_const.UC_ARCH_ARM, mode, arm_const.UC_CPU_ARM_CORTEX_M7)
        for first, end in pages_of(elf):
            uc.mem_map(first, end - first)
        for segment in elf.segments:
            uc.mem_write(segment.address, segment.data)
        writable = unicorn_const.UC_PROT_READ | unicorn_const.UC_PROT_WRITE
        uc.mem_map(STACK, STACK_BYTES, writable)
        uc.mem_map(BUFFERS, BUFFER_BYTES, writable)
        uc.mem_map(RETURN, PAGE)
        self.watch = None if native is None else watch_call(uc, native)
        if self.watch is None:
            uc.hook_add(unicorn_const.UC_HOOK_BLOCK, self._on_block)
        uc.hook_add(unicorn_const.UC_HOOK_MEM_INVALID, self._on_invalid)
        self._count = self._left = 0
        self._invalid: int | None = None

    def run(self, arguments: list[Argument], budget: int) -> FunctionCost:
        from unicorn import UcError

        uc, a = self._uc, self._a
        uc.mem_write(STACK, bytes([PAINT]) * STACK_BYTES)
        places, top = self._place(arguments)
        uc.reg_write(a.UC_ARM_REG_SP, top)
        uc.reg_write(a.UC_ARM_REG_LR, RETURN | 1)
        self._left = budget
        if self.watch:
            self.watch.begin(budget)
        name = self._target.name
        try:
            uc.emu_start(self._target.address | 1, RETURN)
        except UcError as error:
            pc = uc.reg_read(a.UC_ARM_REG_PC)
            if self._invalid is not None and STACK - STACK_BYTES <= self._invalid < STACK:
                raise StackOverflow(
                    f"{name} takes more than {STACK_BYTES:,} bytes of stack; call a part of it", name
                ) from None
            where = self._elf.function_at(pc)
            touched = "" if self._invalid is None else f", address {self._invalid:#010x}"
            at = f"PC {pc:#010x}{f' in {where}' if where else ''}{touched}"
            raise Trap(f"{name}: {error} ({at}); check its arguments, and what it needs of startup", name) from None
        if self.watch:
            self._count = sum(self.watch.take().values())
        if self._left <= 0 or (self.watch and self.watch.exhausted):
            raise Hang(f"{name}: no end after {budget:,} instructions; give it a larger budget", name)
        stack = bytes(uc.mem_read(STACK, top - STACK))
        untouched = len(stack) - len(stack.lstrip(bytes([PAINT])))
        buffers = {i: bytes(uc.mem_read(address, size)) for i, (address, size) in places.items()}
        high_water = -(-(len(stack) - untouched) // 4) * 4
        s0 = float(np.uint32(uc.reg_read(a.UC_ARM_REG_S0) & 0xFFFF_FFFF).view(np.float32))
        return FunctionCost(name, self._count, high_water, uc.reg_read(a.UC_ARM_REG_R0), s0, buffers=buffers)

    def read(self, address: int, count: int) -> bytes:
        """What memory holds."""
        return bytes(self._uc.mem_read(address, count))

    def _place(self, arguments: list[Argument]) -> tuple[dict[int, tuple[int, int]], int]:
        """Put arguments where the standard wants them; give the arrays' places and the stack pointer."""
        core: list[int] = []
        floats: list[int] = []
        rest: list[int] = []
        places: dict[int, tuple[int, int]] = {}
        at = BUFFERS
        for i, argument in enumerate(arguments):
            if argument.array is not None:
                data = argument.array.tobytes()
                if at + len(data) > BUFFERS + BUFFER_BYTES:
                    raise GoldgradError(f"arguments take more than {BUFFER_BYTES:,} bytes; give smaller ones")
                self._uc.mem_write(at, data)
                places[i] = (at, len(data))
                word, at = at, at + -(-max(len(data), 1) // 32) * 32
            else:
                word = int.from_bytes(np.array(argument.value, argument.type).tobytes(), "little")
                if argument.type.startswith("int"):
                    word = int(argument.value or 0) & 0xFFFF_FFFF  # sign-extended to a register
            queue, room = (
                (floats, FLOAT_REGISTERS)
                if argument.type == "float32" and argument.array is None
                else (core, CORE_REGISTERS)
            )
            (queue if len(queue) < room else rest).append(word)
        for i, word in enumerate(core):
            self._uc.reg_write(self._a.UC_ARM_REG_R0 + i, word)
        for i, word in enumerate(floats):
            self._uc.reg_write(self._a.UC_ARM_REG_S0 + i, word)
        top = STACK + STACK_BYTES - -(-4 * len(rest) // 8) * 8
        for i, word in enumerate(rest):
            self._uc.mem_write(top + 4 * i, word.to_bytes(4, "little"))
        return places, top

    def _on_block(self, uc: Any, address: int, size: int, _data: Any) -> None:
        if self._left <= 0:
            uc.emu_stop()
            return
        count = count_instructions(uc.mem_read(address, size))
        self._count += count
        self._left -= count

    def _on_invalid(self, _uc: Any, _access: int, address: int, _size: int, _value: int, _data: Any) -> bool:
        self._invalid = address
        return False


def pages_of(elf: Elf) -> list[tuple[int, int]]:
    """The pages that sections and segments touch, joined where they meet."""
    spans = [(s.address, s.address + s.size) for s in elf.sections]
    spans += [(s.address, s.address + len(s.data)) for s in elf.segments]
    joined: list[tuple[int, int]] = []
    for first, end in sorted((start // PAGE * PAGE, -(-stop // PAGE) * PAGE) for start, stop in spans):
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((first, end))
    return joined
