"""What tests ask of any C kernel: the reference's bits, in place too, and nothing written beside the results."""

from __future__ import annotations

from typing import Any

import numpy as np

from goldgrad import kernels
from goldgrad.numerics import same_bits
from goldgrad.ops import FUNCTIONS, Type

CANARY = 64
"""Bytes before and after a result that must keep what they held; a multiple of every element's size."""


def _types(name: str, arrays: tuple[Any, ...], attributes: dict[str, Any]) -> tuple[Type, ...]:
    return FUNCTIONS[name].types(*(None if a is None else Type.of(a) for a in arrays), **attributes)


def assert_same(name: str, expected: tuple[Any, ...], actual: tuple[Any, ...]) -> None:
    """Assert that results are equal in every bit; name the first element that is not."""
    for result, want, got in zip(FUNCTIONS[name].outputs, expected, actual, strict=True):
        equal = same_bits(want, got)
        if not np.all(equal):
            at = tuple(int(i) for i in np.argwhere(~equal)[0])
            raise AssertionError(f"{name}: {result}{list(at)} is {got[at]!r} in C, {want[at]!r} in the reference")


def check(name: str, *arrays: Any, **attributes: Any) -> tuple[Any, ...]:
    """Run reference and C; assert equal types and bits, untouched operands and canaries; return the results.

    C runs twice, on results poisoned with unlike bytes: an element that it leaves out differs once.
    """
    types = _types(name, arrays, attributes)
    before = [None if a is None else a.copy() for a in arrays]
    expected = FUNCTIONS[name](*arrays, **attributes)
    assert tuple(Type.of(result) for result in expected) == types
    for poison in (0xFF, 0x55):
        memory = [np.full(CANARY + t.nbytes + CANARY, poison, np.uint8) for t in types]
        outputs = [m[CANARY:-CANARY].view(t.dtype).reshape(t.shape) for m, t in zip(memory, types, strict=True)]
        kernels.call(name, arrays, outputs, **attributes)
        assert_same(name, expected, tuple(outputs))
        for m in memory:
            assert np.all(m[:CANARY] == poison), f"{name} writes before its result"
            assert np.all(m[-CANARY:] == poison), f"{name} writes past its result"
    for operand, was, is_now in zip(FUNCTIONS[name].inputs, before, arrays, strict=False):
        assert was is None or was.tobytes() == is_now.tobytes(), f"{name} writes into {operand}"
    return expected


def check_in_place(name: str, output: str, operand: str, *arrays: Any, **attributes: Any) -> None:
    """Assert that C with ``output`` on ``operand`` gives the bits that it gives in separate memory."""
    function = FUNCTIONS[name]
    expected = function(*arrays, **attributes)
    types = _types(name, arrays, attributes)
    held = [None if a is None else a.copy() for a in arrays]
    results = [np.empty(t.shape, t.dtype) for t in types]
    shared, type_ = held[function.inputs.index(operand)], types[function.outputs.index(output)]
    start = shared.reshape(-1).view(np.uint8)[: type_.nbytes]
    results[function.outputs.index(output)] = start.view(type_.dtype).reshape(type_.shape)
    kernels.call(name, held, results, **attributes)
    assert_same(name, expected, tuple(results))


def pairs(name: str) -> set[tuple[str, str, str]]:
    """The alias table of a function: (result, operand, rule)."""
    return {(alias.output, alias.input, alias.rule) for alias in FUNCTIONS[name].aliases}
