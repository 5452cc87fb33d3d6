"""The part of the GDB remote protocol that driving an emulator takes, over a process's standard streams."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from typing import IO

from ..errors import EmulatorDied

CHUNK = 1024
"""Bytes of memory a packet; stubs take at least 4096 characters."""


class Remote:
    """A stub behind two pipes.  ``died`` says what to raise when it is gone."""

    def __init__(self, to: IO[bytes], of: IO[bytes], died: Callable[[], EmulatorDied], seconds: float = 20.0) -> None:
        """Shake hands; every answer but a stop must come within ``seconds``."""
        self._to, self._of, self._died, self._seconds = to, of, died, seconds
        self._pending = b""
        self._acknowledges = True
        if self._ask("QStartNoAckMode") == "OK":
            self._acknowledges = False
        self._ask("qXfer:features:read:target.xml:0,fff")  # QEMU gives single registers to those who asked for this

    def read(self, address: int, count: int) -> bytes:
        """Read memory."""
        found = bytearray()
        while len(found) < count:
            length = min(CHUNK, count - len(found))
            found += bytes.fromhex(self._good(f"m{address + len(found):x},{length:x}"))
        return bytes(found)

    def write(self, address: int, data: bytes) -> None:
        """Write memory."""
        for at in range(0, len(data), CHUNK):
            part = data[at : at + CHUNK]
            self._good(f"M{address + at:x},{len(part):x}:{part.hex()}")

    def register(self, number: int) -> int:
        """Read a 32-bit register."""
        return int.from_bytes(bytes.fromhex(self._good(f"p{number:x}")), "little")

    def set_register(self, number: int, value: int) -> None:
        """Write a 32-bit register."""
        self._good(f"P{number:x}={value.to_bytes(4, 'little').hex()}")

    def breakpoint(self, address: int) -> None:
        """Stop before the Thumb instruction at ``address``."""
        self._good(f"Z0,{address:x},2")

    def step(self) -> None:
        """Execute one instruction."""
        self._send("s")
        self._receive(time.monotonic() + self._seconds)

    def go(self, seconds: float, enough: Callable[[], bool]) -> bool:
        """Run until a breakpoint: True.  False if ``seconds`` passed or ``enough()`` before: it is then interrupted."""
        self._send("c")
        deadline = time.monotonic() + seconds
        while True:
            answer = self._receive(min(deadline, time.monotonic() + 0.02), may_wait=True)
            if answer is not None:
                return True
            if time.monotonic() >= deadline or enough():
                self._write(b"\x03")
                self._receive(time.monotonic() + self._seconds)
                return False

    def _good(self, packet: str) -> str:
        answer = self._ask(packet)
        if not answer or (answer.startswith("E") and len(answer) == 3):
            raise EmulatorDied(f"the emulator refuses {packet[:40]!r} ({answer or 'unknown'}); run it again")
        return answer

    def _ask(self, packet: str) -> str:
        self._send(packet)
        answer = self._receive(time.monotonic() + self._seconds)
        assert answer is not None
        return answer

    def _send(self, packet: str) -> None:
        data = packet.encode()
        self._write(b"$%s#%02x" % (data, sum(data) % 256))

    def _write(self, data: bytes) -> None:
        try:
            self._to.write(data)
            self._to.flush()
        except OSError:
            raise self._died() from None

    def _receive(self, deadline: float, may_wait: bool = False) -> str | None:
        """Give the next packet; None at the deadline if it ``may_wait``, else the stub counts as dead."""
        while True:
            start = self._pending.find(b"$")
            end = self._pending.find(b"#", start)
            if start >= 0 and end >= 0 and len(self._pending) >= end + 3:
                packet, self._pending = self._pending[start + 1 : end], self._pending[end + 3 :]
                if self._acknowledges:
                    self._write(b"+")
                return packet.decode("ascii", "replace")
            ready, _, _ = select.select([self._of], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                if may_wait:
                    return None
                raise self._died()
            data = os.read(self._of.fileno(), 65536)
            if not data:
                raise self._died()
            self._pending += data
