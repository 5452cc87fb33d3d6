"""What fetching code from flash costs, function by function: the table by which code gets into ITCM (BOARD-M4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .. import schemes
from ..board.board import Board
from ..board.elf import Elf
from ..board.emulators import MEMORY, watching
from ..board.kernels import kernels_elf
from ..board.timing.edges import Trace
from ..board.timing.table import load
from ..board.toolchain import NAMES, Toolchain, find_toolchain
from ..kernels import SETS
from ..rules import rule
from . import on_board

MODELS = ("mcunet-5fps", "mobilenet-v2-w0.35", "proxyless-nas-w0.3")
LEAST = 16
"""Cycles a step, in the mean, below which a function is left out: two lines."""
HEADING = """\
# What fetching the code of each kernel from flash costs, in cycles a step: the mean over all schemes that come with the
# three networks, and over gcc and zig.  By the timing model {model}, memory flash-aware, all code in flash; what costs
# less than {least} is left out.  `goldgrad board itcm` writes it; specs/board.md, BOARD-M4, says what it is for.
"""


@dataclass(frozen=True)
class Program:
    """A step that counts in the mean."""

    model: str
    scheme: str
    kernels: str
    toolchain: Toolchain

    @property
    def title(self) -> str:
        """Its name in messages."""
        return f"{self.model} {self.scheme}, {self.kernels} kernels, {self.toolchain.name}"


def programs() -> list[Program]:
    """All schemes of the networks, with every set of kernels, by every compiler; one that is missing is an error."""
    compilers = [find_toolchain(name) for name in NAMES]
    return [
        Program(model, scheme, kernels, toolchain)
        for kernels in SETS
        for model in MODELS
        for scheme in schemes.names(model)
        for toolchain in compilers
    ]


@rule("BOARD-M4", "TIM-S7")
def fetch_cycles(program: Program) -> Counter[str]:
    """Cycles by function of one step, all code in flash; of kernels and the firmware's memory functions alone."""
    session = on_board.session(program.model, program.scheme)
    made = on_board.firmware(session, kernels=program.kernels, toolchain=program.toolchain, itcm=False)
    (sample,) = on_board.samples(program.model, session, 1)
    with Board(made.elf, watching(MEMORY)[0], watch=MEMORY) as board:
        board.emulator.trace()
        known = {buffer.name for buffer in board.program.buffers}
        feeds = on_board.feeds(session, sample, on_board.RATE)
        board.step({name: value for name, value in feeds.items() if name in known})
        found = by_function(made.elf, board.emulator.trace())
    ours = kernels_elf(program.kernels, program.toolchain).symbols
    return Counter({name: cycles for name, cycles in found.items() if name in ours})


def by_function(elf: Elf, trace: Trace) -> Counter[str]:
    """Cycles that fetches waited for, by the function whose code it was."""
    found = Counter[int]()
    for (_, address), seen in (trace.memory or {}).items():
        if address & 1:  # edges.fetched
            found[address] += seen.flash_itcm
    cycles = Counter[str]()
    for address, lines in found.items():
        cycles[elf.function_at(address).partition("+")[0]] += round(lines * load().memory.flash_itcm)
    return cycles


def mean(costs: Sequence[Counter[str]]) -> dict[str, int]:
    """Over programs, of functions that cost at least :data:`LEAST`, the costliest first."""
    total = sum(costs, Counter[str]())
    found = {name: round(cycles / len(costs)) for name, cycles in total.items()}
    return dict(sorted(((n, c) for n, c in found.items() if c >= LEAST), key=lambda item: (-item[1], item[0])))


def table(cycles: Mapping[str, Mapping[str, int]]) -> str:
    """The text of itcm.toml."""
    lines = [HEADING.format(model=load().name, least=LEAST)]
    for kernels in SETS:
        lines.append(f"[cycles.{kernels}]")
        lines += [f'"{name}" = {count}' for name, count in cycles[kernels].items()]
        lines.append("")
    return "\n".join(lines)
