"""Small C parts of the emulators, compiled for this machine when they are first wanted."""

from __future__ import annotations

import functools
from pathlib import Path

from .. import paths
from .toolchain import host_toolchains


@functools.cache
def native_library(name: str) -> Path | None:
    """The shared library of emulators/``name``; None where this machine has no compiler that can make it."""
    source = Path(__file__).parent / "emulators" / name
    for toolchain in host_toolchains():
        if toolchain.missing:
            continue
        target = paths.passing() / source.with_suffix(".so").name
        run = toolchain.run("-shared", "-fPIC", "-fno-sanitize=undefined", source, "-o", target)
        if run.returncode == 0:
            return target
    return None
