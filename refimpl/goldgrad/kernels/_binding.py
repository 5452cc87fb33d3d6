"""Puts arrays in the place of a description's pointers and calls C: the generic half of every binding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ..errors import GoldgradError
from ..numerics import Array
from ..ops import FUNCTIONS, Type
from ..rules import rule
from ._call import ELEMENTS, KERNELS, Argument, KernelCall, Pointer, Struct, describe
from ._library import LIBRARY, ffi, lib

ScratchMemory = Callable[[int], Any]
"""Gives scratch memory of a size in bytes, as an object with the buffer protocol (ABI-M1)."""

Types = Sequence[Type | None]


def run(name: str, *arrays: Array | None, **attributes: Any) -> tuple[Array, ...]:
    """Check the operands as the reference does, allocate the results, and call C; a tuple of results."""
    types = [None if a is None else Type.of(a) for a in arrays]
    outputs = [np.empty(t.shape, t.dtype) for t in FUNCTIONS[name].types(*types, **attributes)]
    _ready(name, types, attributes)(arrays, outputs, bytearray, attributes)
    return tuple(outputs)


def call(
    name: str,
    arrays: Sequence[Array | None],
    outputs: Sequence[Array | None],
    scratch: ScratchMemory = bytearray,
    **attributes: Any,
) -> None:
    """Call C on memory that the caller brings; a result that nobody wants is None."""
    types = [None if a is None else Type.of(a) for a in arrays]
    _ready(name, types, attributes)(arrays, outputs, scratch, attributes)


@rule("ABI-S5")
def scratch_bytes(kernel_call: KernelCall, kernels: str = "portable") -> int:
    """Bytes of scratch that the C kernels of a set want for a call (ABI-M1).

    A function that the set lacks is the portable one.
    """
    size, struct = kernel_call.scratch_size, kernel_call.struct
    if size is None or struct is None:
        return 0
    own = f"{PREFIXES[kernels]}{size.removeprefix('gg_')}"
    name = own if own in SIZES else size
    try:
        return int(getattr(lib, name)(_constant(struct)))
    except (AttributeError, ffi.error):  # somebody's library; GOLDGRAD_KERNELS_LIB names it
        raise GoldgradError(
            f"{LIBRARY} has no {name}; link kernels_c/src/cortex_m7/scratch.c into it, or use --kernels portable"
        ) from None


def namespace(module: str) -> Any:
    """An object with the operator's functions, backed by C and shaped like the reference's."""

    class Kernels:
        """The C kernels of one operator."""

        def __getattr__(self, function: str) -> Callable[..., Any]:
            name = f"{module}.{function}"
            if name not in KERNELS:
                raise AttributeError(f"no C kernel {name}")

            def c_kernel(*arrays: Array | None, **attributes: Any) -> Any:
                results = run(name, *arrays, **attributes)
                return results if len(results) > 1 else results[0]

            return c_kernel

    return Kernels()


def pointer(ctype: str, array: Array | None) -> Any:
    """A C pointer to the array's first element, or NULL."""
    return ffi.NULL if array is None else ffi.from_buffer(f"{ctype}[]", array)


def _ready(name: str, types: Types, attributes: Mapping[str, Any]) -> _ReadyCall:
    """The call, made ready once: a training step asks for the same again and again."""
    try:
        return _remembered(name, *types, **attributes)
    except TypeError:  # an attribute that cannot be looked up
        return _ReadyCall(name, types, attributes)


@lru_cache(maxsize=4096, typed=True)
def _remembered(name: str, /, *types: Type | None, **attributes: Any) -> _ReadyCall:
    return _ReadyCall(name, types, attributes)


class _ReadyCall:
    """A description with all that does not change from call to call: constants, structs, and where pointers go."""

    def __init__(self, name: str, types: Types, attributes: Mapping[str, Any]) -> None:
        table = FUNCTIONS[name]
        kernel_call = describe(name, dict(zip(table.inputs, types, strict=False)), attributes)
        self.names = (*table.inputs, *table.outputs)
        self.left_out = [None] * (len(table.inputs) - len(types))
        self.check = KERNELS[name].check
        self.c_function = getattr(lib, kernel_call.symbol)
        self.scratch_bytes = scratch_bytes(kernel_call)
        self.constants = [_constant(argument) for argument in kernel_call.arguments]
        place = {a.name: i for i, a in enumerate(kernel_call.arguments) if isinstance(a, Pointer)}
        self.places = [place[name] for name in self.names]
        self.moving = [(self.names.index(name), place[name]) for name in kernel_call.sampled]
        self.chained = [(place[start], place[result]) for start, result in kernel_call.chained]

    @rule("TRAIN-S5")
    def __call__(
        self,
        arrays: Sequence[Array | None],
        outputs: Sequence[Array | None],
        scratch: ScratchMemory,
        attributes: Mapping[str, Any],
    ) -> None:
        """Call C for one sample after the other; operands that are left out at the end are absent."""
        held = [None if a is None else np.ascontiguousarray(a) for a in arrays]
        held += [*self.left_out, *outputs]
        if self.check is not None:
            self.check(dict(zip(self.names, held, strict=True)), attributes)
        arguments = self.constants.copy()
        for place, array in zip(self.places, held, strict=True):
            if array is not None:
                arguments[place] = ffi.from_buffer(POINTERS[array.dtype.str], array)
        if self.scratch_bytes:  # the last parameter (ABI-M1)
            arguments[-1] = ffi.from_buffer(scratch(self.scratch_bytes))
        self.c_function(*arguments)
        samples = [(place, array) for index, place in self.moving if (array := held[index]) is not None]
        for _ in range(1, len(samples[0][1]) if samples else 1):
            for place, array in samples:
                arguments[place] += array[0].size
            for start, result in self.chained:
                arguments[start] = arguments[result]
            self.c_function(*arguments)


def _constant(argument: Argument) -> Any:
    """What C is given for an argument wherever arrays lie: NULL until a pointer is put there."""
    if isinstance(argument, Struct):
        return ffi.new(f"{argument.ctype} *", argument.fields)
    return argument if isinstance(argument, int) else ffi.NULL


PREFIXES = {"m7": "gg_m7_", "portable": "gg_"}
"""The sets of kernels, with what the names of their sizes of scratch begin with on this machine (ABI-S5)."""

SIZES = frozenset(name for name in dir(lib) if name.endswith("_scratch_bytes"))
"""The functions that give sizes of scratch."""

POINTERS = {np.dtype(name).str: ffi.typeof(f"{ctype}[]") for name, ctype in ELEMENTS.items()}
"""What a pointer to an array's elements is, by NumPy's name of their type."""

__all__ = ["KERNELS", "PREFIXES", "ScratchMemory", "call", "ffi", "lib", "namespace", "pointer", "run", "scratch_bytes"]
