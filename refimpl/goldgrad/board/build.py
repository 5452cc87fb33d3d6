"""A program, the kernels and the firmware become an ELF.

Objects are kept beside the ELF, or in the folder that ``GOLDGRAD_OBJECTS`` names, under a name that hashes all that
they are made of: another program in the same folder compiles its own sources only.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .. import paths
from ..rules import rule
from .elf import Elf
from .errors import BuildError, DoesNotFit
from .itcm import code_for_itcm
from .memory_map import LINKER_NAMES, PROJECTED_SRAM
from .toolchain import BOARD, STRICT, Toolchain, find_toolchain

OVERFLOW = re.compile(r"region [`'](?P<region>\w+)'?:? overflowed by (?P<bytes>\d+) bytes?")
"""Both linkers say so: GNU ld of a region in the end, lld of every section that no longer fits."""
DEFINITION = re.compile(r"^\w+ \**(gg_\w+)\([^;{]*?\) \{", re.MULTILINE)
"""The definition of a function that other files can call."""
NAME = re.compile(r"\bgg_\w+")
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)
OBJECTS = "GOLDGRAD_OBJECTS"
"""The environment variable that names one folder for the objects of all builds."""
SCRIPT, SRAM_LENGTH, ITCM_CODE = "stm32f746.ld", "LENGTH = 240K + 16K", "/* CODE IN ITCM */"
"""The linker script, what it says of the arena's memory, and where it has room for what runs from ITCM."""
ARENA_ALIGN = 32
Job = tuple[Path, tuple[str, ...]]
"""A source, and flags for it alone."""


def build(
    sources: Sequence[Path],
    target: Path,
    *,
    toolchain: Toolchain | None = None,
    flags: Sequence[str] = (),
    stack_bytes: int | None = None,
    kernels: str = "portable",
    projected: bool = False,
    itcm: bool = True,
) -> Elf:
    """Compile and link ``sources`` with a set of kernels and the firmware into ``target``.

    ``flags`` are for the program's own sources; ``stack_bytes``, a multiple of 8, is the stack's room (default 8 KB);
    ``kernels`` is ``m7`` or ``portable``, and what scratch the sources bring must be of the same set (ABI-S5);
    ``projected`` builds for a board with more SRAM than there is (BOARD-M3); ``itcm`` False leaves all code in flash,
    else some of the kernels run from ITCM (BOARD-M4).
    A listing of what lies where is written beside it, as ``.map``.  Errors: :class:`BuildError` with the compiler's
    first complaint, :class:`DoesNotFit` with the regions that overflow.
    """
    toolchain = toolchain or find_toolchain()
    firmware = paths.data("renode") / "firmware"
    include = f"-I{firmware}"
    jobs: list[Job] = [(source, (include, *flags)) for source in sources]
    jobs += kernel_sources(kernels)
    peculiar = {
        "memory": ("-fno-builtin",),
        "startup": (f"-DGG_STACK_BYTES={stack_bytes}",) if stack_bytes else (),
        "mpu": ("-DGG_PROJECTED",) if projected else (),
    }
    jobs += [(source, (include, *peculiar.get(source.stem, ()))) for source in sorted(firmware.glob("*.c"))]
    objects = _objects(toolchain, jobs, target)

    def link(changes: Mapping[str, str]) -> Elf:
        script = _script(firmware / SCRIPT, target, changes)
        _link(toolchain, objects, script, target, "-Wl,--gc-sections", "-Wl,-e,gg_reset")
        return Elf.read(target)

    changes = {SRAM_LENGTH: f"LENGTH = {PROJECTED_SRAM.size}"} if projected else {}
    elf = link(changes)  # what fits is known by that; where it goes, by what there is
    code = code_for_itcm(elf, objects, kernels) if itcm else ()
    elf = link(changes | _code(code) | ({} if projected else _arena(elf)))
    target.with_suffix(".map").write_text(listing(elf))
    return elf


@rule("BOARD-M4")
def _code(sections: Sequence[str]) -> dict[str, str]:
    """What changes in the linker script for code in ITCM."""
    return {ITCM_CODE: "\n        ".join(f"*({section})" for section in sections)}


