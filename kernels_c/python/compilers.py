"""The C compilers that the project knows, and how the kernels are compiled by hand with one of them.

``python kernels_c/python/compilers.py kernels.so`` makes a shared library of the portable kernels, which
``GOLDGRAD_KERNELS_LIB=kernels.so`` puts in the place of the package's own.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HEADERS = sorted((ROOT / "include" / "goldgrad").glob("*.h"))
SCRATCH = ROOT / "src" / "cortex_m7" / "scratch.c"
SOURCES = [*sorted((ROOT / "src" / "portable").glob("*.c")), SCRATCH]
CORTEX_M7 = sorted(set((ROOT / "src" / "cortex_m7").glob("*.c")) - {SCRATCH})
"""What only a Cortex-M7 can run (ABI-S5)."""
FLAGS = ("-std=c11", "-O2", "-ffp-contract=off", "-fno-fast-math", "-fno-math-errno", f"-I{ROOT / 'include'}")


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

    def __call__(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run it on ``arguments``, which come after the flags that give every compiler the same bits."""
        command = [*self.command, *FLAGS, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)


ZIG = (sys.executable, "-m", "ziglang", "cc")
ZIG_CORTEX_M7 = ("-target", "thumb-freestanding-eabihf", "-mcpu=cortex_m7+fp_armv8d16sp", "-fno-unwind-tables")
GCC_CORTEX_M7 = ("-mcpu=cortex-m7", "-mthumb", "-mfpu=fpv5-sp-d16", "-mfloat-abi=hard", "-ffreestanding")
COMPILERS = (
    Compiler("gcc, this machine", ("gcc",)),
    Compiler("clang, this machine", ("clang",)),
    Compiler("zig cc, this machine", ZIG),
    Compiler("zig cc, cortex-m7", (*ZIG, *ZIG_CORTEX_M7), board=True),
    Compiler("arm-none-eabi-gcc, cortex-m7", ("arm-none-eabi-gcc", *GCC_CORTEX_M7), board=True),
)


def shared_library(compiler: Compiler, target: Path, *flags: str, sources: list[Path] = SOURCES) -> None:
    """Compile ``sources`` into the shared library ``target``."""
    target.parent.mkdir(parents=True, exist_ok=True)
    run = compiler("-shared", "-fPIC", *flags, *sources, "-o", target, "-lm")
    if run.returncode:
        sys.exit(f"{compiler.name}: {run.stderr.strip()}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    here = next(compiler for compiler in COMPILERS if not compiler.board and not compiler.missing)
    shared_library(here, Path(sys.argv[1]), "-fno-sanitize=undefined", *sys.argv[2:])
