"""What a training step costs on the board (specs/measurement.md)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from ..rules import rule
from .board import Board
from .elf import Elf
from .program import BETWEEN, FIRMWARE


@dataclass(frozen=True)
class RegionCount:
    """Instructions of an operator."""

    name: str
    op: str
    layer: str
    instructions: int


@dataclass(frozen=True)
class Sram:
    """Bytes of RAM (MEAS-S5)."""

    arena: int
    scratch: int
    stack: int
    data: int
    bss: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.arena + self.scratch + self.stack + self.data + self.bss


@dataclass(frozen=True)
class Flash:
    """Bytes of flash (MEAS-S6)."""

    text: int
    """With the vectors, without what runs in ITCM."""
    itcm: int
    """The image of the code in ITCM, which takes as much there."""
    rodata: int
    data: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.text + self.itcm + self.rodata + self.data


@dataclass(frozen=True)
class Measurement:
    """What one or several steps cost, and what the program takes."""

    steps: int
    instructions: int
    """Of all steps; between operators included, the firmware around them not."""
    regions: tuple[RegionCount, ...]
    between: int
    sram: Sram
    flash: Flash
    emulator: str

    def as_json(self) -> dict[str, Any]:
        """Plain values, totals included."""
        found = asdict(self)
        found["sram"]["total"], found["flash"]["total"] = self.sram.total, self.flash.total
        return found


@rule("MEAS-S6")
def flash_of(elf: Elf) -> Flash:
    """Flash by section."""
    vectors, text, *images = (elf.section_bytes(name) for name in (".vectors", ".text", ".itcm", ".rodata", ".data"))
    return Flash(vectors + text, *images)


@rule("MEAS-S5")
def sram_of(elf: Elf, stack: int) -> Sram:
    """RAM by use, with the measured ``stack``."""
    arena, scratch, data, bss = (elf.section_bytes(name) for name in (".arena", ".scratch", ".data", ".bss"))
    return Sram(arena, scratch, stack, data, bss)


@rule("MEAS-S3")
def measure(board: Board, steps: int = 1, before: Callable[[int], None] | None = None) -> Measurement:
    """Run ``steps`` training steps and say what they cost; ``before(i)`` fills the inputs of step i."""
    counts: Counter[int] = Counter()
    for i in range(steps):
        if before:
            before(i)
        board.step()
        counts.update(board.instructions)
    return measurement(board, counts, steps)


def measurement(board: Board, counts: Counter[int], steps: int, stack: int | None = None) -> Measurement:
    """What ``counts``, gathered over ``steps`` steps, come to; ``stack`` is its high-water, if that is known better."""
    regions = tuple(
        RegionCount(region.name, region.op, region.layer, counts[i]) for i, region in enumerate(board.program.regions)
    )
    return Measurement(
        steps=steps,
        instructions=counts.total() - counts[FIRMWARE],
        regions=regions,
        between=counts[BETWEEN],
        sram=sram_of(board.elf, board.stack_high_water() if stack is None else stack),
        flash=flash_of(board.elf),
        emulator=board.emulator.name,
    )
