"""Scratch memory of a composite: where its pieces lie, and how a kernel's results get into memory that exists."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import ConstraintError
from ..graph import Node
from ..numerics import Array
from ..ops import Type

Call = Callable[[str, Sequence[Array | None], Sequence[Array | None], Mapping[str, Any]], None]
"""Computes a node into memory that exists: ``call(function, operands, destinations, attributes)``.

A destination is None where nobody wants the result.  It overlaps an operand only where the function's aliasing table
allows it.
"""


def writing(provider: Callable[..., tuple[Array, ...]]) -> Call:
    """A call that asks a provider for the results and copies them where they belong."""

    def call(
        function: str,
        operands: Sequence[Array | None],
        destinations: Sequence[Array | None],
        attributes: Mapping[str, Any],
    ) -> None:
        results = provider(function, *operands, **attributes)
        for home, value in zip(destinations, results, strict=True):
            if home is not None:
                if Type.of(value) != Type.of(home):
                    raise ConstraintError(
                        "TRAIN-I2", f"{function} gives {Type.of(value)} for a part", f"give {Type.of(home)}"
                    )
                home[...] = value

    return call


def may_alias(node: Node, result: str, operand: str) -> bool:
    """Whether a function's aliasing table lets a result lie on an operand, wherever that is given (INP-S3)."""
    table = {(alias.output, alias.input) for alias in node.definition.aliases}
    outputs = [name for name, tensor in zip(node.definition.outputs, node.outputs, strict=True) if tensor == result]
    inputs = [name for name, tensor in zip(node.definition.inputs, node.inputs, strict=False) if tensor == operand]
    return all((output, given) in table for output in outputs for given in inputs)


def align(offset: int, dtype: str) -> int:
    """The least multiple of the element's size from ``offset`` on."""
    size = np.dtype(dtype).itemsize
    return -(-offset // size) * size


def view(scratch: Array, offset: int, type_: Type) -> Array:
    """The bytes of ``scratch`` from ``offset`` on as an array."""
    return scratch[offset : offset + type_.nbytes].view(type_.dtype).reshape(type_.shape)


@dataclass
class Shelf:
    """Places pieces in scratch one after the other, each at the lowest offset that is free while it lives."""

    taken: dict[object, tuple[int, int]] = field(default_factory=dict)
    size: int = 0

    def put(self, key: object, type_: Type) -> int:
        """Find a place for a piece; returns its offset."""
        offset = 0
        for start, end in sorted(self.taken.values()):
            if align(offset, type_.dtype) + type_.nbytes <= start:
                break
            offset = max(offset, end)
        offset = align(offset, type_.dtype)
        self.taken[key] = (offset, offset + type_.nbytes)
        self.size = max(self.size, offset + type_.nbytes)
        return offset

    def move(self, old: object, new: object) -> int:
        """Let a piece take the place of another, which ends; returns the offset."""
        self.taken[new] = self.taken.pop(old)
        return self.taken[new][0]

    def free(self, key: object) -> None:
        """End a piece, if it is there."""
        self.taken.pop(key, None)
