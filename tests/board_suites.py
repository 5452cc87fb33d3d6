"""What renode/suites/ is run with: a program, a script that fills its buffers, and what a step takes on Unicorn.

``PYTHONPATH=tests python tests/board_suites.py FOLDER`` makes them and prints renode-test's arguments.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from board_program import any_compiler, program, samples
from goldgrad import paths
from goldgrad.board.board import Board
from goldgrad.board.elf import Elf

SUITES = sorted((paths.data("renode") / "suites").glob("*.robot"))


def arguments(folder: Path, elf: Elf) -> list[str]:
    """Fill ``folder``; what to call renode-test with, suites aside."""
    lines = []
    (sample,) = samples(1)
    with Board(elf, "unicorn") as board:
        for name, value in sample.items():
            file = folder / f"{name}.bin"
            file.write_bytes(value.tobytes())
            lines.append(f"sysbus LoadBinary @{file} {board.program.buffer(name).address:#x}\n")
        board.step(sample)
        counts = ",".join(f"{region}:{count}" for region, count in sorted(board.instructions.items()))
    script = folder / "inputs.resc"
    script.write_text("".join(lines))
    found = {"ELF": elf.path, "INPUTS": script, "COUNTS": counts}
    return [word for name, value in found.items() for word in ("--variable", f"{name}:{value}")]


if __name__ == "__main__":
    target = Path(sys.argv[1]).resolve()
    target.mkdir(parents=True, exist_ok=True)
    elf = program(any_compiler())
    print(shlex.join(arguments(target, Elf.read(elf.path.rename(target / "program.elf")))))
