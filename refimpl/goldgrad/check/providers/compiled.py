"""Kernels in machine code: calls as the ABI or a map says, on the machine that has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from ...board.aapcs import Value, Word
from ...conformance.providers import NotProvided, Scratch
from ...kernels._call import Pointer, Struct
from ...numerics import Array
from ...ops import FUNCTIONS
from .calls import Argument, Call
from .machine import Machine


class Calls(Protocol):
    """Says how functions are called: :class:`~goldgrad.check.providers.calls.Abi` or ``Map``."""

    def symbol(self, function: str) -> str | None:
        """The C name, or None."""

    def lacks(self, function: str) -> frozenset[str]:
        """Optional names that the function does not have."""

    def only(self, function: str) -> Mapping[str, Sequence[int]]:
        """What shapes the function is made for."""

    def call(self, function: str, arrays: Mapping[str, Array | None], attributes: Mapping[str, Any]) -> Call | None:
        """What to call, or None."""


class Compiled:
    """A provider: functions of a :class:`Machine`, called as ``calls`` says."""

    def __init__(self, name: str, machine: Machine, calls: Calls) -> None:
        self.name, self.machine, self.calls = name, machine, calls

    def close(self) -> None:
        """End the machine, if that is more than this process."""
        end: Callable[[], None] = getattr(self.machine, "close", lambda: None)
        end()

    def provides(self, function: str) -> bool:
        """Whether the machine has the function's symbol."""
        symbol = self.calls.symbol(function)
        return symbol is not None and self.machine.has(symbol)

    def lacks(self, function: str) -> frozenset[str]:
        """Optional operands and results that it does not have."""
        return self.calls.lacks(function)

    def only(self, function: str) -> Mapping[str, Sequence[int]]:
        """What shapes the function is made for."""
        return self.calls.only(function)

    def run(
        self,
        function: str,
        inputs: Sequence[Array | None],
        outputs: Sequence[Array | None],
        scratch: Scratch,
        attributes: Mapping[str, Any],
    ) -> None:
        """One call a sample (ABI-S2); where samples are summed, the chain goes on from what the last one left."""
        entry = FUNCTIONS[function]
        names = (*entry.inputs, *entry.outputs)
        arrays = dict(zip(names, (*inputs, *outputs), strict=True))
        call = self.calls.call(function, dict(zip(entry.inputs, inputs, strict=True)), attributes)
        if call is None:
            raise NotProvided
        machine = self.machine
        given = {name: array for name, array in arrays.items() if array is not None}
        size = self._scratch_bytes(call)
        if size:
            given["scratch"] = scratch(size)
        addresses = dict(zip(given, machine.place(list(given.values())), strict=True))
        words = [self._word(argument, addresses) for argument in call.arguments]
        for step in self._samples(call, given, addresses):
            machine.call(call.symbol, [step.get(i, word) for i, word in enumerate(words)])
        machine.collect()

    def _scratch_bytes(self, call: Call) -> int:
        """How much scratch the call wants; the kernels themselves may be who says it."""
        if not isinstance(call.scratch, str):
            return call.scratch
        self.machine.place([])
        return self.machine.call(call.scratch, [self._word(a, {}) for a in call.arguments if isinstance(a, Struct)])

    def _samples(
        self, call: Call, given: Mapping[str, Array], addresses: Mapping[str, int]
    ) -> Iterator[dict[int, Word]]:
        """For each sample the arguments that move on."""
        moving = {name: given[name][0].nbytes for name in call.sampled if name in given}
        count = min((len(given[name]) for name in moving), default=1)
        started = dict(call.chained)
        for n in range(count):
            step: dict[int, Word] = {}
            for i, argument in enumerate(call.arguments):
                if not isinstance(argument, Pointer):
                    continue
                if argument.name in moving:
                    step[i] = addresses[argument.name] + n * moving[argument.name]
                elif n and argument.name in started:
                    step[i] = addresses[started[argument.name]]
            yield step

    def _word(self, argument: Argument, addresses: Mapping[str, int]) -> Word:
        if isinstance(argument, Value):
            return argument
        if isinstance(argument, Pointer):
            return addresses.get(argument.name, 0)
        if isinstance(argument, Struct):
            return self.machine.constant(argument.packed)
        return 0 if argument is None else addresses.get("scratch", 0)
