"""What the interpreter, the graph builder and the C binding know of an operator's functions.

An operator module defines plain functions (``forward``, ``vjp_x``, ...) on NumPy arrays and marks each
with :func:`function`.  The mark records the names of its operands and results, the types of the results,
and which result may share memory with which operand (specs/inplace.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, wraps
from math import prod
from typing import Any, TypeVar

import numpy as np

Shape = tuple[int, ...]
DTYPE_NAMES = {np.dtype(name).str: name for name in ("int8", "uint8", "int32", "float32")}
"""The types of the operators' arrays, by NumPy's short names, which tell byte orders apart."""


@dataclass(frozen=True)
class Type:
    """Shape and element type of an array: ``Type((1, 8, 8, 16), "int8")``."""

    shape: Shape
    dtype: str

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return prod(self.shape) * np.dtype(self.dtype).itemsize

    @staticmethod
    def of(array: Any) -> Type:
        """The type of a NumPy array."""
        return _type(array.shape, array.dtype)

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


@lru_cache(maxsize=4096)
def _type(shape: Shape, dtype: Any) -> Type:
    """Remembered: to make a type takes longer than a small kernel."""
    return Type(shape, DTYPE_NAMES.get(dtype.str) or str(dtype))


@dataclass(frozen=True)
class Alias:
    """Result ``output`` may start at the address of operand ``input``; ``rule`` is the table's row."""

    output: str
    input: str
    rule: str


@dataclass(frozen=True)
class Function:
    """One entry of the operator table, for example ``conv2d.vjp_x``.

    ``inputs`` and ``outputs`` are names in call order; a trailing ``?`` in the declaration marks an operand
    that may be None or a result that nobody may want.
    """

    name: str
    run: Callable[..., Any]
    types: Callable[..., tuple[Type, ...]]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    optional: frozenset[str]
    aliases: tuple[Alias, ...]
    updates: str | None
    """The operand that the function's first result replaces in place (updates only)."""

    def __call__(self, *arrays: Any, **attributes: Any) -> tuple[Any, ...]:
        """Run the reference; always a tuple, one entry a result."""
        results = self.run(*arrays, **attributes)
        return results if isinstance(results, tuple) else (results,)


FUNCTIONS: dict[str, Function] = {}
"""Every function of every operator by name, filled when ``goldgrad.ops`` is imported."""

F = TypeVar("F", bound=Callable[..., Any])


def function(
    inputs: str,
    outputs: str,
    types: Callable[..., tuple[Type, ...]],
    aliases: str = "",
    updates: str | None = None,
) -> Callable[[F], F]:
    """Enter the decorated function into :data:`FUNCTIONS`.

    ``inputs`` and ``outputs`` are names separated by spaces, ``types(*input_types, **attributes)`` gives
    the results' types or raises :class:`~goldgrad.errors.ConstraintError`, ``aliases`` lists legal pairs as
    ``"dx=dx0:CONV-A2"``, separated by spaces.
    """

    def enter(run: F) -> F:
        name = f"{run.__module__.rpartition('.')[2]}.{run.__name__}"
        names_in, names_out = inputs.split(), outputs.split()
        FUNCTIONS[name] = Function(
            name=name,
            run=run,
            types=_remember(types),
            inputs=tuple(n.rstrip("?") for n in names_in),
            outputs=tuple(n.rstrip("?") for n in names_out),
            optional=frozenset(n[:-1] for n in (*names_in, *names_out) if n.endswith("?")),
            aliases=tuple(_aliases(aliases)),
            updates=updates,
        )
        return run

    return enter


def _remember(types: Callable[..., tuple[Type, ...]]) -> Callable[..., tuple[Type, ...]]:
    """``types``, computed once for given operands and attributes: a training step asks for the same again and again."""
    cached = lru_cache(maxsize=1024, typed=True)(types)

    @wraps(types)
    def remembered(*operands: Any, **attributes: Any) -> tuple[Type, ...]:
        try:
            return cached(*operands, **attributes)
        except TypeError:  # an attribute that cannot be looked up, or one too many or too few
            return types(*operands, **attributes)

    return remembered


def _aliases(table: str) -> Iterator[Alias]:
    for row in table.split():
        pair, _, rule_id = row.partition(":")
        output, _, operand = pair.partition("=")
        yield Alias(output, operand, rule_id)
