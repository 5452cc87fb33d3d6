"""Functions of an ELF, called one by one on an emulated Cortex-M7 that stays up between calls.

Nothing else of the ELF runs: no startup, no interrupts (MEAS-S7).  What its sections hold is loaded where they run,
``.bss`` is zero, and code and constants cannot be written.  Stack, operands and the address that calls return to lie in
memory of their own, so that any memory map will do.

:class:`Machine` is what all emulators have in common; :class:`UnicornMachine` runs in this process, and is the one that
counts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import GoldgradError
from ..numerics import Array
from .aapcs import Passed, Word, passed
from .elf import Elf, Symbol
from .emulators import find_emulator
from .emulators.unicorn import PAGE, watch_call
from .errors import FirmwareError, Hang, StackOverflow, Trap, WrongImage
from .memory_map import Bank
from .timing.edges import Block, Trace
from .timing.memory import Place

if TYPE_CHECKING:
    from .emulators._accesses import CallAccesses

RETURN = Bank("return", 0x6000_0000, 1 << 16)
"""Where calls return to."""
LANDING = RETURN.start + PAGE
"""The address itself: at 0x60000000 Unicorn 2.1.4 finds an exception."""
STACK = Bank("stack", 0x6010_0000, 1 << 16)
BUFFERS = Bank("operands", 0x6080_0000, 1 << 23)
OURS = Bank("goldgrad's own", RETURN.start, 1 << 24)
"""All of these: where QEMU's mps2-an500 has memory, and no microcontroller has of its own."""
CONSTANTS = 1 << 12
"""Bytes of :data:`BUFFERS` that constants get."""
OPERANDS = Bank(BUFFERS.name, BUFFERS.start + CONSTANTS, BUFFERS.size - CONSTANTS)
PAINT = 0xA5
ALIGN = 64
"""An operand's address on the machine is its address here, modulo this."""
BUDGET = 10_000_000_000
"""Instructions that a call may take unless told."""
KEPT = tuple(0x6010_0000 + 0x11 * i for i in range(8 + 16))
"""What R4 to R11 and S16 to S31 hold at entry: a function must give it back (AAPCS32, 6.1.1 and 6.1.2)."""
MODES = 0x07C0_0000
"""Bits of the FPSCR that say how it rounds: all 0, and to be left so (ABI-N1)."""


@dataclass(frozen=True)
class Pages:
    """A stretch of an ELF's memory with the same rights."""

    start: int
    end: int
    writable: bool


def pages_of(elf: Elf) -> list[Pages]:
    """The pages that sections and segments touch, joined where they meet; what no section says can be written."""
    spans = [(s.address, s.size, s.writable) for s in elf.sections]
    known = {page: False for start, size, _ in spans for page in _pages(start, size)}
    loose = [(s.address, len(s.data)) for s in elf.segments]
    writable = {page for start, size, may_write in spans if may_write for page in _pages(start, size)}
    writable |= {page for start, size in loose for page in _pages(start, size)} - set(known)
    found: list[Pages] = []
    for page in sorted({*known, *writable}):
        last = found[-1] if found else None
        if last and last.end == page and last.writable == (page in writable):
            found[-1] = Pages(last.start, page + PAGE, last.writable)
        else:
            found.append(Pages(page, page + PAGE, page in writable))
    return found


