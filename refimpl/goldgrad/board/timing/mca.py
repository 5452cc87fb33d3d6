"""llvm-mca beside the model: the microbenchmarks, each as a loop in its simulation of a Cortex-M7."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ..errors import BoardError
from .microbenchmarks import ALONE, Microbenchmark, microbenchmarks
from .table import Table

COMMAND = "llvm-mca"
TARGET = ("-mtriple=thumbv7em-none-eabihf", "-mcpu=cortex-m7")
ITERATIONS = 200


@dataclass(frozen=True)
class Comparison:
    """Cycles of one repetition by both."""

    bench: Microbenchmark
    theirs: float | None
    """None where it crashes."""


def version() -> str:
    """What it says of itself."""
    if not shutil.which(COMMAND):
        raise BoardError(f"{COMMAND} is not on PATH; install llvm, or leave the comparison out")
    run = subprocess.run([COMMAND, "--version"], capture_output=True, text=True, check=False)
    return next((line.strip() for line in run.stdout.splitlines() if "version" in line), "unknown")


def compare(table: Table) -> list[Comparison]:
    """Simulate every microbenchmark without branches, which it does not know; each alone: some make it crash."""
    version()
    benches = [bench for bench in microbenchmarks(table) if not bench.loop and not bench.rule.endswith("branch")]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = [Comparison(*pair) for pair in zip(benches, pool.map(_simulated, benches), strict=True)]
    if all(comparison.theirs is None for comparison in found):
        raise BoardError(f"{COMMAND} simulates nothing for a Cortex-M7; install another version of llvm")
    return found


def _simulated(bench: Microbenchmark) -> float | None:
    source = "\n".join([ALONE, *bench.body]) + "\n"
    command = [COMMAND, *TARGET, f"-iterations={ITERATIONS}", "-json"]
    run = subprocess.run(command, input=source, capture_output=True, text=True, check=False)
    if run.returncode:
        return None
    (region,) = json.loads(run.stdout)["CodeRegions"]
    return float(region["SummaryView"]["TotalCycles"]) / ITERATIONS
