"""What an ELF for the board holds: segments, symbols, sections; and a refusal of ELFs for anything else."""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..rules import rule
from .errors import BoardError, WrongImage
from .memory_map import FLASH, FLASH_AXI

try:
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile
    from elftools.elf.sections import ARMAttributesSection, SymbolTableSection
except ModuleNotFoundError:
    raise BoardError("pyelftools is not installed; pip install 'goldgrad[board]'") from None

CORE = "Cortex-M7"
ARCHITECTURES = {11: "ARMv6-M", 12: "ARMv6S-M", 13: "ARMv7E-M"}
"""Tag_CPU_arch of what a Cortex-M7 runs; ARMv7-M is 10 with profile M."""
WRITE, ALLOC, EXECINSTR = 1, 2, 4
"""Flags of a section: SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR."""
REMEDY = f"give an ELF for {CORE}"


@dataclass(frozen=True)
class Segment:
    """Bytes of the file that lie at ``address`` while the program runs, and are loaded at ``load_address``."""

    address: int
    load_address: int
    data: bytes


@dataclass(frozen=True)
class Symbol:
    """A function or object; bit 0 of a Thumb function's address is not part of ``address``."""

    name: str
    address: int
    size: int
    is_function: bool


@dataclass(frozen=True)
class Section:
    """A section that takes memory."""

    name: str
    address: int
    size: int
    in_file: bool
    """Whether it has an image in flash."""
    writable: bool = True


@dataclass(frozen=True)
class Elf:
    """An executable for a Cortex-M7."""

    path: Path
    entry: int
    segments: tuple[Segment, ...]
    symbols: Mapping[str, Symbol]
    sections: tuple[Section, ...]
    compiler: str = ""
    """What the compilers and the linker left of themselves, or ""."""

    @classmethod
    @rule("BOARD-C1")
    def read(cls, path: Path) -> Elf:
        """Read a file; :class:`WrongImage` if it is no executable for this core."""
        try:
            with path.open("rb") as stream:
                return cls._of(path, ELFFile(stream))
        except OSError as fault:
            raise WrongImage(f"{path} cannot be read: {fault.strerror}; {REMEDY}") from None
        except (ELFError, ValueError, UnicodeDecodeError):
            raise WrongImage(f"{path} is no ELF file; {REMEDY}") from None

    @classmethod
    def _of(cls, path: Path, file: ELFFile) -> Elf:
        _check_core(path, file)
        segments = tuple(
            Segment(s["p_vaddr"], s["p_paddr"], s.data())
            for s in file.iter_segments("PT_LOAD")
            if s["p_filesz"] and s["p_memsz"]
        )
        table = file.get_section_by_name(".symtab")
        if not isinstance(table, SymbolTableSection):
            raise WrongImage(f"{path} has no symbols; link it without stripping")
        symbols = {}
        for s in table.iter_symbols():
            if (
                s.name
                and s["st_shndx"] != "SHN_UNDEF"
                and s["st_info"]["type"] in ("STT_FUNC", "STT_OBJECT", "STT_NOTYPE")
            ):
                is_function = s["st_info"]["type"] == "STT_FUNC"
                symbols[s.name] = Symbol(s.name, s["st_value"] & ~int(is_function), s["st_size"], is_function)
        sections = tuple(
            Section(s.name, s["sh_addr"], s["sh_size"], s["sh_type"] != "SHT_NOBITS", bool(s["sh_flags"] & WRITE))
            for s in file.iter_sections()
            if s["sh_flags"] & ALLOC and s["sh_size"]
        )
        comment = file.get_section_by_name(".comment")
        said = comment.data().decode("utf-8", "replace").split("\0") if comment else []
        return cls(path, file["e_entry"], segments, symbols, sections, "; ".join(sorted({s for s in said if s})))

    def symbol(self, name: str) -> Symbol:
        """Look a symbol up by name."""
        if name not in self.symbols:
            raise WrongImage(f"{self.path} has no {name}; build it with goldgrad's firmware")
        return self.symbols[name]

    def section_bytes(self, name: str) -> int:
        """The size of a section, 0 if there is none."""
        return sum(section.size for section in self.sections if section.name == name)

    def load(self, address: int, count: int) -> bytes:
        """``count`` bytes at ``address`` as they are in the file."""
        for segment in self.segments:
            start = address - segment.address
            if start >= 0 and start + count <= len(segment.data):
                return segment.data[start : start + count]
        raise WrongImage(f"{self.path} holds nothing at {address:#010x}; build it anew")

    def word(self, address: int) -> int:
        """The 32-bit word at ``address``."""
        return int.from_bytes(self.load(address, 4), "little")

    def text(self, address: int) -> str:
        """The C string at ``address``; empty for NULL."""
        if address == 0:
            return ""
        found = bytearray()
        while (byte := self.load(address + len(found), 1)) != b"\0":
            found += byte
        return found.decode("utf-8", "replace")

    def flash(self) -> bytes:
        """The image from the start of flash on, as a programmer writes it."""
        image = bytearray()
        for segment in self.segments:
            start = segment.load_address - FLASH_AXI.start
            if not 0 <= start <= FLASH.size - len(segment.data):
                where = f"{segment.load_address:#010x}"
                raise WrongImage(f"{self.path} wants to be loaded at {where}, where the board has no flash; {REMEDY}")
            image.extend(b"\xff" * (start + len(segment.data) - len(image)))
            image[start : start + len(segment.data)] = segment.data
        return bytes(image)

    def function_at(self, address: int) -> str:
        """The function around ``address`` and the distance from its start, or "" if none is."""
        functions = sorted((s.address, s.size, s.name) for s in self.symbols.values() if s.is_function)
        at = bisect.bisect_right(functions, (address, 1 << 32, "")) - 1
        if at < 0 or address >= functions[at][0] + max(functions[at][1], 2):
            return ""
        return f"{functions[at][2]}+{address - functions[at][0]:#x}"


def code_sections(file: Path) -> list[tuple[str, int, int]]:
    """The sections of an object file that hold code: name, bytes, alignment."""
    with file.open("rb") as stream:
        return [
            (s.name, s["sh_size"], max(s["sh_addralign"], 1))
            for s in ELFFile(stream).iter_sections()
            if s["sh_flags"] & EXECINSTR and s["sh_size"]
        ]


def _check_core(path: Path, file: ELFFile) -> None:
    machine = str(file["e_machine"]).removeprefix("EM_")
    if machine != "ARM" or file.elfclass != 32 or not file.little_endian:
        raise WrongImage(f"{path} is for {machine}, {file.elfclass} bits, not for {CORE}; {REMEDY}")
    if file["e_type"] != "ET_EXEC":
        raise WrongImage(f"{path} is not linked; {REMEDY}, linked by renode/firmware/stm32f746.ld")
    attributes = file.get_section_by_name(".ARM.attributes")
    if not isinstance(attributes, ARMAttributesSection):
        return  # assembled by hand: nothing says more
    values = {
        attribute.tag: attribute.value
        for part in attributes.iter_subsections()
        for piece in part.iter_subsubsections()
        for attribute in piece.iter_attributes()
    }
    architecture, profile = values.get("TAG_CPU_ARCH", 13), values.get("TAG_CPU_ARCH_PROFILE", ord("M"))
    is_v7m = architecture == 10 and profile == ord("M")
    if architecture not in ARCHITECTURES and not is_v7m:
        core = values.get("TAG_CPU_NAME") or f"{architecture}, profile {chr(profile)}"
        raise WrongImage(f"{path} is for Arm architecture {core}, not for {CORE}; {REMEDY}")
