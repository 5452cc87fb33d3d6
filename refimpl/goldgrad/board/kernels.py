"""The kernels as the board runs them, in Unicorn: one machine that holds them all, and thousands of calls.

:class:`BoardKernels` is a provider of the conformance suite.  Operands and results are copied to the machine and back
with the guards around them, at addresses that are as much aligned as they are here.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import struct
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..conformance.providers import Scratch as ScratchMemory
from ..errors import GoldgradError
from ..kernels import KERNELS, KernelCall, Pointer, Scratch, Struct, describe, scratch_bytes
from ..numerics import Array
from ..ops import FUNCTIONS, Type
from ..rules import rule
from .build import build_kernels
from .elf import Elf
from .emulators import find_emulator
from .emulators.unicorn import watch_call
from .errors import Hang, Trap
from .function import BUFFER_BYTES, BUFFERS, PAGE, PAINT, RETURN, STACK, STACK_BYTES, pages_of
from .native import native_library
from .timing.cost import Model
from .timing.table import load
from .toolchain import Toolchain, find_toolchain

ALIGN = 64
"""An operand's address on the board is its address here, modulo this."""
REGISTERS = 4
BUDGET = 10_000_000_000
"""Instructions that a call may take."""


def kernels_elf(kernels: str, toolchain: Toolchain | None = None, folder: Path | None = None) -> Elf:
    """All kernels of a set in an ELF, linked once in the life of this process; objects stay in ``folder``, if given."""
    return _linked(kernels, toolchain or find_toolchain(), folder or _folder())


@functools.cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="goldgrad-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def _linked(kernels: str, toolchain: Toolchain, folder: Path) -> Elf:
    folder.mkdir(parents=True, exist_ok=True)
    return build_kernels(kernels, folder / f"{kernels}-{toolchain.name}.elf", toolchain)


@dataclass(frozen=True)
class Cost:
    """What a call took: instructions, and bytes of stack below the arguments."""

    instructions: int
    cycles: float
    """By the timing model (specs/timing.md), code and data without wait states."""
    stack: int
    functions: tuple[str, ...]
    """Those that were entered."""