def _pages(start: int, size: int) -> range:
    return range(start // PAGE * PAGE, start + size, PAGE)


class Placement:
    """Where arrays lie on a machine: whole blocks with the guards around them, as much aligned as they are here."""

    def __init__(self, memory: Bank) -> None:
        self._memory, self._free = memory, memory.start
        self._known: dict[int, int] = {}
        self.blocks: list[tuple[int, Array]] = []
        """Addresses on the machine, and the bytes that lie there."""

    def reserve(self, count: int, like: int = 0) -> int:
        """Room for bytes, at an address that is ``like`` one modulo :data:`ALIGN`."""
        at = self._free + (like - self._free) % ALIGN
        self._free = at + count
        if self._free > self._memory.end:
            raise GoldgradError(f"operands take more than {self._memory.size:,} bytes; give smaller ones")
        return at

    def address(self, array: Array) -> int:
        """Where an array lies, within the memory that it is a view of."""
        base = array
        while isinstance(base.base, np.ndarray):
            base = base.base
        whole = base.reshape(-1).view(np.uint8)
        start = whole.ctypes.data
        if start not in self._known:
            self._known[start] = self.reserve(whole.nbytes, start)
            self.blocks.append((self._known[start], whole))
        return self._known[start] + array.ctypes.data - start

    def image(self) -> tuple[int, bytearray]:
        """All blocks as one, and its address."""
        if not self.blocks:
            return self._memory.start, bytearray()
        start, (last, block) = self.blocks[0][0], self.blocks[-1]
        found = bytearray(last + block.nbytes - start)
        for at, each in self.blocks:
            found[at - start : at - start + each.nbytes] = each.tobytes()
        return start, found


class Machine(ABC):
    """Functions of an ELF on some emulator; a context manager that ends it."""

    name: ClassVar[str]

    def __init__(self, elf: Elf) -> None:
        self.elf = elf
        for pages in pages_of(elf):
            if pages.start < OURS.end and OURS.start < pages.end:
                raise WrongImage(
                    f"{elf.path} has memory at {pages.start:#010x}, where goldgrad's own is; link it elsewhere"
                )
        self._placement = Placement(OPERANDS)
        self._constants = BUFFERS.start

    @abstractmethod
    def write(self, address: int, data: bytes) -> None:
        """Fill memory."""

    @abstractmethod
    def read(self, address: int, count: int) -> bytearray:
        """What memory holds."""

    @abstractmethod
    def call(self, name: str, arguments: Sequence[Word], seconds: float | None = None) -> int:
        """Call a function by the procedure call standard; gives what it returns in R0, as int32.

        A :class:`~goldgrad.board.errors.FirmwareError` says what went wrong: :class:`Trap`, :class:`StackOverflow`, or
        :class:`Hang` if it takes more than ``seconds``.  The next call finds the ELF as it was loaded.
        """

    @abstractmethod
    def close(self) -> None:
        """End the emulator; may be called twice."""

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def has(self, symbol: str) -> bool:
        """Whether the ELF has a function of this name."""
        found = self.elf.symbols.get(symbol)
        return found is not None and found.is_function

    def place(self, arrays: Sequence[Array]) -> list[int]:
        """Copy the arrays' blocks over, guards included; their addresses, until the next time."""
        self._placement, self._constants = Placement(OPERANDS), BUFFERS.start
        addresses = [self._placement.address(array) for array in arrays]
        start, data = self._placement.image()
        if data:
            self.write(start, bytes(data))
        return addresses

    def constant(self, data: bytes) -> int:
        """The address of a copy of ``data``, until the next :meth:`place`."""
        at = self._constants
        if at + len(data) > BUFFERS.start + CONSTANTS:
            raise GoldgradError(f"constants take more than {CONSTANTS:,} bytes; give smaller ones")
        self.write(at, data)
        self._constants += -(-len(data) // 8) * 8
        return at

    def collect(self) -> None:
        """Copy the blocks back."""
        start, data = self._placement.image()
        found = np.frombuffer(self.read(start, len(data)), np.uint8) if data else None
        for at, base in self._placement.blocks:
            assert found is not None
            base[...] = found[at - start : at - start + base.nbytes]

    def _function(self, name: str) -> Symbol:
        """The function called ``name``; the error lists some that there are."""
        found = self.elf.symbols.get(name)
        if found is None or not found.is_function:
            some = sorted(s.name for s in self.elf.symbols.values() if s.is_function)[:8]
            raise WrongImage(f"{self.elf.path} has no function {name}; it has {', '.join(some)} ...")
        return found

    def _given_back(self, name: str, top: int, pointer: int, kept: Sequence[int], modes: int) -> None:
        """Raise if a function did not leave what it must (AAPCS32, ABI-N1); ``kept`` are R4 to R11, S16 to S31."""
        if pointer != top or tuple(kept) != KEPT:
            raise Trap(f"{name} returns with another stack pointer, or other values in r4-r11 or s16-s31", name)
        if modes & MODES:
            raise Trap(f"{name} returns with the FPU in another mode: FPSCR {modes:#010x}", name)

    def _top(self, arguments: Passed) -> int:
        """The stack pointer at entry, below which nothing lies."""
        return STACK.end - len(arguments.stack)

    def _fault(self, name: str, what: str, pc: int, address: int | None) -> FirmwareError:
        """The error for a fault of the function."""
        if address is not None and STACK.start - STACK.size <= address < STACK.start:
            return StackOverflow(f"{name} takes more than {STACK.size:,} bytes of stack; call a part of it", name)
        where = self.elf.function_at(pc)
        touched = "" if address is None else f", address {address:#010x}"
        return Trap(f"{name}: {what} (PC {pc:#010x}{f' in {where}' if where else ''}{touched})", name)


@dataclass(frozen=True)
class Counted:
    """What a call took."""

    instructions: int
    stack: int
    """Bytes below the arguments that were written, in whole words."""
    trace: Trace
    r0: int


class UnicornMachine(Machine):
    """In Unicorn, in this process; ``watched`` for :meth:`count`, ``native`` False counts in Python."""

    name = "unicorn"

    def __init__(self, elf: Elf, watched: bool = False, native: bool = True) -> None:
        find_emulator(self.name)
        from unicorn import Uc, arm_const, unicorn_const

        super().__init__(elf)
        self._a, self._c = arm_const, unicorn_const
        mode = unicorn_const.UC_MODE_THUMB | unicorn_const.UC_MODE_MCLASS
        uc = self._uc = Uc(unicorn_const.UC_ARCH_ARM, mode, arm_const.UC_CPU_ARM_CORTEX_M7)
        read_execute = unicorn_const.UC_PROT_READ | unicorn_const.UC_PROT_EXEC
        read_write = unicorn_const.UC_PROT_READ | unicorn_const.UC_PROT_WRITE
        for pages in pages_of(elf):
            rights = read_execute | (unicorn_const.UC_PROT_WRITE if pages.writable else 0)
            uc.mem_map(pages.start, pages.end - pages.start, rights)
        for bank in (STACK, BUFFERS):
            uc.mem_map(bank.start, bank.size, read_write)
        uc.mem_map(RETURN.start, RETURN.size)
        uc.hook_add(unicorn_const.UC_HOOK_MEM_INVALID, self._on_invalid)
        self._watch = watch_call(uc, native) if watched else None
        self._invalid: tuple[int, int] | None = None
        core = [arm_const.UC_ARM_REG_R4 + i for i in range(8)]
        self._kept = [*core, *(arm_const.UC_ARM_REG_S16 + i for i in range(16))]
        self._load()

    def _load(self) -> None:
        """What sections hold before anything ran."""
        for section in self.elf.sections:
            if not section.in_file:
                self._uc.mem_write(section.address, bytes(section.size))
        for segment in self.elf.segments:
            self._uc.mem_write(segment.address, segment.data)

    def write(self, address: int, data: bytes) -> None:
        """Fill memory."""
        self._uc.mem_write(address, data)

    def read(self, address: int, count: int) -> bytearray:
        """What memory holds."""
        found: bytearray = self._uc.mem_read(address, count)
        return found

    def code(self, address: int, count: int) -> bytes:
        """The bytes at an address, for the timing model."""
        return bytes(self.read(address, count))

    @property
    def s0(self) -> float:
        """Where a float is after a call that returns one."""
        return float(np.uint32(self._uc.reg_read(self._a.UC_ARM_REG_S0) & 0xFFFF_FFFF).view(np.float32))

    def close(self) -> None:
        """Nothing: its memory goes with the last reference."""

    def call(self, name: str, arguments: Sequence[Word], seconds: float | None = None) -> int:
        """Call a function; see :meth:`Machine.call`."""
        given = passed(arguments)
        self._uc.reg_write_batch([*zip(self._kept, KEPT, strict=True)])
        self._start(name, given, BUDGET, seconds)
        if self._uc.reg_read(self._a.UC_ARM_REG_PC) & ~1 != LANDING:
            self._load()
            after = f"{BUDGET:,} instructions" if seconds is None else f"{seconds:g} s"
            raise Hang(f"{name}: no end after {after}", name)
        self._check(name, self._top(given))
        return int(np.uint32(self._uc.reg_read(self._a.UC_ARM_REG_R0)).view(np.int32))

    def count(self, name: str, arguments: Sequence[Word], budget: int = BUDGET) -> Counted:
        """Call a function, whatever it does to registers, and count (MEAS-S7)."""
        assert self._watch is not None, "make the machine watched"
        given = passed(arguments)
        self._uc.mem_write(STACK.start, bytes([PAINT]) * STACK.size)
        self._watch.take()  # whatever uncounted calls have left
        self._watch.trace()
        self._start(name, given, budget)
        instructions, trace = sum(self._watch.take().values()), self._watch.trace()
        if self._watch.exhausted:
            self._load()
            raise Hang(f"{name}: no end after {budget:,} instructions; give it a larger budget", name)
        below = bytes(self.read(STACK.start, self._top(given) - STACK.start)).lstrip(bytes([PAINT]))
        return Counted(instructions, -(-len(below) // 4) * 4, trace, self._uc.reg_read(self._a.UC_ARM_REG_R0))

    def count_accesses(
        self, name: str, arguments: Sequence[Word], blocks: Iterable[Block], place: Callable[[int], Place]
    ) -> CallAccesses:
        """Call a function of which :meth:`count` elsewhere gave the blocks, and watch what memory does to it."""
        from .emulators._accesses import CallAccesses  # it takes capstone, which only the timing model does

        watch = CallAccesses(self._uc, blocks, self.code, place)
        self._start(name, passed(arguments), BUDGET)
        return watch

    def _start(self, name: str, given: Passed, budget: int, seconds: float | None = None) -> None:
        """Enter a function, and run until it returns; or until ``seconds``, or the budget if watched, are over."""
        from unicorn import UcError

        a, uc, top = self._a, self._uc, self._top(given)
        entry = self._function(name).address
        if given.stack:
            uc.mem_write(top, given.stack)
        registers = [
            *((a.UC_ARM_REG_R0 + i, word) for i, word in enumerate(given.core)),
            *((a.UC_ARM_REG_S0 + i, word) for i, word in enumerate(given.floats)),
            (a.UC_ARM_REG_FPSCR, 0),
            (a.UC_ARM_REG_SP, top),
            (a.UC_ARM_REG_LR, LANDING | 1),
        ]
        uc.reg_write_batch(registers)
        self._invalid = None
        if self._watch:
            self._watch.begin(budget)
        try:
            uc.emu_start(entry | 1, LANDING, timeout=0 if seconds is None else int(seconds * 1e6))
        except UcError as error:
            fault = self._trap(name, error)
            self._load()
            raise fault from None

    def _check(self, name: str, top: int) -> None:
        a = self._a
        *kept, pointer, modes = self._uc.reg_read_batch([*self._kept, a.UC_ARM_REG_SP, a.UC_ARM_REG_FPSCR])
        self._given_back(name, top, pointer, kept, modes)

    def _trap(self, name: str, error: Any) -> FirmwareError:
        pc, c = self._uc.reg_read(self._a.UC_ARM_REG_PC), self._c
        if self._invalid is None:
            return self._fault(name, str(error), pc, None)
        access, address = self._invalid
        if access in (c.UC_MEM_FETCH_UNMAPPED, c.UC_MEM_FETCH_PROT):
            what = "execution outside its code"
        else:
            what = "write to code or constants" if access == c.UC_MEM_WRITE_PROT else "access outside its memory"
        return self._fault(name, what, pc, address)

    def _on_invalid(self, _uc: Any, access: int, address: int, _size: int, _value: int, _data: Any) -> bool:
        self._invalid = access, address
        return False
