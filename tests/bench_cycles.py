"""How long it takes to watch and to time a training step of a published network on the board: ``make bench``.

Prints seconds a hundred million instructions, beside what they are meant to take.  Emulation, trace and schedule are
all in it; so is startup in seconds of CPU, which a busy machine changes less.
"""

from __future__ import annotations

import os
import time

from goldgrad.board.board import Board
from goldgrad.board.emulators import EDGES, MEMORY, Emulator, backend
from goldgrad.board.emulators.unicorn import Unicorn
from goldgrad.board.timing.cost import Model
from goldgrad.board.timing.table import load
from goldgrad.jobs import on_board

NETWORK, SCHEME = "mcunet-5fps", "49kb"


class WithoutCompiler(Unicorn):
    """Unicorn as it counts where no C can be compiled."""

    def __init__(self, elf, watch=None):
        super().__init__(elf, watch, native=False)


CASES: dict[str, tuple[type[Emulator], str | None]] = {
    "unicorn": (backend("unicorn"), None),
    "unicorn, edges": (backend("unicorn"), EDGES),
    "unicorn, edges, no compiler": (WithoutCompiler, EDGES),
    "qemu": (backend("qemu"), None),
    "qemu, edges": (backend("qemu"), EDGES),
    "qemu, edges and memory": (backend("qemu"), MEMORY),
    "renode": (backend("renode"), None),
    "renode, edges": (backend("renode"), EDGES),
}


GOALS = {"unicorn, edges": 10, "unicorn, edges, no compiler": 30, "qemu, edges and memory": 15}
"""Seconds a hundred million instructions, on a machine that does nothing else."""


def cpu() -> float:
    """Seconds of processors that this process and those that it has waited for have used."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def main() -> None:
    """Print a line an emulator and what it watches."""
    session = on_board.session(NETWORK, SCHEME)
    made = on_board.firmware(session)
    (sample,) = on_board.samples(NETWORK, session, 1)
    title = f"a step of {NETWORK}, {SCHEME}"
    print(f"{title:36} {'instructions':>14} {'seconds':>8} {'a 100 M':>8} {'CPU':>8} {'goal':>6}")
    for name, (kind, watch) in CASES.items():
        if kind.missing():
            print(f"{name:36} {kind.missing()}")
            continue
        before = cpu()
        with Board(made.elf, kind, watch=watch) as board:
            known = {buffer.name for buffer in board.program.buffers}
            fed = {key: value for key, value in on_board.feeds(session, sample, 0.02).items() if key in known}
            if watch:
                board.emulator.trace()
            start = time.perf_counter()
            board.step(fed)
            if watch:
                memory = "dtcm" if watch == EDGES else "flash-aware"
                Model(load(), made.elf.load, memory).estimate(board.emulator.trace())
            seconds, count = time.perf_counter() - start, sum(board.instructions.values())
        each = 1e8 / count
        took = f"{seconds:8.2f} {seconds * each:8.2f} {(cpu() - before) * each:8.2f}"
        print(f"{name:36} {count:14,} {took} {GOALS.get(name, ''):>6}")


if __name__ == "__main__":
    main()
