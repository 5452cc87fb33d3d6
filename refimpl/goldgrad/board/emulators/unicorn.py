"""Unicorn: the embedded default, from PyPI; it runs in this process.

Unicorn tells of every block of code that it is about to run: each is decoded once, and its instructions are counted
every time.  (Its hook for single instructions leaves out those that an IT block skips, and its hooks for reads can
spoil the state of an IT block.)  A small C function counts where this machine has a compiler; the same in Python, many
times slower, where it has none.  Both can watch edges for the timing model.

Faults come from the rights of pages; code in ITCM can be written until startup has copied it and turns the MPU on.  The
system control space is plain memory: the MPU is set up and does nothing.  UART registers are real enough to catch the
text.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import time
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Protocol

from ...rules import rule
from ..elf import Elf
from ..errors import EmulatorDied
from ..memory_map import BELOW_STACK, CODE_IN_ITCM, FLASH, FLASH_AXI, PERIPHERALS, RAM, SYSTEM, refused
from ..native import native_library
from ..program import FIRMWARE
from ..timing.edges import Trace
from . import EDGES, Emulator, Fault, Run, Stop, can_watch
from ._blocks import count_instructions
from ._edges import CHUNK, WatchInC, WatchInPython, WatchState

USART3_ISR, USART3_TDR, TXE = 0x481C, 0x4828, 1 << 7
"""Offsets among the peripherals."""
FIRST = FIRMWARE
"""The lowest number of a region."""
NOWHERE = 0xFFFF_FFFF
"""No code is there."""
PAGE = 4096
SLICE = 100_000_000
"""Instructions between looks at the clock."""


class Unicorn(Emulator):
    """The board on Unicorn's Cortex-M7."""

    name: ClassVar[str] = "unicorn"
    watches: ClassVar[tuple[str, ...]] = (EDGES,)

    @classmethod
    def missing(cls) -> str | None:
        """Whether the package is here."""
        return None if importlib.util.find_spec("unicorn") else "unicorn is not installed; pip install unicorn"

    @classmethod
    def version(cls) -> str:
        """The package's version, and what counts."""
        counter = "counts in C" if native_library("unicorn_counter.c") else "counts in Python: there is no C compiler"
        return f"unicorn {version('unicorn')}, {counter}"

    @rule("BOARD-C2")
    def __init__(self, elf: Elf, watch: str | None = None, native: bool = True) -> None:
        """Map memory with its rights; ``native`` False counts in Python although C could."""
        can_watch(type(self), watch)
        from unicorn import Uc, unicorn_const
        from unicorn.arm_const import UC_ARM_REG_LR, UC_ARM_REG_PC, UC_ARM_REG_SP, UC_CPU_ARM_CORTEX_M7

        self._sp, self._lr, self._pc = UC_ARM_REG_SP, UC_ARM_REG_LR, UC_ARM_REG_PC
        self._const = unicorn_const
        self._code = ctypes.create_string_buffer(FLASH.end)  # all addresses from 0 on that code may have
        flash = elf.flash().ljust(FLASH.size, b"\xff")
        ctypes.memmove(ctypes.addressof(self._code) + FLASH.start, flash, FLASH.size)
        uc = Uc(
            unicorn_const.UC_ARCH_ARM, unicorn_const.UC_MODE_THUMB | unicorn_const.UC_MODE_MCLASS, UC_CPU_ARM_CORTEX_M7
        )
        self._uc: Any = uc
        read_only = unicorn_const.UC_PROT_READ | unicorn_const.UC_PROT_EXEC
        read_write = unicorn_const.UC_PROT_READ | unicorn_const.UC_PROT_WRITE
        for bank, rights in ((FLASH, read_only), (CODE_IN_ITCM, unicorn_const.UC_PROT_ALL)):
            uc.mem_map_ptr(bank.start, bank.size, rights, ctypes.addressof(self._code) + bank.start)
        uc.mem_map(RAM.start, _ram_bytes(elf), read_write)
        uc.mem_map(SYSTEM.start, SYSTEM.size, read_write)
        uc.mmio_map(PERIPHERALS.start, PERIPHERALS.size, self._read_register, None, self._write_register, None)
        uc.hook_add(unicorn_const.UC_HOOK_MEM_INVALID, self._on_invalid)
        self._registers: dict[int, int] = {}
        self._text: list[str] = []
        self._fault: Fault | None = None
        stops = {elf.symbol("gg_board_wait").address: Stop.WAIT, elf.symbol("gg_board_halt").address: Stop.HALT}
        self._stops = stops
        mark = elf.symbol("gg_mark")
        self._mark = mark.address
        library = native_library("unicorn_counter.c") if native else None
        regions = elf.word(elf.symbol("gg_program").address + 20)
        arguments = (uc, self._code, mark.address, mark.address + mark.size, tuple(stops), regions)
        self._counter = _counter(*arguments, library=library, watch=watch is not None)
        on = elf.symbol("gg_mpu_on").address
        uc.hook_add(unicorn_const.UC_HOOK_BLOCK, self._on_mpu, begin=on, end=on)
        stack, reset = (int.from_bytes(flash[at : at + 4], "little") for at in (0, 4))
        uc.reg_write(self._sp, stack)
        self._at = reset

    @property
    def text(self) -> str:
        """What USART3 said."""
        return "".join(self._text)

    def write(self, address: int, data: bytes) -> None:
        """Write into RAM."""
        self._uc.mem_write(address, data)

    def read(self, address: int, count: int) -> bytes:
        """Read RAM or flash; on either bus."""
        if address in FLASH_AXI:
            address += FLASH.start - FLASH_AXI.start
        return bytes(self._uc.mem_read(address, count))

    @rule("MEAS-S1", "MEAS-S2")
    def run(self, budget: int, seconds: float) -> Run:
        """Go on until a stop of the firmware, a fault, or the end of budget or time."""
        from unicorn import UcError

        if self._fault:
            return Run(Stop.FAULT, {}, self._counter.region, self._fault)
        deadline = time.monotonic() + seconds
        stop: Stop | None = None
        while stop is None:
            self._counter.begin(min(budget, SLICE))
            try:
                self._uc.emu_start(self._at | 1, 0xFFFF_FFFF)
            except UcError as error:
                self._fault = self._fault or self._trap(error)
                stop = Stop.FAULT
            self._at = self._uc.reg_read(self._pc)
            budget -= SLICE
            if stop is None and not self._counter.exhausted:
                stop = self._stops.get(self._at)
                if stop is None:
                    raise self._died(f"unicorn stopped at {self._at:#010x} for no reason")
            elif stop is None and budget <= 0:
                stop = Stop.BUDGET
            elif stop is None and time.monotonic() > deadline:
                stop = Stop.TIME
        return Run(stop, self._counter.take(), self._counter.region, self._fault)

    def trace(self) -> Trace:
        """Edges since the last time."""
        return self._counter.trace()

    def _died(self, what: str) -> EmulatorDied:
        error = EmulatorDied(what)
        error.region = self._counter.region
        return error

    def close(self) -> None:
        """Forget it; its memory goes with the last reference."""
        self._uc = None

    def watch_marks(self, seen: Callable[[int, int], None]) -> None:
        """From now on call ``seen(region, stack pointer)`` where gg_mark begins, before it has done anything."""
        from unicorn.arm_const import UC_ARM_REG_R0

        def on_mark(uc: Any, _address: int, _size: int, _data: Any) -> None:
            seen(ctypes.c_int32(uc.reg_read(UC_ARM_REG_R0)).value, uc.reg_read(self._sp))

        self._uc.hook_add(self._const.UC_HOOK_BLOCK, on_mark, begin=self._mark, end=self._mark)
        self._uc.ctl_flush_tb()  # what was translated for one hook calls that one only

    def _on_mpu(self, uc: Any, _address: int, _size: int, _data: Any) -> None:
        c = self._const
        uc.mem_protect(CODE_IN_ITCM.start, CODE_IN_ITCM.size, c.UC_PROT_READ | c.UC_PROT_EXEC)

    def _read_register(self, _uc: Any, offset: int, _size: int, _data: Any) -> int:
        return TXE if offset == USART3_ISR else self._registers.get(offset, 0)

    def _write_register(self, _uc: Any, offset: int, _size: int, value: int, _data: Any) -> None:
        self._registers[offset] = value
        if offset == USART3_TDR:
            self._text.append(chr(value & 0xFF))

    @rule("BOARD-C2", "BOARD-C3")
    def _on_invalid(self, uc: Any, access: int, address: int, _size: int, _value: int, _data: Any) -> bool:
        c = self._const
        below = address in BELOW_STACK
        if access in (c.UC_MEM_FETCH_UNMAPPED, c.UC_MEM_FETCH_PROT):
            what = "execution outside code"
        elif below:
            what = "stack overflow"
        else:
            what = refused(address)
        self._fault = Fault(what, uc.reg_read(self._pc), uc.reg_read(self._lr), address, is_stack_overflow=below)
        return False

    def _trap(self, error: Any) -> Fault:
        invalid = {self._const.UC_ERR_INSN_INVALID, self._const.UC_ERR_EXCEPTION}
        if error.errno not in invalid:
            raise self._died(f"unicorn gave up: {error}") from None
        return Fault("undefined instruction or exception", self._uc.reg_read(self._pc), self._uc.reg_read(self._lr))


