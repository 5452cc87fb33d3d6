"""Compile every kernel with every compiler at hand, warnings being errors, and look at what the objects need.

``python kernels_c/python/check_c.py`` prints a line a compiler and exits with 1 if one found a fault.
A board has no C library: objects for Cortex-M7 may want memcpy, memmove and memset, which compilers call on
their own, exp32 and log32, and nothing else, so fmaf must have become an instruction. No object may hold data that
can be written.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from compilers import COMPILERS, CORTEX_M7, HEADERS, SOURCES, Compiler
from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile

STRICT = ("-Wall", "-Wextra", "-Wconversion", "-Werror")
COMPILERS_CALL = {"memcpy", "memmove", "memset"}
KERNELS_CALL = {"gg_exp32", "gg_log32"}  # goldgrad/numerics.h
OWN = ("gg_m7_", "gg_portable_", "gg_conv2d_forward", "gg_conv2d_vjp_x", "gg_add_vjp_x")
"""What kernels for a Cortex-M7 share, and fall back upon (ABI-S5)."""


def check(compiler: Compiler, sources: list[Path], headers: bool = True) -> list[str]:
    """Give the faults that ``compiler`` finds in ``sources``, and in each header when no other stands before it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        alone = {folder / f"only_{header.stem}.c": header for header in HEADERS if headers}
        for source, header in alone.items():
            source.write_text(f'#include "goldgrad/{header.name}"\ntypedef int not_empty;\n')
        return [fault for source in [*sources, *alone] for fault in _check_source(compiler, source, folder)]


def _check_source(compiler: Compiler, source: Path, folder: Path) -> Iterator[str]:
    target = folder / f"{source.stem}.o"
    run = compiler(*STRICT, "-c", source, "-o", target)
    if run.returncode:
        yield run.stderr.strip() or f"{source.name}: {compiler.name} exits with {run.returncode}"
        return
    with target.open("rb") as stream:
        if stream.read(4) != b"\x7fELF":  # not so on macOS
            return
        elf = ELFFile(stream)
        symbols = elf.get_section_by_name(".symtab").iter_symbols()
        wanted = {symbol.name for symbol in symbols if symbol["st_shndx"] == "SHN_UNDEF" and symbol.name}
        absent = {name for name in wanted - COMPILERS_CALL - KERNELS_CALL if not name.startswith(OWN)}
        if compiler.board and absent:
            yield f"{source.name}: wants {', '.join(sorted(absent))}, which no board has"
        for section in elf.iter_sections():
            writable = section["sh_flags"] & SH_FLAGS.SHF_WRITE and section["sh_flags"] & SH_FLAGS.SHF_ALLOC
            if writable and section["sh_size"]:
                yield f"{source.name}: {section['sh_size']} bytes of {section.name}; kernels have no globals"


def main() -> int:
    """Run every compiler that is here."""
    failed = False
    for compiler in COMPILERS:
        if compiler.missing:
            print(f"{compiler.name}: not run, {compiler.missing}")
            continue
        sources = [*SOURCES, *CORTEX_M7] if compiler.board else SOURCES
        faults = check(compiler, sources)
        failed = failed or bool(faults)
        print(f"{compiler.name}: {len(sources)} kernels, {len(faults) or 'no'} faults", flush=True)
        print(*faults, sep="\n", end="\n" if faults else "")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
