"""How cffi binds the portable kernels: into ``goldgrad._kernels`` (API mode), and types alone for any library.

The headers under ``include/`` are both the contract and the cdef: they hold nothing but structs,
prototypes and comments.
"""

from __future__ import annotations

import platform
from pathlib import Path

from cffi import FFI

ROOT = Path("kernels_c")  # the build runs in the project's root, and wants relative sources
HEADERS = sorted((ROOT / "include" / "goldgrad").glob("*.h"))
SOURCES = [*sorted((ROOT / "src" / "portable").glob("*.c")), ROOT / "src" / "cortex_m7" / "scratch.c"]
FLAGS = [
    "-std=c11",
    "-O2",
    "-ffp-contract=off",
    "-fno-fast-math",
    "-fno-math-errno",
    "-fno-sanitize=undefined",  # zig cc would add it
]


def _fma_flags() -> list[str]:
    """-mfma where this machine's x86 has it: the same bits as the library's fmaf, much sooner."""
    cpuinfo = Path("/proc/cpuinfo")
    if platform.machine() == "x86_64" and cpuinfo.exists() and " fma " in cpuinfo.read_text():
        return ["-mfma"]
    return []


def _declarations(header: Path) -> str:
    return "\n".join(line for line in header.read_text().splitlines() if not line.startswith("#"))


def _ordered(headers: list[Path]) -> list[Path]:
    """Headers with those they include first."""
    done: list[Path] = []

    def visit(header: Path) -> None:
        for other in headers:
            if other not in done and other != header and f'"goldgrad/{other.name}"' in header.read_text():
                visit(other)
        if header not in done:
            done.append(header)

    for header in headers:
        visit(header)
    return done


def _builder(module: str, source: str | None) -> FFI:
    builder = FFI()
    builder.cdef("\n".join(_declarations(header) for header in _ordered(HEADERS)))
    builder.set_source(module, source, **(EXTENSION if source else {}))
    return builder


EXTENSION = {
    "sources": [str(source) for source in SOURCES],
    "include_dirs": [str(ROOT / "include")],
    "depends": [str(path) for path in ROOT.rglob("*.h")],
    "extra_compile_args": FLAGS + _fma_flags(),
    "libraries": [] if platform.system() == "Windows" else ["m"],
}
api = _builder("goldgrad._kernels", "\n".join(f'#include "goldgrad/{header.name}"' for header in HEADERS))
abi = _builder("goldgrad._kernels_abi", None)
