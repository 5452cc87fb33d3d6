"""What a call of a C kernel is made of: one description for the binding and for generated C (specs/kernel-abi.md).

A module of this package describes its operator's kernels with :func:`describes`; :func:`describe` gives the call for
given types and attributes.  A description is plain data and knows no memory: the binding puts arrays in the place of
its pointers, a code generator puts expressions there.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from operator import index
from types import SimpleNamespace
from typing import Any, TypeVar

from ..errors import GoldgradError
from ..numerics import Array
from ..ops import FUNCTIONS, Type

ELEMENTS: Mapping[str, str] = {
    "int8": "int8_t",
    "uint8": "uint8_t",
    "bool": "uint8_t",
    "int32": "int32_t",
    "float32": "float",
}
"""The C type of an array's element by ``Type.dtype`` (ABI-I1)."""

Fields = Mapping[str, int | Mapping[str, int]]


@dataclass(frozen=True)
class Struct:
    """A pointer to a constant struct: the attributes of the call."""

    ctype: str
    """Name of the type, for example ``gg_conv2d_t``."""
    fields: Fields
    """Values in the order of the struct; a nested struct is a mapping of its own."""

    @property
    def packed(self) -> bytes:
        """The struct as it lies in memory: int32 after int32, on every machine that goldgrad knows."""
        numbers = [*_numbers(self.fields)]
        return struct.pack(f"<{len(numbers)}i", *numbers)


@dataclass(frozen=True)
class Pointer:
    """A pointer to the first element of an operand or of a result, or NULL where that is absent (ABI-I2)."""

    name: str
    """The name that the function table gives it."""


@dataclass(frozen=True)
class Scratch:
    """A pointer to as much scratch as :attr:`KernelCall.scratch_size` says, or NULL where that is 0 (ABI-M1)."""


SCRATCH = Scratch()

Argument = Struct | int | Pointer | Scratch


@dataclass(frozen=True)
class KernelCall:
    """A call of the kernel ``symbol`` for one sample, or for all where nothing is ``sampled``."""

    symbol: str
    """Name of the C function, for example ``gg_conv2d_forward``."""
    arguments: tuple[Argument, ...]
    """In the order of the prototype."""
    sampled: tuple[str, ...]
    """Operands and results that move on by a sample from call to call; the first is never absent (ABI-S2)."""
    chained: tuple[tuple[str, str], ...]
    """Pairs (start, result): from the second sample on, start is what result was left at (TRAIN-S5)."""

    @property
    def struct(self) -> Struct | None:
        """The struct of attributes; None where these are plain integers."""
        return next((argument for argument in self.arguments if isinstance(argument, Struct)), None)

    @property
    def scratch_size(self) -> str | None:
        """Name of the C function that gives the bytes of scratch for :attr:`struct`; None where none are taken."""
        return f"{self.symbol}_scratch_bytes" if SCRATCH in self.arguments else None


Described = tuple[Struct | int | str | Scratch, ...]
"""Arguments as a module writes them: a string is the name of an operand or a result."""

Check = Callable[[Mapping[str, Array | None], Mapping[str, Any]], None]
"""``check(operands, attributes)`` raises if values, not types, would lead C out of its arrays."""


@dataclass(frozen=True)
class Kernel:
    """What a module says of a function's C kernel."""

    arguments: Callable[..., Described]
    sampled: tuple[str, ...]
    chained: tuple[tuple[str, str], ...]
    check: Check | None


KERNELS: dict[str, Kernel] = {}
"""The functions of the operator table that have a C kernel, by name."""

F = TypeVar("F", bound=Callable[..., Described])


def describes(function: str, sampled: str = "", chained: str = "", check: Check | None = None) -> Callable[[F], F]:
    """Enter the kernel of ``function``: the decorated ``arguments(types, **attributes)`` lists what C is given.

    ``types.x`` is the type of the operand x, None where it is absent.  ``sampled`` holds names separated by spaces,
    ``chained`` pairs as ``"dw0=dw"``: see :class:`KernelCall`.
    """

    def enter(arguments: F) -> F:
        pairs = tuple((start, result) for start, _, result in (pair.partition("=") for pair in chained.split()))
        KERNELS[function] = Kernel(arguments, tuple(sampled.split()), pairs, check)
        return arguments

    return enter


def describe(function: str, types: Mapping[str, Type | None], attributes: Mapping[str, Any]) -> KernelCall:
    """The C call of ``function`` on operands of the given types, by their names in the operator table.

    Types have their sample axis.  An operand that is None or not there is absent; results may be left out, since
    their types follow.  The types and attributes are legal: ``FUNCTIONS[function].types`` is who checks that.
    """
    if function not in KERNELS:
        raise GoldgradError(f"there is no C kernel for {function}; kernels.KERNELS lists those that there are")
    kernel, table = KERNELS[function], FUNCTIONS[function]
    given = SimpleNamespace(**{name: types.get(name) for name in (*table.inputs, *table.outputs)})
    arguments = tuple(map(_argument, kernel.arguments(given, **attributes)))
    return KernelCall(f"gg_{function.replace('.', '_')}", arguments, kernel.sampled, kernel.chained)


def _argument(described: Struct | int | str | Scratch) -> Argument:
    """A string is a pointer, a number of any library an int."""
    if isinstance(described, str):
        return Pointer(described)
    if isinstance(described, Struct):
        return Struct(described.ctype, _integers(described.fields))
    return described if isinstance(described, Scratch) else index(described)


def _numbers(fields: Fields) -> Iterator[int]:
    for value in fields.values():
        if isinstance(value, Mapping):
            yield from value.values()
        else:
            yield value


def _integers(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {k: _integers(v) if isinstance(v, Mapping) else index(v) for k, v in fields.items()}
