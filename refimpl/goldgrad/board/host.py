"""A generated program on this machine: compiled with the kernels into a library, and called like the board."""

from __future__ import annotations

import atexit
import functools
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from cffi import FFI

from .. import paths
from ..numerics import Array
from ..rules import rule
from .build import compiled
from .errors import BuildError
from .toolchain import STRICT, Toolchain, host_toolchains

FLAGS = ("-fPIC", "-fno-sanitize=undefined")
MARKS = """
int32_t gg_marks[1 << 16];
uint32_t gg_mark_count;
void gg_mark(int32_t region) { gg_marks[gg_mark_count++ & 0xffff] = region; }
"""
"""The host counts no instructions, but remembers which regions it went through."""


class HostProgram:
    """A program in this process; buffers by name, as :class:`~goldgrad.board.board.Board` has them."""

    def __init__(self, source: str, toolchain: Toolchain | None = None) -> None:
        """Compile and load ``source``; the compiler's first complaint is a :class:`BuildError`."""
        self._ffi = FFI()
        self._ffi.cdef(_declarations() + "extern int32_t gg_marks[65536]; extern uint32_t gg_mark_count;")
        with tempfile.TemporaryDirectory(prefix="goldgrad-") as folder:
            library = compile_library(source, Path(folder), toolchain)
            self._lib: Any = self._ffi.dlopen(str(library))  # it stays when its file is gone
        table = self._lib.gg_program
        self._buffers = {
            self._ffi.string(b.name).decode(): (b.address, int(b.bytes))
            for b in self._ffi.unpack(table.buffers, table.buffer_count)
        }
        self.arena_bytes, self.scratch_bytes = int(table.arena_bytes), int(table.scratch_bytes)
        self.restart()

    @rule("PROG-S5")
    def restart(self) -> None:
        """Put the parameters back to their first values; all other memory is poison."""
        table = self._lib.gg_program
        for address, size in ((table.arena, table.arena_bytes), (table.scratch, table.scratch_bytes)):
            if size:
                self._ffi.memmove(address, b"\xa5" * size, size)
        self._lib.gg_program_init()

    def marks(self) -> list[int]:
        """The regions that were marked since it was last asked, up to 65,536."""
        count = min(int(self._lib.gg_mark_count), 1 << 16)
        self._lib.gg_mark_count = 0
        return list(self._ffi.unpack(self._lib.gg_marks, count))

    def write(self, name: str, value: Array) -> None:
        """Fill a buffer with an array of its bytes."""
        address, size = self._buffers[name]
        data = np.ascontiguousarray(value).tobytes()
        if len(data) != size:
            raise BuildError(f"{name} has {size} bytes, not {len(data)}; give what the program was made for")
        self._ffi.memmove(address, data, size)

    def read(self, name: str) -> bytes:
        """What a buffer holds."""
        address, size = self._buffers[name]
        return bytes(self._ffi.buffer(self._ffi.cast("uint8_t *", address), size))

    @rule("PROG-S6")
    def step(self, inputs: Mapping[str, Array]) -> None:
        """Write the inputs and rates, then train one step on them."""
        for name, value in inputs.items():
            self.write(name, value)
        self._lib.gg_program_step()


def compile_library(source: str, folder: Path, toolchain: Toolchain | None = None) -> Path:
    """A shared library of the program and the portable kernels, compiled without a warning."""
    toolchain = toolchain or next((t for t in host_toolchains() if not t.missing), None)
    if toolchain is None:
        raise BuildError("no compiler for this machine; pip install ziglang, or install gcc")
    program, library = folder / "program.c", folder / "program.so"
    program.write_text(source + MARKS)
    include = f"-I{paths.data('renode') / 'firmware'}"
    _run(toolchain, "-shared", *FLAGS, *STRICT, include, program, *_kernels(toolchain), "-o", library, "-lm")
    return library


@functools.cache
def _kernels(toolchain: Toolchain) -> tuple[Path, ...]:
    """The portable kernels as objects, compiled once in the life of this process at most."""
    folder = Path(tempfile.mkdtemp(prefix="goldgrad-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    sources = sorted((paths.data("kernels_c") / "src" / "portable").glob("*.c"))
    return tuple(compiled(toolchain, [(source, FLAGS) for source in sources], folder))


def _run(toolchain: Toolchain, *arguments: str | Path) -> None:
    run = toolchain.run(*arguments)
    if run.returncode:
        told = next((line for line in run.stderr.splitlines() if "error" in line), run.stderr.strip())
        raise BuildError(f"{toolchain.name} refuses the program: {told}; correct its generator")


def _declarations() -> str:
    """What cffi must know of renode/firmware/program.h."""
    text = (paths.data("renode") / "firmware" / "program.h").read_text()
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    text = text.replace("extern const gg_program_t", "extern gg_program_t")  # cffi takes constants for integers
    return "\n".join(line for line in text.splitlines() if not line.startswith("#"))
