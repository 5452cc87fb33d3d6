"""Compile every kernel with every compiler at hand, warnings being errors, and look at what the objects need.

``python kernels_c/python/check_c.py`` prints a line a compiler and exits with 1 if one found a fault.
A board has no C library: objects for Cortex-M7 may want memcpy, memmove and memset, which compilers call on
their own, and nothing else, so fmaf must have become an instruction. No object may hold data that is not constant.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from elftools.elf.elffile import ELFFile

ROOT = Path(__file__).resolve().parents[1]
HEADERS = sorted((ROOT / "include" / "goldgrad").glob("*.h"))
SOURCES = sorted((ROOT / "src" / "portable").glob("*.c"))
FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror")
FLAGS += ("-ffp-contract=off", "-fno-fast-math", "-fno-math-errno", f"-I{ROOT / 'include'}")
CORTEX_M7 = ("-mcpu=cortex-m7", "-mthumb", "-mfpu=fpv5-sp-d16", "-mfloat-abi=hard", "-ffreestanding")
ZIG_CORTEX_M7 = ("-target", "thumb-freestanding-eabihf", "-mcpu=cortex_m7+fp_armv8d16sp", "-fno-unwind-tables")
COMPILERS_CALL = {"memcpy", "memmove", "memset"}


@dataclass(frozen=True)
class Compiler:
    """A compiler with the flags of its target; ``missing`` says why it cannot run here."""

    name: str
    command: tuple[str, ...]
    board: bool = False

    @property
    def missing(self) -> str | None:
        if self.command[1:3] == ("-m", "ziglang"):
            return None if importlib.util.find_spec("ziglang") else "ziglang is not installed"
        return None if shutil.which(self.command[0]) else f"{self.command[0]} is not on PATH"


ZIG = (sys.executable, "-m", "ziglang", "cc")
COMPILERS = (
    Compiler("gcc, this machine", ("gcc",)),
    Compiler("clang, this machine", ("clang",)),
    Compiler("zig cc, this machine", ZIG),
    Compiler("zig cc, cortex-m7", (*ZIG, *ZIG_CORTEX_M7), board=True),
    Compiler("arm-none-eabi-gcc, cortex-m7", ("arm-none-eabi-gcc", *CORTEX_M7), board=True),
)


def check(compiler: Compiler, sources: list[Path], headers: bool = True) -> list[str]:
    """Give the faults of ``sources``, and of each header alone, as ``compiler`` sees them: a text each."""
    with tempfile.TemporaryDirectory() as folder:
        alone = []
        for header in HEADERS if headers else []:  # a header must need no other before it
            source = Path(folder, f"only_{header.stem}.c")
            source.write_text(f'#include "goldgrad/{header.name}"\ntypedef int not_empty;\n')
            alone.append(source)
        return [fault for source in [*sources, *alone] for fault in _check_source(compiler, source, Path(folder))]


def _check_source(compiler: Compiler, source: Path, folder: Path) -> list[str]:
    target = folder / f"{source.stem}.o"
    command = [*compiler.command, *FLAGS, "-c", str(source), "-o", str(target)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        return [run.stderr.strip() or f"{source.name}: {compiler.name} exits with {run.returncode}"]
    with target.open("rb") as stream:
        if stream.read(4) != b"\x7fELF":
            return []
        return list(_check_object(compiler, source, ELFFile(stream)))


def _check_object(compiler: Compiler, source: Path, elf: ELFFile) -> list[str]:
    faults = []
    symbols = elf.get_section_by_name(".symtab").iter_symbols()
    wanted = {symbol.name for symbol in symbols if symbol["st_shndx"] == "SHN_UNDEF" and symbol.name}
    if compiler.board and wanted - COMPILERS_CALL:
        faults.append(f"{source.name}: wants {', '.join(sorted(wanted - COMPILERS_CALL))}, which no board has")
    for section in elf.iter_sections():
        if section["sh_flags"] & 1 and section["sh_flags"] & 2 and section["sh_size"]:  # written to, and allocated
            faults.append(f"{source.name}: has {section['sh_size']} bytes of {section.name}; kernels have no globals")
    return faults


def main() -> int:
    """Run every compiler that is here."""
    failed = False
    for compiler in COMPILERS:
        if compiler.missing:
            print(f"{compiler.name}: not run, {compiler.missing}")
            continue
        faults = check(compiler, SOURCES)
        failed = failed or bool(faults)
        print(f"{compiler.name}: {f'{len(faults)} faults' if faults else f'{len(SOURCES)} kernels without a fault'}")
        print(*faults, sep="\n", end="\n" if faults else "")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
