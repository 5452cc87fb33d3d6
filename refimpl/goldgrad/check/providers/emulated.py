"""Functions of an ELF, called one by one in an emulated Cortex-M7: a :class:`Machine` that stays up between calls.

Nothing else of the ELF runs: no startup, no interrupts.  What its sections hold is loaded where they run, ``.bss`` is
zero.  Stack, arrays and the address that calls return to lie in memory of their own (goldgrad.board.function).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ... import paths
from ...board.elf import Elf
from ...board.emulators import find_emulator
from ...board.emulators._blocks import count_instructions
from ...board.function import (
    BUFFER_BYTES,
    BUFFERS,
    CORE_REGISTERS,
    FLOAT_REGISTERS,
    PAGE,
    PAINT,
    RETURN,
    STACK,
    STACK_BYTES,
    pages_of,
)
from ...board.toolchain import BOARD, find_toolchain
from ...errors import GoldgradError
from ...numerics import Array
from .calls import Value
from .host_build import complaint
from .isolated import Crashed, Hung
from .machine import Machine, Word

LINE = 64
CODE_AT, DATA_AT = 0x0020_0000, 0x2001_0000
"""Where compiled kernels and their data are linked: flash and SRAM1 of the STM32F746."""
PROGRAM = f"""
SECTIONS {{
  .text {CODE_AT:#x} : {{ KEEP(*(.vectors)) *(.text*) *(.rodata*) }}
  .ARM.exidx : {{ *(.ARM.exidx*) }}
  .data {DATA_AT:#x} : {{ *(.data*) }}
  .bss : {{ *(.bss*) *(COMMON) }}
}}
"""
"""The linker script: a program that starts at reset has its vector table first, and no initialised data of its own."""
CONSTANT_BYTES = 1 << 12
CALL_SECONDS = 5.0


def machine(
    emulator: str, elf: Path | None, sources: Sequence[Path], flags: Sequence[str], symbols: Sequence[str]
) -> Machine:
    """The emulated machine with an ELF, or with C that is compiled for it."""
    if emulator != "unicorn":
        raise GoldgradError(f"functions are called in unicorn only, not in {emulator}; write @unicorn")
    find_emulator(emulator)
    return Unicorn(Elf.read(elf if elf else firmware(sources, flags)))


def firmware(sources: Sequence[Path], flags: Sequence[str] = (), entry: str = "0") -> Path:
    """An ELF of ``sources`` for a Cortex-M7, with what compilers call on their own, gg_exp32 and gg_log32 (ABI-M4)."""
    toolchain = find_toolchain()
    folder = Path(tempfile.mkdtemp(prefix="goldgrad-check-"))
    functions = paths.data("kernels_c") / "src" / "portable" / "numerics.c"
    memory = paths.data("renode") / "firmware" / "memory.c"
    objects: list[Path] = []
    for i, source in enumerate([*sources, functions, memory]):
        target = folder / f"{i}.o"
        extra = ("-fno-builtin",) if source == memory else flags
        run = toolchain.run(*BOARD, "-g", *extra, "-c", source, "-o", target)
        if run.returncode:
            raise GoldgradError(f"{toolchain.name} refuses {source.name}: {complaint(run.stderr)}; correct it")
        objects.append(target)
    target = folder / "kernels.elf"
    script = folder / "program.ld"
    script.write_text(PROGRAM)
    places = [f"-Wl,-T,{script}", f"-Wl,-e,{entry}", "-Wl,--no-gc-sections", "-nostdlib", "-static"]
    libraries = ["-lgcc"] if toolchain.name == "gcc" else []
    for chosen in (objects, [o for o in objects if o.stem != str(len(sources))]):  # theirs may be among them
        run = toolchain.run(*places, *chosen, *libraries, "-o", target)
        if run.returncode == 0:
            return target
        if "multiple definition" not in run.stderr and "duplicate symbol" not in run.stderr:
            break
    raise GoldgradError(f"{toolchain.name} cannot link {sources[0].name}: {complaint(run.stderr)}; correct it")


class Unicorn:
    """A Cortex-M7 in Unicorn."""

    name = "unicorn"

    def __init__(self, elf: Elf) -> None:
        from unicorn import Uc, arm_const, unicorn_const

        self.elf, self._a, self._c = elf, arm_const, unicorn_const
        mode = unicorn_const.UC_MODE_THUMB | unicorn_const.UC_MODE_MCLASS
        uc = self._uc = Uc(unicorn_const.UC_ARCH_ARM, mode, arm_const.UC_CPU_ARM_CORTEX_M7)
        for first, end in pages_of(elf):
            uc.mem_map(first, end - first)
        writable = unicorn_const.UC_PROT_READ | unicorn_const.UC_PROT_WRITE
        uc.mem_map(STACK, STACK_BYTES, writable)
        uc.mem_map(BUFFERS, BUFFER_BYTES, writable)
        uc.mem_map(RETURN, PAGE)
        uc.hook_add(unicorn_const.UC_HOOK_MEM_INVALID, self._on_invalid)
        self._placed: list[tuple[Array, int]] = []
        self._constants = BUFFERS
        self._invalid: int | None = None
        self._load()

    def _load(self) -> None:
        """What sections hold before anything ran."""
        for section in self.elf.sections:
            if not section.in_file:
                self._uc.mem_write(section.address, bytes(section.size))
        for segment in self.elf.segments:
            self._uc.mem_write(segment.address, segment.data)

    def has(self, symbol: str) -> bool:
        """Whether the ELF has a function of this name."""
        found = self.elf.symbols.get(symbol)
        return found is not None and found.is_function

    def place(self, arrays: Sequence[Array]) -> list[int]:
        """Copy the arrays' blocks over, guards included."""
        self._placed, self._constants = [], BUFFERS
        at = BUFFERS + CONSTANT_BYTES
        found: dict[int, int] = {}
        addresses = []
        for array in arrays:
            base = array if array.base is None else array.base
            assert isinstance(base, np.ndarray)
            start = base.ctypes.data
            if start not in found:
                found[start] = at = at + (start - at) % LINE
                data = base.tobytes()
                if at + len(data) > BUFFERS + BUFFER_BYTES:
                    raise GoldgradError(f"a case takes more than {BUFFER_BYTES:,} bytes; give smaller ones")
                self._uc.mem_write(at, data)
                self._placed.append((base, at))
                at += len(data)
            addresses.append(found[start] + array.ctypes.data - start)
        return addresses

    def constant(self, data: bytes) -> int:
        """A copy among the constants."""
        at = self._constants
        self._uc.mem_write(at, data)
        self._constants += -(-len(data) // 8) * 8
        return at

    def collect(self) -> None:
        """Copy the blocks back."""
        for base, at in self._placed:
            data = np.frombuffer(bytes(self._uc.mem_read(at, base.nbytes)), np.uint8)
            base.reshape(-1).view(np.uint8)[...] = data

    def call(self, symbol: str, arguments: Sequence[Word]) -> int:
        """Call by the procedure call standard, hard float; :class:`Crashed` for a trap, :class:`Hung` at no end."""
        from unicorn import UcError

        uc, a = self._uc, self._a
        top = self._pass(arguments)
        uc.reg_write(a.UC_ARM_REG_SP, top)
        uc.reg_write(a.UC_ARM_REG_LR, RETURN | 1)
        self._invalid = None
        try:
            uc.emu_start(self.elf.symbols[symbol].address | 1, RETURN, timeout=int(CALL_SECONDS * 1e6))
        except UcError as error:
            raise self._trap(symbol, error) from None
        if uc.reg_read(a.UC_ARM_REG_PC) & ~1 != RETURN:
            self._load()
            raise Hung(f"{symbol}: no end after {CALL_SECONDS:g} s")
        return int(np.int32(np.uint32(uc.reg_read(a.UC_ARM_REG_R0) & 0xFFFF_FFFF)))

    def measure(
        self, symbol: str, arguments: Sequence[Word], call: Callable[[str, Sequence[Word]], int]
    ) -> tuple[int, int]:
        """Instructions that ``call`` takes, and bytes of stack below the arguments."""
        counted = 0

        def on_block(uc: object, address: int, size: int, _data: object) -> None:
            nonlocal counted
            counted += count_instructions(self._uc.mem_read(address, size))

        self._uc.mem_write(STACK, bytes([PAINT]) * STACK_BYTES)
        hook = self._uc.hook_add(self._c.UC_HOOK_BLOCK, on_block)
        try:
            top = self._pass(arguments)
            call(symbol, arguments)
        finally:
            self._uc.hook_del(hook)
        stack = bytes(self._uc.mem_read(STACK, top - STACK))
        return counted, -(-(len(stack.lstrip(bytes([PAINT])))) // 4) * 4

    def _pass(self, arguments: Sequence[Word]) -> int:
        """Put arguments where the standard wants them; the stack pointer."""
        core: list[int] = []
        floats: list[int] = []
        rest: list[int] = []
        for word in arguments:
            kind = word.type if isinstance(word, Value) else "uint32"
            number = word.value if isinstance(word, Value) else word
            if kind == "float32":
                (floats if len(floats) < FLOAT_REGISTERS else rest).append(int(np.float32(number).view(np.uint32)))
            elif kind in ("int64", "float64"):
                raw = np.array(number, kind).tobytes()
                pair = [int.from_bytes(raw[:4], "little"), int.from_bytes(raw[4:], "little")]
                queue, room = (floats, FLOAT_REGISTERS) if kind == "float64" else (core, CORE_REGISTERS)
                queue = queue if len(queue) + 1 + len(queue) % 2 < room else rest
                queue += [0] * (len(queue) % 2) + pair
            else:
                (core if len(core) < CORE_REGISTERS else rest).append(int(number) & 0xFFFF_FFFF)
        for i, each in enumerate(core):
            self._uc.reg_write(self._a.UC_ARM_REG_R0 + i, each)
        for i, each in enumerate(floats):
            self._uc.reg_write(self._a.UC_ARM_REG_S0 + i, each)
        top = STACK + STACK_BYTES - -(-4 * len(rest) // 8) * 8
        self._uc.mem_write(top, b"".join(each.to_bytes(4, "little") for each in rest))
        return top

    def _trap(self, symbol: str, error: Exception) -> Crashed:
        pc = self._uc.reg_read(self._a.UC_ARM_REG_PC)
        place = self.elf.function_at(pc)
        self._load()
        if self._invalid is not None and STACK - STACK_BYTES <= self._invalid < STACK:
            return Crashed(f"{symbol} takes more than {STACK_BYTES:,} bytes of stack")
        touched = "" if self._invalid is None else f", address {self._invalid:#010x}"
        return Crashed(f"{symbol}: {error} (PC {pc:#010x}{f' in {place}' if place else ''}{touched})")

    def _on_invalid(self, _uc: object, _access: int, address: int, _size: int, _value: int, _data: object) -> bool:
        self._invalid = address
        return False
