"""QEMU: qemu-system-arm with a TCG plugin that counts, driven by the GDB protocol over its standard streams.

QEMU 7.2 has no STM32F7.  mps2-an500 is a Cortex-M7 too, with RAM where the firmware is linked (flash on the ITCM bus)
and at 0x20000000; everywhere else the firmware's own MPU decides what may be touched, as it does on the chip.  There is
no USART3: the firmware finds none, and says nothing.
"""

from __future__ import annotations

import contextlib
import functools
import mmap
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from ...rules import rule
from ..elf import Elf
from ..errors import EmulatorDied
from ..memory_map import FLASH, FLASH_AXI
from ..native import native_library
from ..program import FIRMWARE
from ..timing.edges import Trace
from . import EDGES, MEMORY, Emulator, Run, Stop, can_watch
from ._edges import WatchInFile
from ._gdb import Remote

COMMAND = "qemu-system-arm"
MACHINE = "mps2-an500"
PLUGIN = "qemu_plugin.c"
SP, PC, XPSR = 13, 15, 25
THUMB = 1 << 24
HEAD = 4
"""Words of the plugin's state before the counts: executed, marks, at the last mark, region."""


class Qemu(Emulator):
    """The board on QEMU's mps2-an500."""

    name: ClassVar[str] = "qemu"
    watches: ClassVar[tuple[str, ...]] = (EDGES, MEMORY)

    @classmethod
    def missing(cls) -> str | None:
        """Whether QEMU is here, knows the machine, and its plugin can be compiled."""
        if not shutil.which(COMMAND):
            return f"{COMMAND} is not on PATH; install qemu-system-arm"
        if MACHINE not in _says("-machine", "help"):
            return f"{COMMAND} has no machine {MACHINE}; install version 7.2 or later"
        if native_library(PLUGIN) is None:
            return "there is no compiler for its plugin; install gcc or ziglang"
        return None

    @classmethod
    def version(cls) -> str:
        """The first line of what QEMU says of itself."""
        return _says("--version").splitlines()[0]

    def __init__(self, elf: Elf, watch: str | None = None) -> None:
        """Start QEMU, stopped at reset."""
        can_watch(type(self), watch)
        self._folder = Path(tempfile.mkdtemp(prefix="goldgrad-qemu-"))
        self._process: QemuProcess | None = None
        self._regions = elf.word(elf.symbol("gg_program").address + 20)
        self._map: mmap.mmap | None = None
        self._watch = WatchInFile(self._folder, watch == MEMORY) if watch else None
        try:
            self._start(elf)
        except BaseException:
            self.close()
            raise

    def _start(self, elf: Elf) -> None:
        state = self._folder / "state"
        size = 8 * (HEAD + 2 + self._regions)
        state.write_bytes(bytes(size))
        with state.open("r+b") as stream:
            self._map = mmap.mmap(stream.fileno(), size)
        mark = elf.symbol("gg_mark")
        plugin = [
            str(native_library(PLUGIN)),
            f"state={state}",
            f"mark={mark.address}",
            f"mark_end={mark.address + mark.size}",
            f"base={FLASH.start}",
            f"regions={self._regions}",
            *(f"{name}={path}" for name, path in (self._watch.files.items() if self._watch else ())),
        ]
        arguments = ("-plugin", ",".join(plugin))
        self._process = QemuProcess(self._folder, {FLASH.start: elf.flash()}, arguments, self._region)
        self._gdb = self._process.gdb
        self._stops = {elf.symbol("gg_board_wait").address: Stop.WAIT, elf.symbol("gg_board_halt").address: Stop.HALT}
        for address in self._stops:
            self._gdb.breakpoint(address)
        stack, reset = struct.unpack("<2I", elf.load(FLASH.start, 8))
        self._gdb.set_register(SP, stack)
        self._gdb.set_register(PC, reset & ~1)
        self._gdb.set_register(XPSR, THUMB)
        self._taken = [0] * (2 + self._regions)

    def write(self, address: int, data: bytes) -> None:
        """Write into RAM."""
        self._gdb.write(address, data)

    def read(self, address: int, count: int) -> bytes:
        """Read RAM or flash; on either bus."""
        if address in FLASH_AXI:
            address += FLASH.start - FLASH_AXI.start
        return self._gdb.read(address, count)

    @rule("MEAS-S1", "MEAS-S2")
    def run(self, budget: int, seconds: float) -> Run:
        """Go on until a breakpoint, or the end of budget or time."""
        start = self._state()[0]
        if self._gdb.register(PC) in self._stops:
            self._gdb.step()  # over the breakpoint
        stopped = self._gdb.go(seconds, lambda: self._state()[0] - start > budget)
        if stopped:
            stop = self._stops.get(self._gdb.register(PC), Stop.TIME)
        else:
            stop = Stop.BUDGET if self._state()[0] - start > budget else Stop.TIME
        return Run(stop, self._take(), self._state()[3])

    def _state(self) -> tuple[int, ...]:
        assert self._map
        return struct.unpack(f"<3Qq{2 + self._regions}Q", self._map)

    def _take(self) -> dict[int, int]:
        """Counts since the last time: those up to the last mark, and what was executed since it in its region."""
        executed, _, at_mark, region, *counts = self._state()
        counts[region - FIRMWARE] += executed - at_mark
        new = {i + FIRMWARE: count - self._taken[i] for i, count in enumerate(counts) if count > self._taken[i]}
        self._taken = counts
        return new

    def trace(self) -> Trace:
        """Edges since the last time, and what memory did if that is watched."""
        if self._watch is None:
            return super().trace()
        return self._watch.take()

    def _region(self) -> int:
        return self._state()[3] if self._map else FIRMWARE

    def close(self) -> None:
        """Kill QEMU and remove its files."""
        if self._process:
            self._process.close()
            self._process = None
        if self._watch:
            self._watch.close()
            self._watch = None
        if self._map:
            self._map.close()
            self._map = None
        shutil.rmtree(self._folder, ignore_errors=True)


class QemuProcess:
    """QEMU, stopped at reset with bytes in its memory, and its GDB stub."""

    def __init__(
        self,
        folder: Path,
        images: Mapping[int, bytes],
        arguments: Sequence[str] = (),
        region: Callable[[], int | None] = lambda: None,
    ) -> None:
        """``images`` are bytes by address; ``region`` says where the firmware is, for errors."""
        command = [COMMAND, "-machine", MACHINE, "-display", "none", "-serial", "none", "-monitor", "none"]
        command += ["-gdb", "stdio", "-S", *arguments]
        for address, data in images.items():
            image = folder / f"{address:x}.bin"
            image.write_bytes(data)
            command += ["-device", f"loader,file={image},addr={address:#x},force-raw=on"]
        self._region, self._stderr = region, folder / "stderr"
        with self._stderr.open("wb") as stderr:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, bufsize=0
            )
        assert self.process.stdin and self.process.stdout
        try:
            self.gdb = Remote(self.process.stdin, self.process.stdout, self._died)
        except BaseException:
            self.close()
            raise

    def _died(self) -> EmulatorDied:
        status = "stopped answering"
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = f"ended with {self.process.wait(timeout=0.5)}"
        said = self._stderr.read_text(errors="replace").strip().splitlines()
        error = EmulatorDied(f"qemu {status}{f': {said[0]}' if said else ''}")
        error.region = self._region()
        return error

    def close(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                stream.close()


@functools.cache
def _says(*arguments: str) -> str:
    run = subprocess.run([COMMAND, *arguments], capture_output=True, text=True, check=False)
    return run.stdout or run.stderr or "unknown"
