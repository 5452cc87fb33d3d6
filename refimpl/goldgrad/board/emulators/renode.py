"""Renode: the whole board of renode/stm32f746.repl, driven through commands of renode/monitor.py.

Renode is started with a socket's number and connects to it, so nothing listens to anybody else.  renode/monitor.py
counts between marks and holds the CPU at the firmware's stops; what goes wrong otherwise stands in Renode's log, which
is read after every run.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ... import paths
from ...rules import rule
from ..elf import Elf
from ..errors import EmulatorDied
from ..memory_map import BELOW_STACK, FLASH, refused
from ..program import FIRMWARE
from ..timing.edges import Trace
from . import EDGES, Emulator, Fault, Run, Stop, can_watch
from ._blocks import count_instructions
from ._edges import CHUNK, WatchInPython

NEEDED = (1, 16, 1)
"""The first whose rights of pages come before the CPU's MPU."""
REMEDY = f"install Renode {'.'.join(map(str, NEEDED))} or later, or set RENODE_ROOT to its folder"
START_SECONDS = 60.0
"""Renode itself takes two."""
GRACE_SECONDS = 20.0
"""An answer may come so much later than it has to."""

FORBIDDEN = re.compile(r"goldgrad: (?P<access>\w+) at 0x(?P<address>[0-9A-F]+) by 0x(?P<pc>[0-9A-F]+)")
STRAY = re.compile(r"\[cpu: 0x(?P<pc>[0-9A-F]+)\] \w+ (from|to) non existing peripheral at 0x(?P<address>[0-9A-F]+)")
MARK = (1 << 64) - 1
"""Stands for a region among the addresses of blocks (renode/monitor.py)."""
BLOCK_BEGUN = np.dtype([("address", "<u8"), ("number", "<i4")])
"""What Renode notes: a block and how many instructions it has, or MARK and the region."""
ABORT = re.compile(r"\[ERROR\] cpu: (?P<what>.*)")


