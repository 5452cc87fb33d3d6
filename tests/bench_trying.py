"""How long it takes to build and measure one kernel on one shape, and all shapes of three networks: ``make bench``.

Prints seconds of CPU and of a clock; the first is what a busy machine changes less.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SHAPE = """
[[call]]
function = "conv2d.forward"
x = [1, 8, 8, 48]
w = [192, 1, 1, 48]
b = [192]
m = [192]
x_zero = 3
y_zero = -128
"""


def main() -> None:
    """Print a line a command; the first compiles what it needs."""
    goldgrad = str(Path(sys.executable).with_name("goldgrad"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "shape.toml").write_text(SHAPE)
        one = ["--shapes", "shape.toml"]
        print(f"{'goldgrad bench kernels':44} {'CPU':>8} {'seconds':>8}")
        for words, arguments in (
            ("one shape, nothing compiled", one),
            ("one shape", one),
            ("all shapes, nothing else compiled", []),
            ("all shapes", []),
            ("all shapes, portable kernels", ["--kernels", "portable"]),
        ):
            start, before = time.perf_counter(), os.times()
            subprocess.run([goldgrad, "bench", "kernels", *arguments], cwd=folder, check=True, capture_output=True)
            after = os.times()
            used = sum(after[2:4]) - sum(before[2:4])
            print(f"{words:44} {used:8.2f} {time.perf_counter() - start:8.2f}")
