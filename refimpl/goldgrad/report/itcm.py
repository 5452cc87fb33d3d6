"""What ``goldgrad board itcm`` prints and writes (BOARD-M4)."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

from rich.console import Console

from ..jobs.code_in_itcm import fetch_cycles, mean, programs, table
from .files import check_outputs, write_files


def write(console: Console, file: Path) -> int:
    """Measure every program and write the table of means."""
    check_outputs(file)
    costs: dict[str, list[Counter[str]]] = defaultdict(list)
    for program in programs():
        found = fetch_cycles(program)
        costs[program.kernels].append(found)
        console.print(
            f"{program.title}: {found.total():,} cycles to fetch code from flash", markup=False, soft_wrap=True
        )
    write_files({file: table({kernels: mean(each) for kernels, each in costs.items()}).encode()})
    console.print(f"written: {file}", markup=False, soft_wrap=True)
    return 0
