"""Functions called one by one on QEMU and on Renode, by a small program beside them (renode/calls/server.c).

What it is to call stands in a mailbox; it is run from one wait to the next.  On QEMU the MPU gives the rights of pages,
on Renode windows of its own do.  An emulator is started when it is first wanted, in the process that wants it, and
again after a call that did not come back.
"""

from __future__ import annotations

import functools
import itertools
import os
import struct
import tempfile
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .. import paths
from .aapcs import Word, passed
from .elf import Elf
from .emulators import find_emulator
from .emulators._gdb import Remote
from .emulators.qemu import MACHINE as QEMU_MACHINE
from .emulators.qemu import PC, SP, THUMB, XPSR, QemuProcess
from .emulators.renode import RenodeProcess
from .errors import BuildError, EmulatorDied, FirmwareError, Hang, Trap, WrongImage
from .machine import BUFFERS, KEPT, OURS, RETURN, STACK, Machine, Pages, pages_of
from .memory_map import Bank
from .toolchain import BOARD, STRICT, find_toolchain

SECONDS = 60.0
"""What a call may take unless told."""
GIVEN, REGIONS, TAKEN = struct.Struct("<2I4I16I24I"), struct.Struct("<16I"), struct.Struct("<I3I24I3I")
"""The mailbox: what goes in, the MPU's regions, what comes out (struct gg_calls of server.c)."""
RETURNED = 1
FRAME = struct.Struct("<8I")
FRAME_PC = 6
HAS_ADDRESS, UNDEFINED = 0x8080, 1 << 16
"""Bits of the CFSR: MMARVALID or BFARVALID; UNDEFINSTR."""


@functools.cache
def server() -> Elf:
    """The program that calls, linked once in the life of this process."""
    source, toolchain = paths.data("renode") / "calls" / "server.c", find_toolchain()
    with tempfile.TemporaryDirectory(prefix="goldgrad-calls-") as folder:
        target = Path(folder) / "server.elf"
        places = ("-nostdlib", "-static", f"-Wl,-T,{source.with_suffix('.ld')}")
        run = toolchain.run(*STRICT, *BOARD, *places, source, "-o", target)
        if run.returncode:
            said = run.stderr.strip().splitlines() or ["no reason given"]
            raise BuildError(f"{toolchain.name} refuses {source.name}: {said[0]}; correct it")
        return Elf.read(target)


class _Refused(Exception):  # noqa: N818  (the provider's fault)
    """An access that the emulator itself refused: PC and address."""


class ServedMachine(Machine):
    """What QEMU and Renode have in common."""

    _process: QemuProcess | RenodeProcess | None = None
    _files: tempfile.TemporaryDirectory[str] | None = None

    def __init__(self, elf: Elf) -> None:
        super().__init__(elf)
        find_emulator(self.name)
        self._pages, self._server = pages_of(elf), server()
        self._mailbox, self._wait = (self._server.symbol(name).address for name in ("gg_calls", "gg_calls_wait"))
        self._outcome = self._mailbox + GIVEN.size + REGIONS.size
        self._started_by = 0

    @abstractmethod
    def _start(self) -> None:
        """Start the emulator: server and ELF loaded, up to the first wait."""

    @abstractmethod
    def _go(self, seconds: float) -> bool:
        """On to the next wait; False if it did not come in time.  A fault that only the emulator sees it notes."""

    @abstractmethod
    def _write(self, address: int, data: bytes) -> None: ...

    @abstractmethod
    def _read(self, address: int, count: int) -> bytes: ...

    def _again(self) -> None:
        """After an access that the emulator refused: be as new."""
        self.close()

    def _up(self) -> None:
        """Have an emulator that is of this process: of a parent's there is one copy only."""
        if self._started_by != os.getpid():
            self._started_by = os.getpid()
            try:
                self._start()
            except BaseException:
                self.close()
                raise

    def write(self, address: int, data: bytes) -> None:
        """Fill memory."""
        self._up()
        self._write(address, data)

    def read(self, address: int, count: int) -> bytearray:
        """What memory holds."""
        self._up()
        return bytearray(self._read(address, count))

    def _folder(self) -> Path:
        """A folder for the emulator's files, which goes with it."""
        self._files = tempfile.TemporaryDirectory(prefix=f"goldgrad-{self.name}-", ignore_cleanup_errors=True)
        return Path(self._files.name)

    def close(self) -> None:
        """End the emulator, if this process has started one."""
        if self._started_by == os.getpid():
            if self._process:
                self._process.close()
            if self._files:
                self._files.cleanup()
        self._process = self._files = None
        self._started_by = 0

    def call(self, name: str, arguments: Sequence[Word], seconds: float | None = None) -> int:
        """Call a function; see :meth:`Machine.call`."""
        given, entry = passed(arguments), self._function(name).address | 1
        top, limit = self._top(given), SECONDS if seconds is None else seconds
        core = (*given.core, *[0] * (4 - len(given.core)))
        floats = (*given.floats, *[0] * (16 - len(given.floats)))
        try:
            self._up()
            if given.stack:
                self._write(top, given.stack)
            self._write(self._mailbox, GIVEN.pack(entry, top, *core, *floats, *KEPT))
            self._write(self._outcome, bytes(TAKEN.size))
            try:
                is_there = self._go(limit)
            except _Refused as refused:
                self._again()
                raise self._access(name, *refused.args) from None
            if not is_there:
                self.close()
                raise Hang(f"{name}: no end after {limit:g} s", name)
            outcome, result, pointer, modes, *kept, cfsr, address, frame = TAKEN.unpack(
                self._read(self._outcome, TAKEN.size)
            )
            if outcome != RETURNED:
                fault = self._told(name, cfsr, address, frame)
                self._load(everything=False)
                raise fault
        except EmulatorDied as error:
            self.close()
            raise Trap(f"{name}: {error}", name) from None
        self._given_back(name, top, pointer, kept, modes)
        return int(np.uint32(result).view(np.int32))

    def _told(self, name: str, cfsr: int, address: int, frame: int) -> FirmwareError:
        """The error for a fault that the server reports."""
        if frame not in STACK or frame + FRAME.size > STACK.end:
            return self._access(name, 0, STACK.start - 4)
        pc = FRAME.unpack(self._read(frame, FRAME.size))[FRAME_PC]
        if cfsr & HAS_ADDRESS:
            return self._access(name, pc, address)
        what = "undefined instruction" if cfsr & UNDEFINED else f"fault, CFSR {cfsr:#010x}"
        return self._fault(name, what, pc, None)

    def _access(self, name: str, pc: int, address: int) -> FirmwareError:
        """The error for an access that is not allowed."""
        is_constant = any(p.start <= address < p.end and not p.writable for p in self._pages)
        return self._fault(
            name, "write to code or constants" if is_constant else "access outside its memory", pc, address
        )

    def _load(self, everything: bool = True) -> None:
        """What the ELF's sections hold before anything ran; of what cannot be written only if ``everything``."""
        for section in self.elf.sections:
            if not section.in_file:
                self._write(section.address, bytes(section.size))
        for segment in self.elf.segments:
            if everything or self._is_writable(segment.address, len(segment.data)):
                self._write(segment.address, segment.data)

    def _is_writable(self, start: int, size: int) -> bool:
        return any(pages.writable and pages.start < start + size and start < pages.end for pages in self._pages)


