"""The kernels as the board runs them, in Unicorn: one machine that holds them all, and thousands of calls.

:class:`BoardKernels` is a provider of the conformance suite.  Operands and results are copied to the machine and back
with the guards around them, at addresses that are as much aligned as they are here.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import paths
from ..conformance.providers import Scratch as ScratchMemory
from ..kernels import KERNELS, KernelCall, Pointer, Scratch, Struct, describe, scratch_bytes
from ..numerics import Array
from ..ops import FUNCTIONS, Type
from ..rules import rule
from .aapcs import Word
from .build import build_kernels
from .elf import Elf
from .machine import BUDGET, BUFFERS, Placement, UnicornMachine
from .timing.cost import Model
from .timing.functions import Profile
from .timing.table import load
from .toolchain import Toolchain, find_toolchain


def kernels_elf(kernels: str, toolchain: Toolchain | None = None, folder: Path | None = None) -> Elf:
    """All kernels of a set in an ELF, linked once in the life of this process; objects stay in ``folder``, if given."""
    return _linked(kernels, toolchain or find_toolchain(), folder or paths.passing())


@functools.cache
def _linked(kernels: str, toolchain: Toolchain, folder: Path) -> Elf:
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{kernels}-{toolchain.name}.elf"
    part = target.with_suffix(f".{os.getpid()}.elf")  # others may build or read the same
    built = build_kernels(kernels, part, toolchain)
    part.replace(target)
    return replace(built, path=target)


@dataclass(frozen=True)
class Cost:
    """What a call took: instructions, and bytes of stack below the arguments."""

    instructions: int
    cycles: float
    """By the timing model (specs/timing.md), code and data without wait states."""
    band: float
    """By how many percent the cycles may be off."""
    stack: int
    spent: Profile
    """By function, static ones too."""


class KernelMachine(UnicornMachine):
    """A machine that says what calls cost, in cycles as well; ``watched`` to measure them."""

    def __init__(self, elf: Elf, watched: bool = False) -> None:
        super().__init__(elf, watched)
        self._model = Model(load(), self.code, functions=elf.functions)
        self._sizes = {symbol.name: symbol.size for symbol in elf.functions}

    def measure(self, name: str, arguments: Sequence[Word], budget: int = BUDGET) -> Cost:
        """Call a function, and count."""
        counted = self.count(name, arguments, budget)
        estimate = self._model.estimate(counted.trace)
        return Cost(counted.instructions, estimate.total().total, estimate.band, counted.stack, estimate.functions())

    def text(self, costs: Iterable[Cost]) -> int:
        """Bytes of all functions that calls entered."""
        entered = {name for cost in costs for name, spent in cost.spent.items() if spent.calls}
        return sum(self._sizes[name] for name in entered)


class BoardKernels:
    """The kernels of a set on the emulated Cortex-M7, as a provider."""

    def __init__(self, kernels: str = "m7", toolchain: Toolchain | None = None) -> None:
        self.name = f"{kernels} on the board"
        self.kernels = kernels
        self.machine = UnicornMachine(kernels_elf(kernels, toolchain))

    def provides(self, function: str) -> bool:
        """Whether a C kernel is described for the function."""
        return function in KERNELS

    def run(
        self,
        function: str,
        inputs: Sequence[Array | None],
        outputs: Sequence[Array | None],
        scratch: ScratchMemory,
        attributes: Mapping[str, Any],
    ) -> None:
        """Copy to the machine, call for one sample after the other, and copy back."""
        staged = Staged(self.kernels, function, inputs, outputs, scratch, attributes)
        for address, base in (*staged.blocks, *staged.constants):
            self.machine.write(address, base.tobytes())
        for words in staged.samples():
            self.machine.call(staged.call.symbol, words)
        for address, base in staged.blocks:
            base[...] = np.frombuffer(self.machine.read(address, base.nbytes), np.uint8)


class Staged:
    """A call with its memory laid out on the machine."""

    def __init__(
        self,
        kernels: str,
        function: str,
        inputs: Sequence[Array | None],
        outputs: Sequence[Array | None],
        scratch: ScratchMemory,
        attributes: Mapping[str, Any],
    ) -> None:
        table = FUNCTIONS[function]
        left_out = [None] * (len(table.inputs) - len(inputs))
        names = (*table.inputs, *table.outputs)
        self.arrays = dict(zip(names, [*inputs, *left_out, *outputs], strict=True))
        types = {name: None if array is None else Type.of(array) for name, array in self.arrays.items()}
        self.call: KernelCall = describe(function, types, attributes)
        check = KERNELS[function].check
        if check is not None:
            check(self.arrays, attributes)
        self.scratch_bytes = scratch_bytes(self.call, kernels)
        placement, params = Placement(BUFFERS), self.call.struct
        self.constants: list[tuple[int, Array]] = []
        """Addresses on the machine, and the attributes that lie there."""
        if params is not None:
            fields = np.frombuffer(params.packed, np.uint8)
            self.constants.append((placement.reserve(fields.nbytes), fields))
        self._place = {name: placement.address(array) for name, array in self.arrays.items() if array is not None}
        self._scratch = placement.address(scratch(self.scratch_bytes)) if self.scratch_bytes else 0
        self.blocks = placement.blocks
        """The same of operands, results and scratch, with the memory around them."""

    @rule("TRAIN-S5")
    def samples(self) -> Iterator[list[int]]:
        """The words of the call, for one sample after the other."""
        words: list[int] = []
        for argument in self.call.arguments:
            match argument:
                case Struct():
                    words.append(self.constants[0][0])
                case Pointer():
                    words.append(self._place.get(argument.name, 0))
                case Scratch():
                    words.append(self._scratch)
                case _:
                    words.append(int(argument))
        return self._moving(words)

    def _moving(self, words: list[int]) -> Iterator[list[int]]:
        place = {a.name: i for i, a in enumerate(self.call.arguments) if isinstance(a, Pointer)}
        moving = [(place[n], array) for n in self.call.sampled if (array := self.arrays[n]) is not None]
        yield words
        for _ in range(1, len(moving[0][1]) if moving else 1):
            for at, array in moving:
                words[at] += array[0].nbytes
            for start, result in self.call.chained:
                words[place[start]] = words[place[result]]
            yield words
