"""What ``goldgrad bench kernels`` shows: a line a kernel and shape."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ..board.kernels import KernelMachine, kernels_elf
from ..board.toolchain import find_toolchain
from ..errors import GoldgradError
from ..jobs.bench import Bench, Measured, of_file, of_networks
from ..kernels import SETS
from .files import check_outputs, write_json

FOLDER = Path("out/bench")
"""Where objects are kept, so that only what was changed is compiled again."""


def run(console: Console, op: str | None, shapes: Path | None, kernels: str, document: Path | None) -> int:
    """Measure, show, and write."""
    if kernels not in SETS:
        raise GoldgradError(f"a board has no kernels {kernels!r}; use {' or '.join(SETS)}")
    check_outputs(document)
    start = time.perf_counter()
    calls = of_networks(op) if shapes is None else of_file(shapes, op)
    if not calls:
        raise GoldgradError(f"{shapes} has no call of {op}; leave --op out, or name another")
    toolchain = find_toolchain()
    machine = KernelMachine(kernels_elf(kernels, toolchain, FOLDER), watched=True)
    found = list(Bench(kernels, machine).measure(calls))
    console.print(f"kernels: {kernels}; compiler: {toolchain.version}")
    console.print(_table(found))
    console.print(f"{len(found)} calls in {time.perf_counter() - start:.1f} s")
    if document:
        write_json(document, content(kernels, toolchain.version, found))
    return 0


def _table(found: Sequence[Measured]) -> Table:
    table = Table(box=SIMPLE_HEAD)
    for column in ("kernel", "instructions", "cycles", "i", "c", "scratch", "stack", "text"):
        table.add_column(column, justify="left" if column == "kernel" else "right", no_wrap=column != "kernel")
    for function, group in groupby(found, key=lambda each: each.function):
        members = list(group)
        total, work = sum(m.instructions for m in members), sum(m.work for m in members)
        cycles = sum(m.cycles for m in members)
        heading = f"{function}, {len(members)} shape{'s' * (len(members) > 1)}, a {members[0].unit}"
        numbers = (f"{total:,}", f"{cycles:,.0f}", f"{total / work:.2f}", f"{cycles / work:.2f}")
        table.add_row(heading, *numbers, style="bold")
        for m in members:
            taken = (f"{m.instructions:,}", f"{m.cycles:,.0f}", f"{m.each:.2f}", f"{m.cycles_each:.2f}")
            table.add_row(f"  {m.shape}", *taken, f"{m.scratch:,}", f"{m.stack:,}", f"{m.text:,}")
        table.add_section()
    return table


def content(kernels: str, compiler: str, found: Sequence[Measured]) -> dict[str, Any]:
    """The content of ``--json``."""
    return {"kernels": kernels, "compiler": compiler, "calls": [measured.as_json() for measured in found]}