# --- QEMU ----------------------------------------------------------------------------------------------------------

QEMU_MEMORY = (Bank("", 0, 4 << 20), Bank("", 0x2000_0000, 4 << 20))
"""Where the machine has memory that programs for an STM32 may lie in."""
REGION_COUNT, OUR_REGIONS = 8, 4
SMALLEST = 15
"""A region of so many bits has subregions of a page."""
ENABLE, NORMAL, READ_WRITE, READ_ONLY, NO_EXECUTION = 1, 2 << 16, 3 << 24, 6 << 24, 1 << 28


def mpu_region(pages: Pages, no_execution: bool = False) -> tuple[int, int]:
    """RBAR and RASR of the smallest region around a stretch, without the eighths that nothing of it lies in."""
    bits = max(SMALLEST, (pages.start ^ (pages.end - 1)).bit_length())
    base, eighth = pages.start >> bits << bits, 1 << bits - 3
    outside = (pages.end <= base + i * eighth or base + (i + 1) * eighth <= pages.start for i in range(8))
    without = sum(is_outside << 8 + i for i, is_outside in enumerate(outside))
    rights = READ_WRITE if pages.writable else READ_ONLY
    return base, without | bits - 1 << 1 | rights | NORMAL | no_execution * NO_EXECUTION | ENABLE


def mpu_regions(elf: Sequence[Pages]) -> list[tuple[int, int]]:
    """The regions for the server, mailbox, stack, operands, and an ELF; neighbours go together if need be."""
    stretches = list(elf)
    while len(stretches) > REGION_COUNT - OUR_REGIONS:
        gaps = [after.start - before.end for before, after in itertools.pairwise(stretches)]
        i = gaps.index(min(gaps))
        before, after = stretches[i : i + 2]
        stretches[i : i + 2] = [Pages(before.start, after.end, before.writable or after.writable)]
    ours = [Pages(bank.start, bank.end, True) for bank in (MAILBOX, STACK, BUFFERS)]
    found = [mpu_region(pages) for pages in sorted(stretches, key=lambda pages: pages.writable)]
    found += [mpu_region(Pages(RETURN.start, RETURN.end, False)), *(mpu_region(pages, True) for pages in ours)]
    return found + [(0, 0)] * (REGION_COUNT - len(found))


MAILBOX = Bank("mailbox", 0x6020_0000, 1 << 16)
"""Where server.ld has it."""


