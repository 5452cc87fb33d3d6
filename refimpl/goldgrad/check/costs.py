"""What kernels cost on the board: instructions, cycles, stack and text of one case of each (MEAS-S7, TIM-S8)."""

from __future__ import annotations

from collections.abc import Sequence

from ..board.aapcs import Word
from ..board.kernels import Cost as Taken
from ..board.kernels import KernelMachine
from ..conformance.case import Case
from ..conformance.properties import Fault, execute
from ..conformance.providers import NotProvided
from ..conformance.search import without
from ..jobs.bench import Call
from ..ops import Type
from .providers.compiled import Calls, Compiled
from .providers.emulated import Emulated
from .providers.opening import open_here
from .results import Cost, Subject
from .vectors import drawn

SAMPLE = 30
"""Cases of which the one with the most to do is measured."""
BUDGET = 100_000_000
"""Instructions that it may take."""


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
        self.taken.append(self._machine.measure(symbol, arguments, BUDGET))
        return 0


def costs(subject: Subject, functions: Sequence[str]) -> list[Cost]:
    """For each function, what the largest of some cases takes; nothing where the provider runs elsewhere."""
    if "@unicorn" not in subject.provider and not subject.provider.startswith("elf:"):
        return []
    provider = open_here(subject.provider, **subject.options)
    machine = provider.machine if isinstance(provider, Compiled) else None
    if not isinstance(provider, Compiled) or not isinstance(machine, Emulated) or machine.name != KernelMachine.name:
        return []
    counting = KernelMachine(machine.machine.elf, watched=True)
    found = (_cost(function, counting, provider.calls) for function in functions)
    return [cost for cost in found if cost]


def _cost(function: str, machine: KernelMachine, calls: Calls) -> Cost | None:
    """What the largest case takes that the kernel accepts; None where none is, or where it fails, as the check told."""
    lacks = calls.lacks(function)
    cases = [without(case, lacks) for case in drawn([function], SAMPLE, calls.only)]
    for case in sorted(cases, key=lambda case: -_call(case).work[0]):
        counting = Counting(machine)
        try:
            execute(case, Compiled(machine.name, counting, calls))
        except (NotProvided, Fault):
            continue
        taken, call = counting.taken, _call(case)
        return Cost(
            function,
            _operands(case),
            call.shape,
            sum(each.instructions for each in taken),
            round(sum(each.cycles for each in taken)),
            max(each.band for each in taken),
            *call.work,
            max(each.stack for each in taken),
            machine.text(taken),
        )
    return None


def _call(case: Case) -> Call:
    types = tuple(None if array is None else Type.of(array) for array in case.operands.values())
    return Call(case.function, types, case.attributes, (True,) * len(case.types))


def _operands(case: Case) -> str:
    given = [f"{name} {Type.of(array)}" for name, array in case.operands.items() if array is not None]
    return ", ".join([*given, *(f"{name} {value}" for name, value in case.attributes.items())])
