"""What can go wrong on the board, a class each; all end the command line with 3."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import GoldgradError


class BoardError(GoldgradError):
    """A fault of firmware, toolchain or emulator rather than of what the user gave.  The CLI exits with 3."""

    exit_code = 3


class BuildError(BoardError):
    """A compiler is missing, or refuses the program."""


class DoesNotFit(BoardError):
    """A region of the board's memory overflows; ``regions`` gives for each by how many bytes."""

    def __init__(self, message: str, regions: Mapping[str, int]) -> None:
        super().__init__(message)
        self.regions = dict(regions)


class WrongImage(BoardError):
    """A file that is no ELF, or an ELF for another core, or without the firmware."""


class EmulatorMissing(BoardError):
    """The emulator asked for is not installed."""


class EmulatorDied(BoardError):
    """The emulator ended, or stopped answering, before it had to; in ``region`` if that is known."""

    region: int | None = None


class FirmwareError(BoardError):
    """Something went wrong in firmware while it ran; ``region`` names the operator."""

    def __init__(self, message: str, region: str) -> None:
        super().__init__(message)
        self.region = region


class Trap(FirmwareError):
    """An exception: access outside the map, write to flash, undefined instruction."""


class StackOverflow(FirmwareError):
    """The stack grew below RAM."""


class Hang(FirmwareError):
    """The instructions granted were used up, or the time."""
