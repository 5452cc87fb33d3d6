"""Memory with guards: every array that a provider gets lies between bytes that must not change.

A block is ``guard | array | guard``, all of it filled with one byte (the poison) before the array is placed.
Results and scratch keep the poison, so that what a kernel fails to write, or reads before it writes, shows as a
difference between two poisons.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..numerics import Array
from ..ops import Type

GUARD = 192
"""Bytes on either side of an array: enough for a kernel that works in rows of 16 floats and slips by several."""

POISONS = (0xAA, 0x55)


@dataclass
class Block:
    """An array between guards.  ``raw`` is the whole block, for providers that move it to a device and back."""

    raw: Array
    start: int
    array: Array
    poison: int

    @staticmethod
    def of(kind: Type, poison: int, align: int | None = None, shift: int = 0) -> Block:
        """A poisoned block for an array of this type.

        The address is an odd multiple of ``align`` (the element's size unless told), so that a kernel cannot get
        away with wanting more alignment than its contract says; ``shift`` moves it on by as many such steps.
        """
        step = align or np.dtype(kind.dtype).itemsize
        raw = np.full(kind.nbytes + 2 * GUARD + 64, poison, np.uint8)
        start = GUARD + (-(raw.ctypes.data + GUARD)) % 16 + step * (1 + 2 * shift)
        array = raw[start : start + kind.nbytes].view(kind.dtype).reshape(kind.shape)
        return Block(raw, start, array, poison)

    @staticmethod
    def holding(array: Array, poison: int, shift: int = 0) -> Block:
        """A block that holds a copy of the array."""
        block = Block.of(Type.of(array), poison, shift=shift)
        block.array[...] = array
        return block

    def view(self, kind: Type) -> Array:
        """Memory of another type at the same address."""
        return self.raw[self.start : self.start + kind.nbytes].view(kind.dtype).reshape(kind.shape)

    def written_outside(self) -> str | None:
        """Which guard bytes changed, or None."""
        end = self.start + self.array.nbytes
        before = np.flatnonzero(self.raw[: self.start] != self.poison)
        after = np.flatnonzero(self.raw[end:] != self.poison)
        if before.size:
            return f"{before.size} bytes before its first, the nearest {self.start - int(before[-1])} before"
        if after.size:
            return f"{after.size} bytes past its end, the nearest {int(after[0])} past"
        return None
