"""What a program says of itself: the tables of renode/firmware/program.h, read from the ELF."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ..rules import rule
from .elf import Elf
from .errors import WrongImage

VERSION = 1
KINDS = ("input", "rate", "output", "parameter")
BETWEEN, FIRMWARE = -1, -2
"""Regions that are no operator."""


@dataclass(frozen=True)
class Buffer:
    """Memory that the host may touch between steps."""

    name: str
    address: int
    size: int
    kind: str


@dataclass(frozen=True)
class Region:
    """An operator that instructions are counted for."""

    name: str
    op: str
    layer: str


@dataclass(frozen=True)
class Program:
    """The generated program in an ELF."""

    name: str
    buffers: tuple[Buffer, ...]
    regions: tuple[Region, ...]
    arena: int
    arena_bytes: int
    scratch: int
    scratch_bytes: int

    @classmethod
    @rule("BOARD-S1")
    def of(cls, elf: Elf) -> Program:
        """Read ``gg_program``."""
        at = elf.symbol("gg_program").address
        words = struct.unpack("<10I", elf.load(at, 40))
        version, name, buffers, buffer_count, regions, region_count, *memory = words
        if version != VERSION:
            raise WrongImage(f"{elf.path} has a program of version {version}, not {VERSION}; build it anew")
        return cls(
            elf.text(name),
            tuple(_buffer(elf, buffers + 16 * i) for i in range(buffer_count)),
            tuple(_region(elf, regions + 12 * i) for i in range(region_count)),
            *memory,
        )

    def buffer(self, name: str) -> Buffer:
        """Look a buffer up by name."""
        for buffer in self.buffers:
            if buffer.name == name:
                return buffer
        raise WrongImage(f"{self.name} has no buffer {name!r}; it has {', '.join(b.name for b in self.buffers)}")

    def region_name(self, region: int) -> str:
        """How messages and tables call a region."""
        if 0 <= region < len(self.regions):
            return self.regions[region].name
        return "between operators" if region == BETWEEN else "firmware"


def _buffer(elf: Elf, address: int) -> Buffer:
    name, where, size, kind = struct.unpack("<4I", elf.load(address, 16))
    return Buffer(elf.text(name), where, size, KINDS[kind])


def _region(elf: Elf, address: int) -> Region:
    name, op, layer = struct.unpack("<3I", elf.load(address, 12))
    return Region(elf.text(name), elf.text(op), elf.text(layer))