class Renode(Emulator):
    """The board on Renode."""

    name: ClassVar[str] = "renode"
    watches: ClassVar[tuple[str, ...]] = (EDGES,)

    @classmethod
    def missing(cls) -> str | None:
        """Whether it is on PATH or where RENODE_ROOT says, and new enough."""
        command, root = _command(), os.environ.get("RENODE_ROOT")
        if not command and root:
            return f"RENODE_ROOT is {root}, where no renode is; correct it"
        if not command:
            return f"renode is not on PATH; {REMEDY}"
        version = _says(command)
        found = re.search(r"v(\d+)\.(\d+)\.(\d+)", version)
        if not found:
            return f"{command} does not start: {version}; {REMEDY}"
        return None if tuple(map(int, found.groups())) >= NEEDED else f"this is {version}; {REMEDY}"

    @classmethod
    def version(cls) -> str:
        """What Renode says of itself."""
        return _says(_command())

    def __init__(self, elf: Elf, watch: str | None = None) -> None:
        """Start Renode and wait until it has loaded the platform and ``elf``."""
        can_watch(type(self), watch)
        self._folder = Path(tempfile.mkdtemp(prefix="goldgrad-renode-"))
        self._process: RenodeProcess | None = None
        self._seen = self._noted = 0
        self._elf = elf
        mark = elf.symbol("gg_mark")
        self._mark = range(mark.address, mark.address + mark.size)
        self._watch = WatchInPython(elf.load) if watch else None
        if self._watch:
            self._watch.mark(FIRMWARE)
        try:
            self._start(elf)
        except BaseException:
            self.close()
            raise

    def _start(self, elf: Elf) -> None:
        (self._folder / "program.elf").symlink_to(elf.path.resolve())
        mark = elf.symbol("gg_mark")
        commands = (
            "$elf=@program.elf",
            "include @board/goldgrad.resc",
            f"gg_watch {count_instructions(elf.load(mark.address, mark.size))}",
        )
        self._process = RenodeProcess(self._folder, commands, self._region)
        region = os.fsencode(self._folder / "region")
        self._process.ask(f"tell {len(region)}", region)
        if self._watch:
            blocks = os.fsencode(self._blocks)
            self._process.ask(f"blocks {len(blocks)}", blocks)
        self.write(FLASH.start, elf.flash().ljust(FLASH.size, b"\xff"))

    def _ask(self, line: str, data: bytes = b"", seconds: float = 0.0, count: int | None = None) -> bytes:
        if not self._process:
            raise EmulatorDied("renode is closed; start it again")
        return self._process.ask(line, data, seconds, count)

    def write(self, address: int, data: bytes) -> None:
        """Write into RAM."""
        self._ask(f"write {address} {len(data)}", data)

    def read(self, address: int, count: int) -> bytes:
        """Read RAM or flash; on either bus."""
        return self._ask(f"read {address} {count}", count=count)

    @property
    def text(self) -> str:
        """What USART3 said."""
        return bytes(map(int, self._ask("text").split())).decode("utf-8", "replace")

    @rule("MEAS-S1", "MEAS-S2")
    def run(self, budget: int, seconds: float) -> Run:
        """Go on until a stop of the firmware, a fault, or the end of budget or time."""
        stop, region, pc, lr, *counted = self._ask(f"run {seconds} {budget}", seconds=seconds).decode().split()
        pairs = (pair.split(":") for pair in counted[0].split(",")) if counted else ()
        counts = {int(number): int(count) for number, count in pairs}
        fault = self._fault(int(pc), int(lr))
        if stop == "FAULT" and not fault:
            assert self._process
            raise self._process.died()
        return Run(Stop.FAULT if fault and stop != "HALT" else Stop[stop], counts, int(region), fault)

    @rule("TIM-S5")
    def trace(self) -> Trace:
        """Edges since the last time: Renode writes every block into a file, and NumPy counts them here."""
        if self._watch is None:
            return super().trace()
        self._ask("flush")
        with self._blocks.open("rb") as stream:
            stream.seek(self._noted)
            while len(data := stream.read(CHUNK * BLOCK_BEGUN.itemsize)) >= BLOCK_BEGUN.itemsize:
                begun = np.frombuffer(data, BLOCK_BEGUN, len(data) // BLOCK_BEGUN.itemsize)
                self._noted += begun.nbytes
                self._count(begun)
        return self._watch.take()

    def _count(self, begun: np.ndarray[Any, Any]) -> None:
        """Marks and blocks apart; gg_mark itself belongs to nothing, nor does a block that a hook held: it has none."""
        assert self._watch
        is_mark = begun["address"] == MARK
        kept = (
            ~is_mark
            & (begun["number"] > 0)
            & ~((begun["address"] >= self._mark.start) & (begun["address"] < self._mark.stop))
        )
        before = np.cumsum(kept) - kept
        for i in np.flatnonzero(is_mark).tolist():
            self._watch.mark(int(begun["number"][i]), int(before[i]))
        blocks, which = np.unique(begun[kept], return_inverse=True)
        sizes = np.array([self._bytes(*block) for block in blocks.tolist()], np.int64)
        self._watch.count((blocks["address"].astype(np.int64) << 16 | sizes)[which])

    @functools.lru_cache(maxsize=1 << 16)  # noqa: B019  (it lives as long as Renode does)
    def _bytes(self, address: int, instructions: int) -> int:
        """How long so many instructions are."""
        at = address
        for _ in range(instructions):
            at += 4 if self._elf.load(at, 2)[1] >= 0xE8 else 2
        return at - address

    @property
    def _blocks(self) -> Path:
        return self._folder / "blocks"

    @rule("BOARD-C2")
    def _fault(self, pc: int, lr: int) -> Fault | None:
        """What Renode's log says since it was last read."""
        assert self._process
        new = self._process.said()[self._seen :]
        self._seen += len(new)
        if found := FORBIDDEN.search(new):
            address, pc = int(found["address"], 16), int(found["pc"], 16)
            below = address in BELOW_STACK
            if found["access"] == "Execute":
                what = "execution outside code"
            elif below:
                what = "stack overflow"
            else:
                what = refused(address)
            return Fault(what, pc, lr, address, is_stack_overflow=below)
        if stray := STRAY.search(new):
            return Fault("access outside the memory map", int(stray["pc"], 16), None, int(stray["address"], 16))
        if abort := ABORT.search(new):
            return Fault(f"Renode says: {abort['what'].strip()}", pc, lr)
        return None

    def _region(self) -> int | None:
        """Where the firmware was, from a file that stays when Renode is no more."""
        with contextlib.suppress(OSError, struct.error):
            return int(struct.unpack("<i", (self._folder / "region").read_bytes())[0])
        return None

    def close(self) -> None:
        """Kill Renode with all that it started, and remove its files."""
        if self._process:
            self._process.close()
            self._process = None
        shutil.rmtree(self._folder, ignore_errors=True)


class RenodeProcess:
    """Renode with a platform, and its side of renode/monitor.py: a line is sent, with bytes perhaps, and answered."""

    def __init__(self, folder: Path, commands: Sequence[str], region: Callable[[], int | None] = lambda: None) -> None:
        """``commands`` are the monitor's, run in ``folder``; ``region`` says where the firmware is, for errors."""
        self._region, self._log = region, folder / "log"
        self._stream: io.BufferedRWPair | None = None
        self._socket: socket.socket | None = None
        board = folder / "board"  # a path that needs no quotes: Renode has rules of its own for them
        board.mkdir()
        for name in ("goldgrad.resc", "stm32f746.repl", "monitor.py"):
            shutil.copy(paths.data("renode") / name, board)
        with socket.create_server(("127.0.0.1", 0)) as server:
            command = [_command(), "--console", "--disable-gui", "--plain", "--config", str(folder / "config")]
            for each in (*commands, f"gg_serve {server.getsockname()[1]}"):
                command += ["-e", each]
            with self._log.open("wb") as log:
                self.process = subprocess.Popen(
                    command,
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            try:
                self._socket = self._accept(server)
            except BaseException:
                self.close()
                raise
        self._stream = self._socket.makefile("rwb")

    def _accept(self, server: socket.socket) -> socket.socket:
        server.settimeout(0.2)
        deadline = time.monotonic() + START_SECONDS
        while self.process.poll() is None and time.monotonic() < deadline and "There was an error" not in self.said():
            with contextlib.suppress(TimeoutError):
                return server.accept()[0]
        raise self.died()

    def said(self) -> str:
        """Its log so far."""
        return self._log.read_text(errors="replace")

    def ask(self, line: str, data: bytes = b"", seconds: float = 0.0, count: int | None = None) -> bytes:
        """Send a line and ``data``; the answer, of ``count`` bytes or a line, for which Renode may need ``seconds``."""
        if not self._stream or not self._socket:
            raise EmulatorDied("renode is closed; start it again")
        try:
            self._stream.write(line.encode() + b"\n" + data)
            self._stream.flush()
            self._socket.settimeout(seconds + GRACE_SECONDS)
            answer = self._stream.readline() if count is None else self._stream.read(count)
        except OSError:
            raise self.died() from None
        if not answer.endswith(b"\n") if count is None else len(answer) < count:
            raise self.died()
        return answer

    def died(self) -> EmulatorDied:
        """The error that says how."""
        status = "stopped answering"
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = f"ended with {self.process.wait(timeout=0.5)}"
        lines = [line.strip() for line in self.said().splitlines()]
        wrong = [i for i, line in enumerate(lines) if "[ERROR]" in line or "There was an error" in line]
        reason = f": {' '.join(lines[wrong[0] : wrong[0] + 2])}" if wrong else ""
        error = EmulatorDied(f"renode {status}{reason}")
        error.region = self._region()
        return error

    def close(self) -> None:
        """Kill it with all that it started."""
        for each in (self._stream, self._socket):
            if each:
                with contextlib.suppress(OSError):
                    each.close()
        self._stream = self._socket = None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def _command() -> str:
    """Renode's launcher, or "" if there is none."""
    return shutil.which(str(Path(os.environ.get("RENODE_ROOT", ""), "renode"))) or ""


@functools.cache
def _says(command: str) -> str:
    """The version, or the first line of the complaint, on one line."""
    try:
        run = subprocess.run([command, "--version"], capture_output=True, text=True, check=False, timeout=START_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as fault:
        return " ".join(str(fault).split())
    lines = [" ".join(line.split()) for line in (run.stdout or run.stderr).splitlines() if line.strip()]
    return ", ".join(lines[:2]) or "no answer"
