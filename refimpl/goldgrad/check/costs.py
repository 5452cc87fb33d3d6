"""What kernels cost on the board: instructions and stack of one call of each, counted in the emulator (MEAS-S7)."""

from __future__ import annotations

from collections.abc import Sequence

from ..conformance.case import Case
from ..conformance.properties import execute
from ..conformance.providers import NotProvided
from ..errors import GoldgradError
from ..ops import Type
from .providers.compiled import Compiled
from .providers.emulated import Unicorn
from .providers.isolated import Crashed, Hung
from .providers.machine import Word
from .providers.opening import open_here
from .results import Cost, Subject
from .vectors import drawn

SAMPLE = 10
"""Cases of which the one with the largest result is measured."""


class Counting(Unicorn):
    """Counts what calls take."""

    def __init__(self, machine: Unicorn) -> None:
        self.__dict__.update(machine.__dict__)
        self.instructions = self.stack = 0

    def call(self, symbol: str, arguments: Sequence[Word]) -> int:
        """Call, and count; how much scratch is wanted is asked without."""
        if symbol.endswith("_scratch_bytes"):
            return super().call(symbol, arguments)
        instructions, stack = self.measure(symbol, arguments, super().call)
        self.instructions += instructions
        self.stack = max(self.stack, stack)
        return 0


def costs(subject: Subject, functions: Sequence[str]) -> list[Cost]:
    """For each function that runs in the emulator, what its largest of a few cases takes; none for other providers."""
    if "@unicorn" not in subject.provider and not subject.provider.startswith("elf:"):
        return []
    provider = open_here(subject.provider, **subject.options)
    if not isinstance(provider, Compiled) or not isinstance(provider.machine, Unicorn):
        return []
    found = []
    for function in functions:
        machine = provider.machine
        for case in sorted(drawn([function], SAMPLE), key=lambda case: -case.types[0].nbytes):
            counting = Counting(machine)
            try:
                execute(case, Compiled(provider.name, counting, provider.calls))
            except (NotProvided, Crashed, Hung, GoldgradError):
                continue
            except Exception:  # a finding, of which the check itself has told
                continue
            symbol = provider.calls.symbol(function)
            flash = machine.elf.symbols[symbol].size if symbol else 0
            found.append(Cost(function, _operands(case), counting.instructions, counting.stack, flash))
            break
    return found


def _operands(case: Case) -> str:
    given = [f"{name} {Type.of(array)}" for name, array in case.operands.items() if array is not None]
    return ", ".join([*given, *(f"{name} {value}" for name, value in case.attributes.items())])
