"""Emulators of the board behind one interface, and which of them are here.

An emulator is given an :class:`~goldgrad.board.elf.Elf` and stands at reset, the ELF in flash.  ``run`` goes on from
where it stands until the firmware waits for a command (the first instruction of ``gg_board_wait``, not yet executed),
stops for good (that of ``gg_board_halt``), or something ends it from outside.  Between runs ``read`` and ``write``
reach all memory of :mod:`~goldgrad.board.memory_map`.  What a backend owes:

- every instruction between two stops is counted once, one that an IT block skips too, for the region of the last mark;
  those of ``gg_mark`` itself are not counted at all (MEAS-S1, MEAS-S2).  ``gg_mark`` gets the region in R0, stores it
  in the mailbox, and reads byte region + 2 of flash by its only load: whatever a backend sees, it sees the region;
- the first instruction of ``gg_board_wait`` counts when it is left, not when it is reached;
- a write to flash, an access outside the map and a stack that leaves RAM end the run: as ``Stop.FAULT`` where the
  emulator finds it by its own means, as ``Stop.HALT`` where the firmware's MPU does and its handler fills the mailbox;
- ``run`` returns within ``seconds`` and about ``budget`` instructions, whatever the firmware does (``Stop.TIME``,
  ``Stop.BUDGET``), and raises :class:`~goldgrad.board.errors.EmulatorDied` if the emulator does not live so long.

To add one: a module here with a class, and its place in ``BACKENDS``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from importlib import import_module
from types import TracebackType
from typing import ClassVar, Self

from ...rules import rule
from ..elf import Elf
from ..errors import BoardError, EmulatorMissing
from ..timing.edges import Trace

BACKENDS = {"unicorn": "Unicorn", "qemu": "Qemu", "renode": "Renode"}
"""Modules of this package and the class in each; the first that is here is used where none is named."""


EDGES, MEMORY = "edges", "memory"
"""What can be watched for the timing model; memory includes edges."""


class Stop(Enum):
    """Why a run ended."""

    WAIT = "the firmware waits for a command"
    HALT = "the firmware stopped for good"
    FAULT = "the emulator found a fault"
    BUDGET = "the instructions granted are used up"
    TIME = "the time granted is used up"


@dataclass(frozen=True)
class Fault:
    """What went wrong, and where as far as is known."""

    what: str
    pc: int | None = None
    lr: int | None = None
    address: int | None = None
    cfsr: int | None = None
    is_stack_overflow: bool = False


@dataclass(frozen=True)
class Run:
    """One run: why it ended, and instructions by region since the run before ended."""

    stop: Stop
    instructions: Mapping[int, int]
    region: int
    """Where it ended."""
    fault: Fault | None = None


class Emulator(ABC):
    """The board, emulated; also a context manager that closes it."""

    name: ClassVar[str]
    watches: ClassVar[tuple[str, ...]] = ()
    """What it can count for the timing model: EDGES, MEMORY, both or nothing."""

    @classmethod
    @abstractmethod
    def missing(cls) -> str | None:
        """Why it cannot be used here, or None."""

    @classmethod
    @abstractmethod
    def version(cls) -> str:
        """What exactly would run; asked only if nothing is missing."""

    @abstractmethod
    def __init__(self, elf: Elf, watch: str | None = None) -> None:
        """Load ``elf`` and stand at reset; ``watch`` EDGES or MEMORY counts these too, for :meth:`trace`."""

    @abstractmethod
    def write(self, address: int, data: bytes) -> None:
        """Write into RAM."""

    @abstractmethod
    def read(self, address: int, count: int) -> bytes:
        """Read RAM or flash."""

    @abstractmethod
    def run(self, budget: int, seconds: float) -> Run:
        """Go on; see above."""

    @abstractmethod
    def close(self) -> None:
        """End it; may be called twice."""

    def trace(self) -> Trace:
        """Give what was watched since the last time (TIM-S5)."""
        raise BoardError(f"{self.name} counts no edges; use {' or '.join(watching(EDGES))}")

    @property
    def text(self) -> str:
        """What the UART said so far; empty where the emulated machine has no such UART."""
        return ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def watching(what: str) -> list[str]:
    """The names of those that can count ``what`` for the timing model, here or not."""
    return [name for name in BACKENDS if what in backend(name).watches]


@rule("TIM-C1")
def can_watch(emulator: type[Emulator], what: str | None) -> None:
    """Raise if an emulator cannot count ``what`` for the timing model; the error names those that can."""
    if what is not None and what not in emulator.watches:
        others = " or ".join(watching(what))
        raise BoardError(f"{emulator.name} cannot count {what} for the timing model; use --emulator {others}")


def backend(name: str) -> type[Emulator]:
    """The class behind a name, present or not."""
    if name not in BACKENDS:
        raise BoardError(f"there is no emulator {name!r}; use {', '.join(BACKENDS)}")
    found: type[Emulator] = getattr(import_module(f"{__name__}.{name}"), BACKENDS[name])
    return found


@rule("BOARD-C5")
def find_emulator(name: str | None = None) -> type[Emulator]:
    """The emulator called ``name``, or the first that is here; :class:`EmulatorMissing` says what to install."""
    reasons = []
    for candidate in BACKENDS if name is None else [name]:
        found = backend(candidate)
        reason = found.missing()
        if reason is None:
            return found
        reasons.append(f"{candidate}: {reason}")
    raise EmulatorMissing(f"no emulator: {'; '.join(reasons)}")


def present() -> list[str]:
    """The names of those that are here."""
    return [name for name in BACKENDS if backend(name).missing() is None]
