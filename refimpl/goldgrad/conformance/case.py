"""One input of one function, printable, and as a line of text that repeats it anywhere.

The text is made of words without spaces, so it pastes into a shell between single quotes::

    conv2d.vjp_x g=float32[1,1,1,1]:1 w=int8[1,1,1,2]:3,0 dx0=None in_hw=[1,1]

Elements are written out, runs as ``0*12``; a float32 whose shortest decimal does not give its bits back (a NaN
with a payload) is written as ``x7fc00001``; an array that would be long that way is ``z:`` and its bytes, deflated
and in base64.  Words that start with ``+`` are arrays that a property needs besides the operands (a tangent).
"""

from __future__ import annotations

import base64
import json
import math
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np

from ..errors import GoldgradError
from ..numerics import Array
from ..ops import FUNCTIONS, Function, Type

LITERAL_RUNS = 64
"""Runs of equal elements up to which an array is written out."""

VARIANT: ContextVar[Mapping[str, Callable[..., Any]]] = ContextVar("VARIANT", default={})  # noqa: B039
"""Functions of another semantics in the place of the reference's (goldgrad.profiles)."""

TYPED = re.compile(r"(\w+)\[([\d,]*)\]:(z:)?(.*)")


@dataclass(frozen=True, eq=False)
class Case:
    """Operands and attributes of one call; ``extra`` holds what a property needs besides."""

    function: str
    arrays: tuple[Array | None, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Array] = field(default_factory=dict)

    @property
    def entry(self) -> Function:
        """The function's entry in the operator table."""
        return FUNCTIONS[self.function]

    @property
    def operands(self) -> dict[str, Array | None]:
        """The arrays by name; operands that were left out are None."""
        given = dict(zip(self.entry.inputs, self.arrays, strict=False))
        return {name: given.get(name) for name in self.entry.inputs}

    @property
    def types(self) -> tuple[Type, ...]:
        """Types of the results, or the constraint that the case breaks."""
        return self.entry.types(*(None if a is None else Type.of(a) for a in self.arrays), **self.attributes)

    def reference(self) -> tuple[Array, ...]:
        """The results that the reference gives; the case's own arrays stay as they are."""
        arrays = [None if a is None else a.copy() for a in self.arrays]
        variant = VARIANT.get().get(self.function)
        if variant is None:
            return self.entry(*arrays, **self.attributes)
        results = variant(*arrays, **self.attributes)
        return results if isinstance(results, tuple) else (results,)

    def having(self, **operands: Array | None) -> Case:
        """The same case with other operands."""
        return replace(self, arrays=tuple({**self.operands, **operands}.values()))

    def also(self, **extra: Array) -> Case:
        """The same case with more arrays for a property."""
        return replace(self, extra={**self.extra, **extra})

    def text(self) -> str:
        """The case as one line; :meth:`parse` reads it."""
        words = [self.function]
        words += [f"{name}={write_array(array)}" for name, array in self.operands.items()]
        words += [f"{name}={json.dumps(value, separators=(',', ':'))}" for name, value in self.attributes.items()]
        words += [f"+{name}={write_array(array)}" for name, array in self.extra.items()]
        return " ".join(words)

    @staticmethod
    def parse(text: str) -> Case:
        """The case that :meth:`text` wrote; :class:`~goldgrad.errors.GoldgradError` if it did not."""
        name, *words = text.split() or [""]
        if name not in FUNCTIONS:
            raise GoldgradError(f"{name or 'nothing'} is no function; give one of {', '.join(sorted(FUNCTIONS))}")
        operands: dict[str, Array | None] = dict.fromkeys(FUNCTIONS[name].inputs)
        attributes: dict[str, Any] = {}
        extra: dict[str, Array] = {}
        for word in words:
            key, sign, value = word.partition("=")
            if not sign:
                raise GoldgradError(f"{word!r} in the case is not name=value; paste the whole line")
            if key in operands:
                operands[key] = read_array(value)
            elif key.startswith("+"):
                array = read_array(value)
                if array is not None:
                    extra[key[1:]] = array
            else:
                attributes[key] = _read_attribute(key, value)
        return Case(name, tuple(operands.values()), attributes, extra)

    def __str__(self) -> str:
        return "\n".join(f"  {line}" for line in self._lines())

    def __repr__(self) -> str:
        return f"Case({self.text()!r})"

    def _lines(self) -> Iterator[str]:
        named = {**self.operands, **{f"+{name}": array for name, array in self.extra.items()}}
        width = max(map(len, (*named, *self.attributes)))
        for name, array in named.items():
            shown = "None" if array is None else f"{Type.of(array)} = {_abridged(array)}"
            yield f"{name:{width}} {shown}"
        for name, value in self.attributes.items():
            yield f"{name:{width}} {value}"