@rule("BOARD-M5")
def _arena(elf: Elf) -> dict[str, str]:
    """What changes in it for an arena that begins where all else ends that lies in DTCM."""
    start = -(-elf.symbol("gg_bss_end").address // ARENA_ALIGN) * ARENA_ALIGN
    return {".arena (NOLOAD)": f".arena {start:#x} (NOLOAD)", "} > SRAM": "} > RAM"}


def _script(script: Path, target: Path, changes: Mapping[str, str]) -> Path:
    """The linker script with changes, beside the target."""
    there, text = target.with_suffix(".ld"), script.read_text()
    for old, new in changes.items():
        if old not in text:
            raise BuildError(f"{script.name} does not say {old!r}; change board/build.py with it")
        text = text.replace(old, new)
    there.write_text(text)
    return there


def build_kernels(
    kernels: str,
    target: Path,
    toolchain: Toolchain | None = None,
    functions: Collection[str] | None = None,
    instead: Mapping[Path, Path] | None = None,
) -> Elf:
    """Link every kernel of a set, and nothing that would run them: for :mod:`~goldgrad.board.kernels`.

    With ``functions``, names in C, only the sources that these need, as far as their texts tell; else all.
    ``instead`` puts sources into the place of some of the set's, warnings allowed: experiments, and mutants.
    """
    toolchain = toolchain or find_toolchain()
    firmware = paths.data("renode") / "firmware"
    memory: Job = (firmware / "memory.c", (f"-I{firmware}", "-fno-builtin"))
    jobs = [
        (instead[source], (*given, "-w")) if instead and source in instead else (source, given)
        for source, given in kernel_sources(kernels)
    ]
    few = _needed(jobs, functions) if functions else jobs
    flags = ("-Wl,--no-gc-sections", f"-Wl,-e,{min(functions) if functions else 'gg_conv2d_forward'}")

    def link(chosen: Sequence[Job]) -> None:
        objects = _objects(toolchain, [*chosen, memory], target)
        _link(toolchain, objects, firmware / SCRIPT, target, *flags)

    try:
        link(few)
    except BuildError as fault:
        if len(few) == len(jobs) or "cannot link" not in str(fault):
            raise
        link(jobs)
    return Elf.read(target)


def _needed(jobs: Sequence[Job], functions: Collection[str]) -> list[Job]:
    """The jobs that functions need: those that define one, and those that define what these mention."""
    texts = {source: source.read_text() for source, _ in jobs}
    renamed = {source: dict(flag[2:].split("=") for flag in flags if "=gg_portable_" in flag) for source, flags in jobs}
    home = {
        renamed[source].get(name, name): source
        for source, text in texts.items()
        for name in re.findall(r"^(?!extern)[\w(), ]*?\b(gg_\w+)(?:\([^;{]*\) \{|\[[^;{]*\] = \{)", text, re.MULTILINE)
    }
    wanted, found = [*functions], set[Path]()
    while wanted:
        source = home.get(wanted.pop())
        if source is not None and source not in found:
            found.add(source)
            wanted += NAME.findall(texts[source])
    return [job for job in jobs if job[0] in found]


@rule("ABI-S5")
def kernel_sources(kernels: str) -> list[Job]:
    """The sources of a set of kernels, with flags of their own.

    A portable function that the set has a better one of is compiled under the name ``gg_portable_...``, which the
    better one may call; where it does not, the linker drops it.
    """
    known = {"portable": (), "m7": ("cortex_m7",)}
    if kernels not in known:
        raise BuildError(f"there are no kernels {kernels!r}; use {' or '.join(known)}")
    root = paths.data("kernels_c") / "src"
    own = [source for folder in known[kernels] for source in sorted((root / folder).glob("*.c"))]
    better = {name for source in own for name in DEFINITION.findall(source.read_text())}
    jobs: list[Job] = [(source, ()) for source in own]
    for source in sorted((root / "portable").glob("*.c")):
        shadowed = sorted(better.intersection(DEFINITION.findall(source.read_text())))
        jobs.append((source, tuple(f"-D{name}=gg_portable_{name.removeprefix('gg_')}" for name in shadowed)))
    return jobs


def _objects(toolchain: Toolchain, jobs: Sequence[Job], target: Path) -> list[Path]:
    """The objects of ``target``."""
    return compiled(toolchain, [(source, (*STRICT, *BOARD, *flags)) for source, flags in jobs], target.parent)


def compiled(toolchain: Toolchain, jobs: Sequence[Job], beside: Path) -> list[Path]:
    """Compile what is not there yet; objects are kept in a folder in ``beside``, or where :data:`OBJECTS` says."""
    folder = Path(os.environ.get(OBJECTS) or beside / "objects")
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda job: _compile(toolchain, job[0], job[1], folder), jobs))


def included(source: Path, folders: Sequence[Path]) -> list[Path]:
    """The headers that a source includes, these include, and so on; those of the compiler are not among them."""
    found: dict[Path, None] = {}
    waiting = [source]
    while waiting:
        file = waiting.pop()
        for name in INCLUDE.findall(file.read_text()):
            places = (folder / name for folder in (file.parent, *folders))
            header = next((place.resolve() for place in places if place.exists()), None)
            if header is not None and header not in found:
                found[header] = None
                waiting.append(header)
    return sorted(found)


def _compile(toolchain: Toolchain, source: Path, flags: Sequence[str], folder: Path) -> Path:
    key = hashlib.sha256(repr((toolchain.compiler.command, toolchain.version, flags)).encode())
    folders = [paths.data("kernels_c") / "include", *(Path(flag[2:]) for flag in flags if flag.startswith("-I"))]
    for file in (source, *included(source, folders)):
        content = file.read_bytes()
        key.update(len(content).to_bytes(8) + content)
    target = folder / f"{source.stem}-{key.hexdigest()[:16]}.o"
    if target.exists():
        return target
    part = target.with_suffix(f".{os.getpid()}.part.o")
    run = toolchain.run(*flags, "-c", source, "-o", part)
    if run.returncode:
        raise BuildError(
            f"{toolchain.name} refuses {source.name}: {_complaint(run.stderr)}; correct it, or its generator"
        )
    part.replace(target)
    return target


@rule("BOARD-M1")
def _link(toolchain: Toolchain, objects: list[Path], script: Path, target: Path, *flags: str) -> None:
    # Without pages lld does not load the file's own headers, for which it would find room below the code in ITCM.
    arguments = ["-nostdlib", "-static", "-Wl,--nmagic", *flags, f"-Wl,-T,{script}"]
    libraries = ["-lgcc"] if toolchain.name == "gcc" else []
    target.parent.mkdir(parents=True, exist_ok=True)
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
