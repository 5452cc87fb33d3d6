"""Somebody's C, compiled on the spot for this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ... import paths
from ...board.toolchain import Toolchain, host_toolchains
from ...errors import GoldgradError


def sources_of(text: str) -> list[Path]:
    """The files that ``a.c,b.c`` names."""
    files = [Path(part) for part in text.split(",") if part]
    for file in files:
        if not file.is_file():
            raise GoldgradError(f"c:{text}: there is no file {file}; name C files, separated by commas")
    if not files:
        raise GoldgradError("c: names no file; write c:FILE.c")
    return files


def complaint(stderr: str) -> str:
    """The line of a compiler's output that says most."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    telling = [line for line in lines if "error:" in line or "undefined" in line or "duplicate symbol" in line]
    return (telling or lines or ["no reason given"])[0]


def host_library(sources: Sequence[Path], flags: Sequence[str], folder: Path) -> Path:
    """A shared library of ``sources``, with goldgrad's headers to include, and gg_exp32 and gg_log32 (ABI-M4)."""
    toolchain = next((toolchain for toolchain in host_toolchains() if not toolchain.missing), None)
    if toolchain is None:
        raise GoldgradError("there is no C compiler here; pip install ziglang, or install gcc")
    target = folder / "kernels.so"
    functions = paths.data("kernels_c") / "src" / "portable" / "numerics.c"
    run = _link(toolchain, [*sources, functions], target, flags)
    if "multiple definition" in run or "duplicate symbol" in run:
        run = _link(toolchain, sources, target, flags)
    if run:
        raise GoldgradError(f"{toolchain.name} refuses {sources[0].name}: {complaint(run)}; correct it")
    return target


def _link(toolchain: Toolchain, sources: Sequence[Path], target: Path, flags: Sequence[str]) -> str:
    """What the compiler complains about; empty if it does not."""
    run = toolchain.run("-shared", "-fPIC", "-g", "-fno-sanitize=undefined", *flags, *sources, "-o", target, "-lm")
    return run.stderr or "no reason given" if run.returncode else ""