class KernelMachine:
    """An emulated Cortex-M7 with the kernels in flash, and memory for operands; ``watched`` to measure calls."""

    def __init__(self, elf: Elf, watched: bool = False) -> None:
        find_emulator("unicorn")
        from unicorn import Uc, arm_const, unicorn_const

        self.elf, self._a, self._c = elf, arm_const, unicorn_const
        mode = unicorn_const.UC_MODE_THUMB | unicorn_const.UC_MODE_MCLASS
        uc = self._uc = Uc(unicorn_const.UC_ARCH_ARM, mode, arm_const.UC_CPU_ARM_CORTEX_M7)
        for first, end in pages_of(elf):
            uc.mem_map(first, end - first, unicorn_const.UC_PROT_READ | unicorn_const.UC_PROT_EXEC)
        for segment in elf.segments:
            uc.mem_write(segment.address, segment.data)
        writable = unicorn_const.UC_PROT_READ | unicorn_const.UC_PROT_WRITE
        uc.mem_map(STACK, STACK_BYTES, writable)
        uc.mem_map(BUFFERS, BUFFER_BYTES, writable)
        uc.mem_map(RETURN, PAGE)
        self._invalid: int | None = None
        uc.hook_add(unicorn_const.UC_HOOK_MEM_INVALID, self._on_invalid)
        self._watch = watch_call(uc, native_library("unicorn_counter.c") is not None) if watched else None
        self._model = Model(load(), lambda address, count: bytes(self.read(address, count)))
        self._entries = {symbol.address: symbol.name for symbol in elf.symbols.values() if symbol.is_function}

    def write(self, address: int, data: bytes) -> None:
        """Fill memory."""
        self._uc.mem_write(address, data)

    def read(self, address: int, count: int) -> bytearray:
        """What memory holds."""
        found: bytearray = self._uc.mem_read(address, count)
        return found

    def call(self, name: str, words: Sequence[int]) -> int:
        """Call a function with integers and addresses; gives what it returns in R0."""
        from unicorn import UcError

        a, uc = self._a, self._uc
        for i, word in enumerate(words[:REGISTERS]):
            uc.reg_write(a.UC_ARM_REG_R0 + i, word & 0xFFFF_FFFF)
        rest = [word & 0xFFFF_FFFF for word in words[REGISTERS:]]
        top = self._top(words)
        uc.mem_write(top, struct.pack(f"<{len(rest)}I", *rest))
        uc.reg_write(a.UC_ARM_REG_SP, top)
        uc.reg_write(a.UC_ARM_REG_LR, RETURN | 1)
        saved = self._preserved()
        self._invalid = None
        try:
            uc.emu_start(self.elf.symbol(name).address | 1, RETURN)
        except UcError as error:
            pc = uc.reg_read(a.UC_ARM_REG_PC)
            touched = "" if self._invalid is None else f", address {self._invalid:#010x}"
            raise Trap(f"{name}: {error} (PC {pc:#010x} in {self.elf.function_at(pc)}{touched})", name) from None
        if uc.reg_read(a.UC_ARM_REG_SP) != top or self._preserved() != saved:
            raise Trap(f"{name} returns with another stack pointer, or other values in r4-r11 or s16-s31", name)
        return int(uc.reg_read(a.UC_ARM_REG_R0))

    def measure(self, name: str, words: Sequence[int]) -> Cost:
        """Call a function, and count."""
        top = self._top(words)
        self._uc.mem_write(STACK, bytes([PAINT]) * STACK_BYTES)
        assert self._watch is not None, "make the machine watched"
        self._watch.begin(BUDGET)
        self.call(name, words)
        instructions, trace = sum(self._watch.take().values()), self._watch.trace()
        if self._watch.exhausted:
            raise Hang(f"{name}: no end after {BUDGET:,} instructions; give it a smaller shape", name)
        starts = {block.start for block in trace.blocks()}
        entered = tuple(sorted(self._entries[start] for start in starts if start in self._entries))
        below = bytes(self.read(STACK, top - STACK)).lstrip(bytes([PAINT]))
        cycles = self._model.estimate(trace).total().total
        return Cost(instructions, cycles, -(-len(below) // 4) * 4, entered)

    @staticmethod
    def _top(words: Sequence[int]) -> int:
        """The stack pointer at entry, below which nothing lies."""
        return STACK + STACK_BYTES - -(-4 * max(len(words) - REGISTERS, 0) // 8) * 8

    def _preserved(self) -> list[int]:
        """What a function must give back as it was (AAPCS)."""
        a, read = self._a, self._uc.reg_read
        core = [read(a.UC_ARM_REG_R4 + i) for i in range(8)]
        return core + [read(a.UC_ARM_REG_D8 + i) for i in range(8)]

    def _on_invalid(self, _uc: Any, _access: int, address: int, _size: int, _value: int, _data: Any) -> bool:
        self._invalid = address
        return False


class BoardKernels:
    """The kernels of a set on the emulated Cortex-M7, as a provider."""

    def __init__(self, kernels: str = "m7", toolchain: Toolchain | None = None) -> None:
        self.name = f"{kernels} on the board"
        self.kernels = kernels
        self.machine = KernelMachine(kernels_elf(kernels, toolchain))

    def provides(self, function: str) -> bool:
        """Whether a C kernel is described for the function."""
        return function in KERNELS

    def run(
        self,
        function: str,
        inputs: Sequence[Array | None],
        outputs: Sequence[Array | None],
        scratch: ScratchMemory,
        attributes: Mapping[str, Any],
    ) -> None:
        """Copy to the machine, call for one sample after the other, and copy back."""
        staged = Staged(self.kernels, function, inputs, outputs, scratch, attributes)
        for address, base in (*staged.blocks, *staged.constants):
            self.machine.write(address, base.tobytes())
        for words in staged.samples():
            self.machine.call(staged.call.symbol, words)
        for address, base in staged.blocks:
            base[...] = np.frombuffer(self.machine.read(address, base.nbytes), np.uint8)


class Staged:
    """A call with its memory laid out on the machine."""

    def __init__(
        self,
        kernels: str,
        function: str,
        inputs: Sequence[Array | None],
        outputs: Sequence[Array | None],
        scratch: ScratchMemory,
        attributes: Mapping[str, Any],
    ) -> None:
        table = FUNCTIONS[function]
        left_out = [None] * (len(table.inputs) - len(inputs))
        names = (*table.inputs, *table.outputs)
        self.arrays = dict(zip(names, [*inputs, *left_out, *outputs], strict=True))
        types = {name: None if array is None else Type.of(array) for name, array in self.arrays.items()}
        self.call: KernelCall = describe(function, types, attributes)
        check = KERNELS[function].check
        if check is not None:
            check(self.arrays, attributes)
        self.scratch_bytes = scratch_bytes(self.call, kernels)
        self.blocks: list[tuple[int, Array]] = []
        """Addresses on the machine, and the bytes that lie there."""
        self._known: dict[int, int] = {}
        self._free = BUFFERS
        params = self.call.struct
        self.constants: list[tuple[int, Array]] = []
        """The attributes, likewise."""
        if params is not None:
            fields = np.array([*_flat(params.fields)], np.int32).view(np.uint8)
            self.constants.append((self._reserve(fields.nbytes), fields))
        self._place = {name: self._address(array) for name, array in self.arrays.items() if array is not None}
        self._scratch = self._address(scratch(self.scratch_bytes)) if self.scratch_bytes else 0

    def _reserve(self, count: int, like: int = 0) -> int:
        """Room for bytes, at an address that is ``like`` one modulo ALIGN."""
        at = self._free + (like - self._free) % ALIGN
        self._free = at + count
        if self._free > BUFFERS + BUFFER_BYTES:
            raise GoldgradError(f"operands take more than {BUFFER_BYTES:,} bytes; give smaller ones")
        return at

    def _address(self, array: Array) -> int:
        """Where an array lies on the machine, within the memory that it is a view of."""
        base = array
        while isinstance(base.base, np.ndarray):
            base = base.base
        whole = base.reshape(-1).view(np.uint8)
        start = whole.ctypes.data
        if start not in self._known:
            self._known[start] = self._reserve(whole.nbytes, start)
            self.blocks.append((self._known[start], whole))
        return self._known[start] + array.ctypes.data - start

    @rule("TRAIN-S5")
    def samples(self) -> Iterator[list[int]]:
        """The words of the call, for one sample after the other."""
        words: list[int] = []
        for argument in self.call.arguments:
            match argument:
                case Struct():
                    words.append(self.constants[0][0])
                case Pointer():
                    words.append(self._place.get(argument.name, 0))
                case Scratch():
                    words.append(self._scratch)
                case _:
                    words.append(int(argument))
        return self._moving(words)

    def _moving(self, words: list[int]) -> Iterator[list[int]]:
        place = {a.name: i for i, a in enumerate(self.call.arguments) if isinstance(a, Pointer)}
        moving = [(place[n], array) for n in self.call.sampled if (array := self.arrays[n]) is not None]
        yield words
        for _ in range(1, len(moving[0][1]) if moving else 1):
            for at, array in moving:
                words[at] += array[0].nbytes
            for start, result in self.call.chained:
                words[place[start]] = words[place[result]]
            yield words


def _flat(fields: Mapping[str, Any]) -> Iterator[int]:
    """The int32 fields of a struct in its order."""
    for value in fields.values():
        if isinstance(value, Mapping):
            yield from _flat(value)
        else:
            yield value
