"""Builds mutants of the kernels for a Cortex-M7: the mutated file alone is compiled, and linked with the rest.

A mutant changes a file of ``kernels_c/src/cortex_m7``, a header there, or a generator (``gen/dot_int8.py``), which is
run.  All of that happens in a copy of ``kernels_c``, where includes and generators find each other.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from goldgrad.board.build import DEFINITION, build_kernels
from goldgrad.kernels import KERNELS

KERNELS_C = Path(__file__).resolve().parents[2] / "kernels_c"
SOURCES = KERNELS_C / "src" / "cortex_m7"
INCLUDE = re.compile(r'#include "([^"]+)"')


def path_of(file: str) -> Path:
    """The file that a mutant names."""
    return KERNELS_C / file if file.startswith("gen/") else SOURCES / file


def functions_in(file: str) -> tuple[str, ...]:
    """Functions of the operator table that a source defines."""
    names = {f"gg_{name.replace('.', '_')}": name for name in KERNELS}
    path = path_of(file)
    defined = DEFINITION.findall(path.read_text(encoding="utf-8")) if path.suffix == ".c" else ()
    return tuple(names[symbol] for symbol in defined if symbol in names)


def build(file: str, text: str, functions: Sequence[str], folder: Path) -> Path:
    """An ELF of functions, and what they need, with ``text`` in the place of ``file``; other objects lie beside it."""
    tree = folder / "kernels_c"
    for name in ("src", "gen"):
        shutil.copytree(KERNELS_C / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "refimpl").symlink_to(KERNELS_C.parent / "refimpl")  # the generators' scheduler reads the timing table
    mutated = tree / path_of(file).relative_to(KERNELS_C)
    mutated.write_text(text, encoding="utf-8")
    if mutated.parent.name == "gen":
        made = subprocess.run([sys.executable, "-B", mutated], capture_output=True, text=True, check=False)
        if made.returncode:
            raise ValueError(f"the generator fails: {made.stderr.strip().splitlines()[-1]}")
    copies = sorted((tree / "src" / "cortex_m7").iterdir())
    changed = {copy.name for copy in copies if copy.read_bytes() != (SOURCES / copy.name).read_bytes()}
    if not changed:
        raise ValueError("nothing that is compiled changes")
    reached = {copy for copy in copies if copy.suffix == ".c" and changed & included(copy)}
    instead = {SOURCES / copy.name: copy for copy in reached}
    symbols = {f"gg_{name.replace('.', '_')}" for name in functions}
    return build_kernels("m7", folder.parent / f"{folder.name}.elf", functions=symbols, instead=instead).path


def included(source: Path) -> set[str]:
    """The name of a source, and of the headers beside it that it includes, directly or not."""
    found: set[str] = set()
    waiting = [source]
    while waiting:
        path = waiting.pop()
        if path.name not in found and path.exists():
            found.add(path.name)
            waiting += [path.parent / name for name in INCLUDE.findall(path.read_text(encoding="utf-8"))]
    return found