@rule("BOARD-M3")
def _ram_bytes(elf: Elf) -> int:
    """The board's RAM; in whole pages what an ELF needs that was built for more of it."""
    end = max((s.address + s.size for s in elf.sections if s.name == ".arena"), default=RAM.end)
    return max(RAM.end, -(-end // PAGE) * PAGE) - RAM.start


def watch_call(uc: Any, native: bool = True) -> BlockCounter:
    """Have all blocks that ``uc`` runs counted as edges, wherever they lie: for one call of a function."""
    library = native_library("unicorn_counter.c") if native else None
    return _counter(uc, None, 0, 0, (NOWHERE, NOWHERE), 0, library=library, watch=True)


def _counter(*arguments: Any, library: Path | None, watch: bool) -> BlockCounter:
    if library:
        return _InC(library, WatchInC() if watch else None, *arguments)
    return (_WatchingInPython if watch else _InPython)(*arguments)


class BlockCounter(Protocol):
    """What counts blocks: ``begin`` before each run, ``take`` what was counted since the last time."""

    @property
    def exhausted(self) -> bool:
        """Whether the budget is used up."""

    @property
    def region(self) -> int:
        """The one of the last mark."""

    def begin(self, budget: int) -> None:
        """A run of about so many instructions follows."""

    def take(self) -> dict[int, int]:
        """Instructions by region since the last time."""

    def trace(self) -> Trace:
        """Edges since the last time, if they are watched."""


class _InPython:
    """Counts in a Python callback a block."""

    def __init__(self, uc: Any, code: Any, mark: int, mark_end: int, stops: tuple[int, ...], _regions: int) -> None:
        from unicorn.arm_const import UC_ARM_REG_R0
        from unicorn.unicorn_const import UC_HOOK_BLOCK

        self._code, self._mark, self._mark_end, self._stops, self._r0 = code, mark, mark_end, stops, UC_ARM_REG_R0
        self._sizes: dict[tuple[int, int], int] = {}
        self._counts: Counter[int] = Counter()
        self._left = 0
        self._resuming = self.exhausted = False
        self.region = FIRMWARE
        uc.hook_add(UC_HOOK_BLOCK, self._on_block)

    def begin(self, budget: int) -> None:
        self._left, self._resuming, self.exhausted = budget, True, False

    def take(self) -> dict[int, int]:
        counts, self._counts = dict(self._counts), Counter()
        return counts

    def trace(self) -> Trace:
        raise EmulatorDied("edges were not watched; start the emulator with watch")

    def _on_block(self, uc: Any, address: int, size: int, _data: Any) -> None:
        if address in self._stops and not self._resuming:
            uc.emu_stop()
            return
        self._resuming = False
        if self._left <= 0:
            self.exhausted = True
            uc.emu_stop()
            return
        if self._mark <= address < self._mark_end:
            if address == self._mark:
                self.region = ctypes.c_int32(uc.reg_read(self._r0)).value
            return
        count = self._sizes.get((address, size))
        if count is None:
            count = self._sizes[address, size] = count_instructions(self._code[address : address + size])
        self._counts[self.region] += count
        self._left -= count


BLOCK_HOOK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_void_p)


class _WatchingInPython:
    """Notes every block in Python, and lets NumPy count them.

    It goes around Unicorn's own binding, which takes longer for a call than all that is done here.
    """

    def __init__(self, uc: Any, _code: Any, mark: int, mark_end: int, stops: tuple[int, ...], _regions: int) -> None:
        from unicorn.arm_const import UC_ARM_REG_PC, UC_ARM_REG_R0

        engine = self._engine = ctypes.CDLL(str(engine_library()))
        watch = self._watch = WatchInPython(lambda start, size: bytes(uc.mem_read(start, size)))
        self._uc, self._mark, self._stops, self._r0 = uc, mark, stops, UC_ARM_REG_R0
        self._pc = UC_ARM_REG_PC
        self._resuming = self.exhausted = False
        self._left = 0
        self.region = FIRMWARE
        watch.mark(FIRMWARE)
        special = {*stops, *range(mark, mark_end, 2)}
        append, stream, is_special, enough = watch.append, watch.stream, self._is_special, self._enough

        def on_block(uc: int, address: int, size: int, _data: int) -> None:
            if address in special and is_special(uc, address):
                return
            if len(stream) >= CHUNK and enough(uc):
                return
            append(address << 16 | size)

        self._hook = BLOCK_HOOK(on_block)
        hook_blocks(engine, uc, self._hook, None)

    def begin(self, budget: int) -> None:
        self._left, self.exhausted = budget, False
        self._resuming = self._uc.reg_read(self._pc) in self._stops  # a stop is passed once
        self._taken = self._watch.instructions.total()

    def take(self) -> dict[int, int]:
        self._watch.look()
        counts = dict(self._watch.instructions)
        self._watch.instructions.clear()
        return counts

    def trace(self) -> Trace:
        return self._watch.take()

    def _is_special(self, uc: int, address: int) -> bool:
        if address in self._stops:
            if self._resuming:
                self._resuming = False
                return False
            self._engine.uc_emu_stop(ctypes.c_void_p(uc))
        elif address == self._mark:
            self.region = ctypes.c_int32(self._uc.reg_read(self._r0)).value
            self._watch.mark(self.region)
        return True

    def _enough(self, uc: int) -> bool:
        self._watch.look()
        self.exhausted = self._watch.instructions.total() - self._taken >= self._left
        if self.exhausted:
            self._engine.uc_emu_stop(ctypes.c_void_p(uc))
        return self.exhausted


class _State(ctypes.Structure):
    """struct counter of unicorn_counter.c."""

    _fields_ = (
        ("left", ctypes.c_int64),
        ("counts", ctypes.POINTER(ctypes.c_uint64)),
        ("code", ctypes.c_void_p),
        ("known", ctypes.c_void_p),
        ("reg_read", ctypes.c_void_p),
        ("emu_stop", ctypes.c_void_p),
        ("mem_read", ctypes.c_void_p),
        ("watch", ctypes.POINTER(WatchState)),
        ("code_size", ctypes.c_uint32),
        ("mark", ctypes.c_uint32),
        ("mark_end", ctypes.c_uint32),
        ("stops", ctypes.c_uint32 * 2),
        ("r0", ctypes.c_int32),
        ("region_count", ctypes.c_int32),
        ("region", ctypes.c_int32),
        ("resuming", ctypes.c_int32),
        ("exhausted", ctypes.c_int32),
    )


class _InC:
    """The same in C, without a call into Python."""

    def __init__(
        self,
        library: Path,
        watch: WatchInC | None,
        uc: Any,
        code: Any,
        mark: int,
        mark_end: int,
        stops: tuple[int, ...],
        regions: int,
    ) -> None:
        from unicorn.arm_const import UC_ARM_REG_R0

        engine = ctypes.CDLL(str(engine_library()))
        self._library = ctypes.CDLL(str(library))
        self._counts = (ctypes.c_uint64 * (regions - FIRST))()
        self._known = (ctypes.c_uint32 * (FLASH.end // 2 if code else 0))()
        self._code = code
        self._state = _State(
            counts=self._counts,
            code=ctypes.addressof(code) if code else None,
            known=ctypes.addressof(self._known),
            reg_read=ctypes.cast(engine.uc_reg_read, ctypes.c_void_p).value,
            emu_stop=ctypes.cast(engine.uc_emu_stop, ctypes.c_void_p).value,
            mem_read=ctypes.cast(engine.uc_mem_read, ctypes.c_void_p).value,
            watch=ctypes.pointer(watch.state) if watch else None,
            code_size=FLASH.end if code else 0,
            mark=mark,
            mark_end=mark_end,
            stops=(ctypes.c_uint32 * 2)(*stops),
            r0=UC_ARM_REG_R0,
            region_count=regions,
            region=FIRMWARE,
        )
        self._watch = watch
        hook_blocks(engine, uc, self._library.gg_count_block, ctypes.byref(self._state))

    def trace(self) -> Trace:
        assert self._watch
        return self._watch.take()

    @property
    def region(self) -> int:
        return int(self._state.region)

    @property
    def exhausted(self) -> bool:
        return bool(self._state.exhausted)

    def begin(self, budget: int) -> None:
        self._state.left, self._state.resuming, self._state.exhausted = budget, 1, 0

    def take(self) -> dict[int, int]:
        counts = {i + FIRST: count for i, count in enumerate(self._counts) if count}
        ctypes.memset(self._counts, 0, ctypes.sizeof(self._counts))
        return counts


def hook_blocks(engine: Any, uc: Any, function: Any, data: Any) -> None:
    """Have Unicorn call ``function`` in C, with ``data``, before every block."""
    from unicorn.unicorn_const import UC_HOOK_BLOCK

    handle = ctypes.c_size_t()
    status = engine.uc_hook_add(
        uc._uch,
        ctypes.byref(handle),
        ctypes.c_int(UC_HOOK_BLOCK),
        ctypes.cast(function, ctypes.c_void_p),
        data,
        ctypes.c_uint64(1),
        ctypes.c_uint64(0),
    )
    if status:
        raise EmulatorDied(f"unicorn takes no hook in C (error {status}); try another emulator")


def engine_library() -> Path:
    """The library that the package has loaded: loading it again gives the same one."""
    import unicorn

    folder = Path(os.fspath(unicorn.__file__)).parent / "lib"
    for pattern in ("libunicorn.so*", "libunicorn*.dylib", "unicorn*.dll"):
        for path in sorted(folder.glob(pattern)):
            return path
    raise EmulatorDied(f"{folder} has no library; install unicorn again")
