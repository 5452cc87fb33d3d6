"""A program, the kernels and the firmware become an ELF.

Objects are kept beside the ELF under a name that hashes all that they are made of: another program in the same folder
compiles its own sources only.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .. import paths
from ..rules import rule
from .elf import Elf
from .errors import BuildError, DoesNotFit
from .memory_map import LINKER_NAMES
from .toolchain import BOARD, STRICT, Toolchain, find_toolchain

OVERFLOW = re.compile(r"region [`'](?P<region>\w+)'?:? overflowed by (?P<bytes>\d+) bytes?")
"""Both linkers say so: GNU ld of a region in the end, lld of every section that no longer fits."""


def build(
    sources: Sequence[Path],
    target: Path,
    *,
    toolchain: Toolchain | None = None,
    flags: Sequence[str] = (),
    stack_bytes: int | None = None,
) -> Elf:
    """Compile and link ``sources`` with the portable kernels and the firmware into ``target``.

    ``flags`` are for the program's own sources; ``stack_bytes``, a multiple of 8, is the stack's room (default 8 KB).
    A listing of what lies where is written beside it, as ``.map``.  Errors: :class:`BuildError` with the compiler's
    first complaint, :class:`DoesNotFit` with the regions that overflow.
    """
    toolchain = toolchain or find_toolchain()
    firmware, kernels = paths.data("renode") / "firmware", paths.data("kernels_c")
    headers = [*firmware.glob("*.h"), *kernels.rglob("*.h"), *(h for s in sources for h in s.parent.glob("*.h"))]
    include = f"-I{firmware}"
    jobs: list[tuple[Path, tuple[str, ...]]] = [(source, (include, *flags)) for source in sources]
    jobs += [(source, ()) for source in sorted((kernels / "src" / "portable").glob("*.c"))]
    peculiar = {"memory": ("-fno-builtin",), "startup": (f"-DGG_STACK_BYTES={stack_bytes}",) if stack_bytes else ()}
    jobs += [(source, (include, *peculiar.get(source.stem, ()))) for source in sorted(firmware.glob("*.c"))]
    folder = target.parent / "objects"
    folder.mkdir(parents=True, exist_ok=True)
    common = hashlib.sha256()
    for header in sorted(set(headers)):
        common.update(header.read_bytes())
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(lambda job: _compile(toolchain, job[0], job[1], folder, common.hexdigest()), jobs))
    _link(toolchain, objects, firmware / "stm32f746.ld", target)
    elf = Elf.read(target)
    target.with_suffix(".map").write_text(listing(elf))
    return elf


def _compile(toolchain: Toolchain, source: Path, flags: Iterable[str], folder: Path, headers: str) -> Path:
    arguments = (*STRICT, *BOARD, *flags)
    key = hashlib.sha256(repr((toolchain.compiler.command, toolchain.version, arguments, headers)).encode())
    key.update(source.read_bytes())
    target = folder / f"{source.stem}-{key.hexdigest()[:16]}.o"
    if target.exists():
        return target
    part = target.with_suffix(f".{os.getpid()}.part.o")
    run = toolchain.run(*arguments, "-c", source, "-o", part)
    if run.returncode:
        raise BuildError(
            f"{toolchain.name} refuses {source.name}: {_complaint(run.stderr)}; correct it, or its generator"
        )
    part.replace(target)
    return target


@rule("BOARD-M1")
def _link(toolchain: Toolchain, objects: list[Path], script: Path, target: Path) -> None:
    arguments = ["-nostdlib", "-static", "-Wl,--gc-sections", "-Wl,-e,gg_reset", f"-Wl,-T,{script}"]
    libraries = ["-lgcc"] if toolchain.name == "gcc" else []
    run = toolchain.run(*arguments, *objects, *libraries, "-o", target)
    overflows: dict[str, int] = {}
    for found in OVERFLOW.finditer(run.stderr):
        name = LINKER_NAMES[found["region"]].name
        overflows[name] = max(overflows.get(name, 0), int(found["bytes"]))
    if overflows:
        sizes = {bank.name: bank.size for bank in LINKER_NAMES.values()}
        what = " and ".join(f"{name} ({sizes[name]:,} bytes) by {over:,} bytes" for name, over in overflows.items())
        raise DoesNotFit(f"{target.stem} does not fit: it overflows {what}; train less, or a smaller model", overflows)
    if run.returncode:
        raise BuildError(f"{toolchain.name} cannot link {target.stem}: {_complaint(run.stderr)}")


def _complaint(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    telling = [line for line in lines if "error:" in line or "undefined" in line]
    said = [line for line in telling if not line.startswith("collect2")] or telling or lines or ["no reason given"]
    return said[0]


def listing(elf: Elf) -> str:
    """What lies where: sections, then symbols in the order of their addresses."""
    lines = [f"{s.address:08x} {s.size:8d} {s.name}" for s in sorted(elf.sections, key=lambda s: s.address)]
    lines.append("")
    symbols = sorted(elf.symbols.values(), key=lambda s: (s.address, s.name))
    lines += [f"{s.address:08x} {s.size:8d} {s.name}" for s in symbols if s.size]
    return "\n".join(lines) + "\n"
