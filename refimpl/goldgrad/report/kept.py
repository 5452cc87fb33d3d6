"""Results that take minutes, kept by content: a command that was interrupted goes on where it was, and repeats nothing.

A result is that of a function of plain arguments.  It is kept under a hash of these and of every source that it
depends on, so a change of code, kernels or networks makes it anew; what no longer counts is left to ``make clean``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .. import paths
from .files import as_json

FOLDER = Path("out/kept")
PACKAGE = Path(__file__).resolve().parents[1]
SHOWN = ("report", "check", "conformance")
"""Parts of the package that show results or test kernels; of these nothing that is kept depends but on USED."""
USED = ("report/planned.py",)
RUN = ("board", "codegen", "jobs", "kernels")
"""Parts that are needed to run a step, and not to plan it."""
SUFFIXES = (".py", ".toml", ".json", ".npz", ".c", ".h", ".ld")


def sources(runs: bool) -> str:
    """A hash of what plans depend on, and with ``runs`` of what steps on the board do."""
    left_out = SHOWN if runs else (*SHOWN, *RUN)
    files = [file for file in PACKAGE.rglob("*") if file.relative_to(PACKAGE).parts[0] not in left_out]
    files += [PACKAGE / name for name in USED]
    if runs:
        files += [*paths.data("kernels_c").rglob("*"), *paths.data("renode").rglob("*")]
    found = hashlib.sha256()
    for file in sorted(files):
        if file.suffix in SUFFIXES:
            found.update(hashlib.sha256(file.read_bytes()).digest())
    return found.hexdigest()


def each(
    pool: Executor,
    kind: type[Any],
    function: Callable[..., Any],
    cases: Sequence[tuple[Any, ...]],
    content: str,
    folder: Path = FOLDER,
) -> Iterator[Any]:
    """The function of each argument list, side by side, in their order; results are of dataclass ``kind``."""
    files = [_file(folder, function, case, content) for case in cases]
    waiting: dict[Path, Future[Any]] = {}
    for file, case in zip(files, cases, strict=True):
        if not file.exists():
            waiting[file] = pool.submit(_make, function, case, file)
    for file in files:
        if file in waiting:
            waiting[file].result()
        yield kind(**json.loads(file.read_text()))


def _file(folder: Path, function: Callable[..., Any], case: Iterable[Any], content: str) -> Path:
    key = hashlib.sha256(json.dumps([function.__module__, function.__qualname__, *case, content]).encode())
    return folder / f"{function.__name__.strip('_')}-{key.hexdigest()[:24]}.json"


def _make(function: Callable[..., Any], case: Iterable[Any], file: Path) -> None:
    """Written when it is whole, or not at all."""
    text = as_json(asdict(function(*case)))
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.write_bytes(text)
    part.replace(file)
