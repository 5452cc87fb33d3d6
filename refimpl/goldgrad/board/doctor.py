"""``goldgrad doctor``: which compilers and emulators are here, and which of them are used."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass

from .emulators import BACKENDS, backend
from .toolchain import host_toolchains, toolchains


@dataclass(frozen=True)
class Finding:
    """A tool: what it is for, whether it is here, and whether it is the one that is used unless another is named."""

    purpose: str
    name: str
    found: str | None
    """Its version, or None if it is missing."""
    missing: str | None
    used: bool


def findings() -> Iterator[Finding]:
    """Look for every tool."""
    taken: set[str] = set()

    def finding(purpose: str, name: str, missing: str | None, version: str | None) -> Finding:
        used = missing is None and purpose not in taken
        taken.update({purpose} if used else set())
        return Finding(purpose, name, version, missing, used)

    for toolchain in toolchains():
        version = None if toolchain.missing else toolchain.version
        yield finding("compiler for the board", toolchain.name, toolchain.missing, version)
    for toolchain in host_toolchains():
        version = None if toolchain.missing else toolchain.version
        yield finding("compiler for this machine", toolchain.name, toolchain.missing, version)
    for name in BACKENDS:
        kind = backend(name)
        missing = kind.missing()
        yield finding("emulator", name, missing, None if missing else kind.version())


def report() -> tuple[str, bool]:
    """The findings as text, and whether the board can be built and run."""
    found = list(findings())
    width = max(len(f.name) for f in found)
    lines = [f"Python {platform.python_version()} on {platform.machine()}, {platform.system()}"]
    purpose = ""
    for f in found:
        if f.purpose != purpose:
            purpose = f.purpose
            lines += ["", f"{purpose}:"]
        state = "used" if f.used else "found" if f.missing is None else "missing"
        lines.append(f"  {f.name:<{width}}  {state:<7}  {f.found or f.missing}")
    complete = {f.purpose for f in found if f.used} >= {"compiler for the board", "emulator"}
    verdict = (
        "The board can be built and run." if complete else "The board cannot be run: pip install 'goldgrad[board]'."
    )
    return "\n".join([*lines, "", verdict]), complete
