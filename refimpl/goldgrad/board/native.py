"""Small C parts of the emulators, compiled for this machine when they are first wanted."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

from .toolchain import host_toolchains


@functools.cache
def native_library(name: str) -> Path | None:
    """The shared library of emulators/``name``; None where this machine has no compiler that can make it."""
    source = Path(__file__).parent / "emulators" / name
    for toolchain in host_toolchains():
        if toolchain.missing:
            continue
        target = _folder() / source.with_suffix(".so").name
        run = toolchain.run("-shared", "-fPIC", "-fno-sanitize=undefined", source, "-o", target)
        if run.returncode == 0:
            return target
    return None


@functools.cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="goldgrad-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
