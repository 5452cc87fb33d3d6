"""The board as a host sees it: buffers by name, steps, checksums, and faults as errors that name the operator."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import numpy as np

from ..numerics import Array
from ..rules import rule
from .elf import Elf
from .emulators import Emulator, Fault, Run, Stop, find_emulator
from .errors import EmulatorDied, FirmwareError, Hang, StackOverflow, Trap, WrongImage
from .memory_map import BELOW_STACK, refused
from .program import Buffer, Program

MAGIC, VERSION = 0x424D4747, 1
READY = 1
STEP, CHECKSUM, REPORT, INIT = 1, 2, 3, 4
"""Commands of renode/firmware/mailbox.h."""
ALL_PARAMETERS = 0xFFFF_FFFF
PAINT = 0xA5A5_A5A5
BUDGET = 20_000_000_000
"""Instructions that a command may take unless told otherwise: far more than any training step."""
SECONDS = 900.0

EXCEPTIONS = {3: "HardFault", 4: "MemManage", 5: "BusFault", 6: "UsageFault"}
IACCVIOL, DACCVIOL, MSTKERR, MMARVALID, BFARVALID = 1 << 0, 1 << 1, 1 << 4, 1 << 7, 1 << 15
UNDEFINSTR, INVSTATE, NOCP = 1 << 16, 1 << 17, 1 << 19
"""Bits of CFSR (Arm DDI 0403, B3.2.15)."""


class Board:
    """An ELF on an emulator, started and waiting for commands; a context manager."""

    def __init__(
        self,
        elf: Elf,
        emulator: type[Emulator] | str | None = None,
        *,
        budget: int = BUDGET,
        seconds: float = SECONDS,
        watch: str | None = None,
    ) -> None:
        """Start ``elf``; each command may take ``budget`` instructions and ``seconds``.

        ``watch`` is what the emulator counts for the timing model besides: emulators.EDGES or MEMORY.
        """
        kind = find_emulator(emulator) if emulator is None or isinstance(emulator, str) else emulator
        self.elf, self.program = elf, Program.of(elf)
        self._budget, self._seconds = budget, seconds
        self._mailbox = elf.symbol("gg_mailbox").address
        self.instructions: Counter[int] = Counter()
        """By region, of the last command."""
        self.emulator = kind(elf) if watch is None else kind(elf, watch)
        try:
            self._go()
            magic, version = struct.unpack("<2I", self.emulator.read(self._mailbox, 8))
            if (magic, version) != (MAGIC, VERSION):
                raise WrongImage(f"{elf.path} has a mailbox {magic:#x} of version {version}; build it anew")
        except BaseException:
            self.emulator.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None) -> None:
        self.emulator.close()

    def write(self, name: str, value: bytes | Array) -> None:
        """Fill a buffer; an array must have its bytes, in this order."""
        buffer = self.program.buffer(name)
        data = value.tobytes() if isinstance(value, np.ndarray) else value
        if len(data) != buffer.size:
            raise WrongImage(f"{name} has {buffer.size} bytes, not {len(data)}; give what the program was made for")
        self.emulator.write(buffer.address, data)

    def read(self, name: str) -> bytes:
        """What a buffer holds."""
        buffer = self.program.buffer(name)
        return self.emulator.read(buffer.address, buffer.size)

    def memory(self) -> dict[str, bytes]:
        """Arena and scratch, whole: what emulators must agree on."""
        p = self.program
        spaces = {"arena": (p.arena, p.arena_bytes), "scratch": (p.scratch, p.scratch_bytes)}
        return {name: self.emulator.read(*space) for name, space in spaces.items() if space[1]}

    @rule("BOARD-S2")
    def step(self, inputs: Mapping[str, bytes | Array] | None = None, count: int = 1) -> None:
        """Write ``inputs``, then train ``count`` steps on them."""
        for name, value in (inputs or {}).items():
            self.write(name, value)
        self._command(STEP, count)

    def restart(self) -> None:
        """Put the parameters back to what flash has."""
        self._command(INIT, 0)

    def checksum(self, name: str | None = None) -> int:
        """CRC-32 of a buffer, or of all parameters one after the other, as the board computes it."""
        number = ALL_PARAMETERS if name is None else self.program.buffers.index(self.program.buffer(name))
        return self._command(CHECKSUM, number)

    def report(self) -> int:
        """Have the board say a line by UART; the high-water of its stack as it finds it itself."""
        return self._command(REPORT, 0)

    @property
    def steps(self) -> int:
        """Steps done since the parameters were as in flash."""
        return self._words(24, 1)[0]

    @rule("MEAS-S4")
    def stack_high_water(self) -> int:
        """Bytes from the stack's top to the lowest word that is no longer painted."""
        bottom, top = self.elf.symbol("gg_stack_bottom").address, self.elf.symbol("gg_stack_top").address
        words = np.frombuffer(self.emulator.read(bottom, top - bottom), "<u4")
        used = np.flatnonzero(words != PAINT)
        return 4 * int(len(words) - used[0]) if len(used) else 0

    def _words(self, offset: int, count: int) -> tuple[int, ...]:
        return struct.unpack(f"<{count}I", self.emulator.read(self._mailbox + offset, 4 * count))

    def _command(self, command: int, argument: int) -> int:
        self.emulator.write(self._mailbox + 16, argument.to_bytes(4, "little"))
        self.emulator.write(self._mailbox + 12, command.to_bytes(4, "little"))
        self._go()
        return self._words(20, 1)[0]

    def _go(self) -> None:
        try:
            run = self.emulator.run(self._budget, self._seconds)
        except EmulatorDied as died:
            where = "" if died.region is None else f", in {self.program.region_name(died.region)}"
            raise EmulatorDied(f"{self.program.name}: {died}{where}; run it again, or on another emulator") from None
        self.instructions = Counter(run.instructions)
        if run.stop is Stop.WAIT:
            if self._words(8, 1)[0] != READY:
                raise EmulatorDied(f"{self._who} stopped before the firmware was ready; run it again")
        elif run.stop is Stop.HALT:
            raise self._error(self._recorded(), self._recorded_region())
        elif run.stop is Stop.FAULT and run.fault:
            raise self._error(run.fault, run.region)
        else:
            raise self._hang(run)

    @property
    def _who(self) -> str:
        return f"{self.program.name} on {self.emulator.name}"

    @rule("BOARD-C4")
    def _hang(self, run: Run) -> Hang:
        region = self.program.region_name(run.region)
        granted = f"{self._budget:,} instructions" if run.stop is Stop.BUDGET else f"{self._seconds:g} s"
        return Hang(f"{self._who}: no end after {granted}, in {region}; look for an endless loop there", region)

    def _recorded_region(self) -> int:
        return int(struct.unpack("<i", self.emulator.read(self._mailbox + 36 + 32, 4))[0])

    @rule("BOARD-S4")
    def _recorded(self) -> Fault:
        """What the firmware's handler left in the mailbox."""
        exception, pc, lr, _, _, cfsr, hfsr, address = self._words(36, 8)
        overflow = bool(cfsr & MSTKERR) or address in BELOW_STACK
        if overflow:
            what = "stack overflow"
        elif cfsr & IACCVIOL:
            what = "execution outside code"
        elif cfsr & DACCVIOL:
            what = refused(address)
        elif cfsr & (UNDEFINSTR | INVSTATE | NOCP):
            what = "undefined instruction"
        else:
            what = f"{EXCEPTIONS.get(exception, f'exception {exception}')}, HFSR {hfsr:#010x}"
        valid = cfsr & (MMARVALID | BFARVALID)
        return Fault(what, pc or None, lr or None, address if valid else None, cfsr, is_stack_overflow=overflow)

    @rule("BOARD-C2", "BOARD-C3")
    def _error(self, fault: Fault, number: int) -> FirmwareError:
        region = self.program.region_name(number)
        known = {"address": fault.address, "CFSR": fault.cfsr, "PC": fault.pc, "LR": fault.lr}
        details = [
            f"{name} {value:#010x}{self._place(name, value)}" for name, value in known.items() if value is not None
        ]
        kind = StackOverflow if fault.is_stack_overflow else Trap
        remedy = "give it more stack, or use less" if fault.is_stack_overflow else "look at the code at PC"
        return kind(f"{self._who}: {fault.what} in {region} ({', '.join(details)}); {remedy}", region)

    def _place(self, name: str, value: int) -> str:
        function = self.elf.function_at(value & ~1) if name in ("PC", "LR") else ""
        return f" in {function}" if function else ""


def buffers(program: Program, kind: str) -> list[Buffer]:
    """The buffers of one kind: input, rate, output or parameter."""
    return [buffer for buffer in program.buffers if buffer.kind == kind]