def write_array(array: Array | None) -> str:
    """``int8[2,3]:1,0*5``, or deflated where that would be long, or ``None``."""
    if array is None:
        return "None"
    head = f"{array.dtype}[{','.join(map(str, array.shape))}]:"
    runs = list(islice(_runs(array), LITERAL_RUNS + 1))
    if len(runs) <= LITERAL_RUNS:
        return head + ",".join(runs)
    return head + "z:" + base64.b64encode(zlib.compress(np.ascontiguousarray(array).tobytes(), 9)).decode()


def read_array(text: str) -> Array | None:
    """The array that :func:`write_array` wrote."""
    if text == "None":
        return None
    match = TYPED.fullmatch(text)
    try:
        if match is None:
            raise ValueError("no type")
        dtype, shape = np.dtype(match[1]), tuple(int(n) for n in match[2].split(",") if n)
        if match[3]:
            data = np.frombuffer(zlib.decompress(base64.b64decode(match[4], validate=True)), dtype)
        else:
            data = np.array([v for run in match[4].split(",") if run for v in _read_run(run, dtype)], dtype)
        return data.reshape(shape).copy()
    except (ValueError, TypeError, OverflowError, zlib.error) as error:
        raise GoldgradError(f"{text[:40]!r} in the case is not an array ({error}); paste the whole line") from None


def write_element(value: Any) -> str:
    """One element such that the same bits can be read back."""
    if isinstance(value, np.floating):
        if (
            math.isfinite(value)
            and value == int(value)
            and abs(value) < 2**24
            and not (value == 0 and np.signbit(value))
        ):
            return str(int(value))
        shortest = str(value)
        if value.dtype.type(shortest).tobytes() != value.tobytes():
            return f"x{value.view(np.uint32):08x}"
        return shortest
    return str(int(value))


def _runs(array: Array) -> Iterator[str]:
    """Elements in order, equal neighbours (in every bit) as ``value*count``."""
    flat = np.ascontiguousarray(array).reshape(-1)
    raw = flat.view(f"u{flat.itemsize}")
    edges = np.flatnonzero(raw[1:] != raw[:-1]) + 1
    for start, end in zip((0, *edges), (*edges, flat.size), strict=True):
        if end > start:
            count = end - start
            yield write_element(flat[start]) + (f"*{count}" if count > 1 else "")


def _read_run(run: str, dtype: np.dtype[Any]) -> list[Any]:
    value, _, count = run.partition("*")
    element: Any
    if value.startswith("x"):
        element = np.uint32(int(value[1:], 16)).view(np.float32)
    else:
        element = dtype.type(int(value) if dtype.kind == "b" else value)
    return [element] * (int(count) if count else 1)


def _read_attribute(name: str, value: str) -> Any:
    try:
        return _tuples(json.loads(value))
    except ValueError:
        raise GoldgradError(f"attribute {name} of the case is {value!r}; paste the whole line") from None


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _abridged(array: Array, limit: int = 24) -> str:
    """All elements, or as many as fit into a line, and how many are not zero."""
    runs = list(islice(_runs(array), limit + 1))
    if len(runs) <= limit:
        return ", ".join(runs)
    return f"{', '.join(runs[:limit])}, ... ({np.count_nonzero(array)} of {array.size} not zero)"