class QemuMachine(ServedMachine):
    """On QEMU's mps2-an500, by its GDB stub."""

    name = "qemu"
    _process: QemuProcess | None = None
    _gdb: Remote

    def __init__(self, elf: Elf) -> None:
        super().__init__(elf)
        for pages in self._pages:
            if not any(pages.start in bank and pages.end <= bank.end for bank in QEMU_MEMORY):
                raise WrongImage(
                    f"{elf.path} has memory at {pages.start:#010x}, where QEMU's {QEMU_MACHINE} has none; "
                    "link it for 0x00200000 and 0x20000000, or use unicorn or renode"
                )

    def _start(self) -> None:
        segments = [*self._server.segments, *self.elf.segments]
        self._process = QemuProcess(self._folder(), {segment.address: segment.data for segment in segments})
        self._gdb = self._process.gdb
        stack, reset = struct.unpack("<2I", self._server.load(RETURN.start, 8))
        words = [word for region in mpu_regions(self._pages) for word in region]
        self._write(self._mailbox + GIVEN.size, REGIONS.pack(*words))
        self._gdb.breakpoint(self._wait)
        for register, value in ((SP, stack), (PC, reset & ~1), (XPSR, THUMB)):
            self._gdb.set_register(register, value)
        if not self._gdb.go(SECONDS, lambda: False):
            raise EmulatorDied("qemu does not run the program that calls; run it again")

    def _go(self, seconds: float) -> bool:
        self._gdb.set_register(PC, self._wait + 2)  # past the breakpoint: a step would have all code translated again
        return self._gdb.go(seconds, lambda: False)

    def _write(self, address: int, data: bytes) -> None:
        self._gdb.write(address, data)

    def _read(self, address: int, count: int) -> bytes:
        return self._gdb.read(address, count)


# --- Renode --------------------------------------------------------------------------------------------------------

PLATFORM = """\
cpu: CPU.CortexM @ sysbus
    cpuType: "cortex-m7"
    nvic: nvic

nvic: IRQControllers.NVIC @ sysbus 0xE000E000
    priorityMask: 0xF0
    systickFrequency: 216000000
    IRQ -> cpu@0
"""
MEMORY = """
memory{number}: Memory.MappedMemory @ sysbus {start:#010x}
    size: {size:#x}
"""
READ, WRITE, EXECUTE = 1, 2, 4
SYSTEM = (0xE000_0000, 0xE010_0000, READ | WRITE)


class RenodeMachine(ServedMachine):
    """On a Cortex-M7 of Renode's with memory where the ELF wants it."""

    name = "renode"
    _process: RenodeProcess | None = None

    def _start(self) -> None:
        banks = [(OURS.start, OURS.end), *_joined(self._pages)]
        memory = (MEMORY.format(number=i, start=a, size=b - a) for i, (a, b) in enumerate(banks))
        commands = (
            "using sysbus",
            'mach create "calls"',
            "machine LoadPlatformDescription @platform.repl",
            "emulation SetGlobalAdvanceImmediately true",
            'emulation SetGlobalQuantum "0.01"',
            "include @board/monitor.py",
            f"cpu VectorTableOffset {RETURN.start}",
            f"gg_calls {self._wait}",
        )
        folder = self._folder()
        (folder / "platform.repl").write_text(PLATFORM + "".join(memory))
        process = self._process = RenodeProcess(folder, commands)
        ours = [(MAILBOX, READ | WRITE), (STACK, READ | WRITE), (BUFFERS, READ | WRITE), (RETURN, READ | EXECUTE)]
        rights = [(bank.start, bank.end, right) for bank, right in ours] + [SYSTEM]
        rights += [(p.start, p.end, READ | EXECUTE | p.writable * WRITE) for p in self._pages]
        for start, end, right in rights:
            process.ask(f"rights {start} {end} {right}")
        self._again()

    def _again(self) -> None:
        """From the start on, where Renode itself need not start."""
        assert self._process
        stack, reset = struct.unpack("<2I", self._server.load(RETURN.start, 8))
        self._process.ask(f"reset {stack} {reset & ~1}")
        for segment in self._server.segments:
            self._write(segment.address, segment.data)
        self._load()
        if not self._go(SECONDS):
            raise EmulatorDied("renode does not run the program that calls; run it again")

    def _go(self, seconds: float) -> bool:
        assert self._process
        stop, _, pc, _, address = self._process.ask(f"run {seconds} {1 << 62}", seconds=seconds).decode().split()
        if stop == "FAULT":
            raise _Refused(int(pc), int(address))
        return stop == "WAIT"

    def _write(self, address: int, data: bytes) -> None:
        assert self._process
        self._process.ask(f"write {address} {len(data)}", data)

    def _read(self, address: int, count: int) -> bytes:
        assert self._process
        return self._process.ask(f"read {address} {count}", count=count)


def _joined(pages: Sequence[Pages]) -> list[tuple[int, int]]:
    """Stretches whatever their rights."""
    found: list[tuple[int, int]] = []
    for each in pages:
        if found and found[-1][1] == each.start:
            found[-1] = (found[-1][0], each.end)
        else:
            found.append((each.start, each.end))
    return found


MACHINES: dict[str, type[ServedMachine]] = {"qemu": QemuMachine, "renode": RenodeMachine}
