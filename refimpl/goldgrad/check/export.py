"""``goldgrad vectors export``: vectors as self-checking C, as an ELF for a Cortex-M7, or as files."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..errors import GoldgradError
from ..report.files import write_files as write_all
from .c_program import Vector, program
from .providers.calls import Abi, Map
from .providers.emulated import firmware
from .session import functions_of
from .vectors import drawn, name_of, permanent, write_files


def export(
    target: Path,
    operators: Sequence[str],
    count: int,
    mapping: Path | None = None,
    kernels: Sequence[Path] = (),
    flags: Sequence[str] = (),
) -> str:
    """Write to ``target``: NAME.c, NAME.elf (with ``kernels`` linked in), or a folder of files; what to say of it."""
    calls = Map.read(mapping) if mapping else Abi()
    functions = [function for function in functions_of(operators) if calls.symbol(function)]
    cases = [case for _, case in permanent() if case.function in functions and not case.extra]
    cases += drawn(functions, count, calls.only)
    if target.suffix not in (".c", ".elf"):
        return f"{write_files(target, cases)} vectors, as files"
    vectors = list({name_of(case): Vector(name_of(case), case) for case in cases}.values())
    text = program(vectors, calls)
    if target.suffix == ".c":
        write_all({target: text.encode()})
        return f"{len(vectors)} vectors; compile it with your kernels and run it"
    if not kernels:
        raise GoldgradError(f"{target} needs kernels to call; name their C files with --kernels")
    source = target.with_suffix(".c")
    write_all({source: text.encode()})
    more = ("-DGOLDGRAD_BOARD", "-Wno-unused-function", *flags)
    with tempfile.TemporaryDirectory(prefix="goldgrad-check-") as folder:
        made = firmware([source, *kernels], more, Path(folder), entry="goldgrad_reset")
        write_all({target: made.read_bytes()})
    return f"{len(vectors)} vectors; it leaves goldgrad_failures and goldgrad_first in RAM"
