"""What kernels cost on the board: instructions and stack of one call of each, counted in the emulator (MEAS-S7)."""

from __future__ import annotations

from collections.abc import Sequence

from ..board.aapcs import Word
from ..board.kernels import Cost as Taken
from ..board.kernels import KernelMachine
from ..conformance.case import Case
from ..conformance.properties import Fault, execute
from ..conformance.providers import NotProvided
from ..ops import Type
from .providers.compiled import Compiled
from .providers.emulated import Emulated
from .providers.opening import open_here
from .results import Cost, Subject
from .vectors import drawn

SAMPLE = 10
"""Cases of which the one with the largest result is measured."""


class Counting:
    """A machine that counts what calls take; how much scratch they want is asked without."""

    def __init__(self, machine: KernelMachine) -> None:
        self._machine, self.name = machine, machine.name
        self.has, self.place = machine.has, machine.place
        self.constant, self.collect = machine.constant, machine.collect
        self.taken: list[Taken] = []

    def call(self, symbol: str, arguments: Sequence[Word]) -> int:
        """Call, and count."""
        if symbol.endswith("_scratch_bytes"):
            return self._machine.call(symbol, arguments)
        self.taken.append(self._machine.measure(symbol, arguments))
        return 0


def costs(subject: Subject, functions: Sequence[str]) -> list[Cost]:
    """For each function that runs in the emulator, what its largest of a few cases takes; none for other providers."""
    if "@unicorn" not in subject.provider and not subject.provider.startswith("elf:"):
        return []
    provider = open_here(subject.provider, **subject.options)
    if (
        not isinstance(provider, Compiled)
        or not isinstance(provider.machine, Emulated)
        or provider.machine.name != "unicorn"
    ):
        return []
    machine = KernelMachine(provider.machine.machine.elf, watched=True)
    found = []
    for function in functions:
        for case in sorted(drawn([function], SAMPLE), key=lambda case: -case.types[0].nbytes):
            counting = Counting(machine)
            try:
                execute(case, Compiled(provider.name, counting, provider.calls))
            except NotProvided:
                continue
            except Fault:  # of which the check itself has told
                continue
            symbol = provider.calls.symbol(function)
            flash = machine.elf.symbols[symbol].size if symbol else 0
            instructions, stack = sum(t.instructions for t in counting.taken), max(t.stack for t in counting.taken)
            found.append(Cost(function, _operands(case), instructions, stack, flash))
            break
    return found


def _operands(case: Case) -> str:
    given = [f"{name} {Type.of(array)}" for name, array in case.operands.items() if array is not None]
    return ", ".join([*given, *(f"{name} {value}" for name, value in case.attributes.items())])
