"""Compilers for the board: arm-none-eabi-gcc if it is on PATH, else zig cc, which comes from PyPI.

Commands and flags are those of kernels_c/python/compilers.py, which is where kernels are compiled by hand.
"""

from __future__ import annotations

import functools
import importlib.util
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from .. import paths
from .errors import BuildError

STRICT = ("-Wall", "-Wextra", "-Wconversion", "-Werror")
BOARD = ("-ffunction-sections", "-fdata-sections", "-fno-sanitize=undefined", "-fno-asynchronous-unwind-tables")
NAMES = {"gcc": "arm-none-eabi-gcc", "zig": "zig cc"}
"""What a user calls them, and how compilers.py does."""


@functools.cache
def compilers() -> ModuleType:
    """The module kernels_c/python/compilers.py, from wherever the kernels' sources are."""
    path = paths.data("kernels_c") / "python" / "compilers.py"
    spec = importlib.util.spec_from_file_location("goldgrad_compilers", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class Toolchain:
    """A compiler for the board, or for this machine; ``compiler`` is a Compiler of compilers.py."""

    name: str
    compiler: Any

    @property
    def missing(self) -> str | None:
        """Why it cannot be used here."""
        reason: str | None = self.compiler.missing
        return reason

    @functools.cached_property
    def version(self) -> str:
        """The first line of what it says of itself."""
        run = subprocess.run([*self.compiler.command, "--version"], capture_output=True, text=True, check=False)
        return (run.stdout.splitlines() or ["unknown"])[0]

    @property
    def flags(self) -> tuple[str, ...]:
        """Every flag that decides what code it makes, without places."""
        module, command = compilers(), self.compiler.command
        own = command[len(module.ZIG) :] if command[: len(module.ZIG)] == module.ZIG else command[1:]
        return tuple(flag for flag in (*own, *module.FLAGS, *BOARD) if not flag.startswith("-I"))

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Compile or link."""
        run: subprocess.CompletedProcess[str] = self.compiler(*arguments)
        return run


def toolchains() -> tuple[Toolchain, ...]:
    """Those for the board, the preferred one first, found or not."""
    known = {compiler.name: compiler for compiler in compilers().COMPILERS if compiler.board}
    return tuple(Toolchain(short, known[f"{name}, cortex-m7"]) for short, name in NAMES.items())


def find_toolchain(name: str | None = None) -> Toolchain:
    """The toolchain called ``name`` (gcc or zig), or the first that is here."""
    if name is not None and name not in NAMES:
        raise BuildError(f"there is no toolchain {name!r}; use {' or '.join(NAMES)}")
    wanted = [toolchain for toolchain in toolchains() if name in (None, toolchain.name)]
    for toolchain in wanted:
        if not toolchain.missing:
            return toolchain
    reasons = "; ".join(str(toolchain.missing) for toolchain in wanted)
    raise BuildError(f"no compiler for the board: {reasons}; pip install ziglang, or install gcc-arm-none-eabi")


def host_toolchains() -> tuple[Toolchain, ...]:
    """Those for this machine, found or not."""
    return tuple(Toolchain(c.name.partition(",")[0], c) for c in compilers().COMPILERS if not c.board)
