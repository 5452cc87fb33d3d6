"""How much stack each operator takes (MEAS-S9): looked at, and painted anew, at every mark."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..rules import rule
from .board import PAINT, Board
from .emulators.unicorn import Unicorn
from .errors import BoardError
from .program import FIRMWARE


class StackWatch:
    """Follows the stack of a board on Unicorn from now on; the board's own high-water means nothing any more."""

    def __init__(self, board: Board) -> None:
        if not isinstance(board.emulator, Unicorn):
            raise BoardError(f"the stack by operator is not seen on {board.emulator.name}; use unicorn")
        self._emulator = board.emulator
        self._bottom, self._top = (board.elf.symbol(name).address for name in ("gg_stack_bottom", "gg_stack_top"))
        self._region, self._start = FIRMWARE, self._top
        self._taken: dict[int, int] = {}
        self._lowest = self._top - board.stack_high_water()
        board.emulator.watch_marks(self._on_mark)

    def by_region(self) -> Mapping[int, int]:
        """Bytes that each region took, the current one as far as it went."""
        self._look(self._top)
        return dict(self._taken)

    def high_water(self) -> int:
        """What the board's would be if nobody had painted over it (MEAS-S4)."""
        self._look(self._top)
        return self._top - self._lowest

    def _on_mark(self, region: int, pointer: int) -> None:
        lowest = self._look(pointer)
        if lowest < pointer:
            words = np.full((pointer - lowest) // 4, PAINT, "<u4")
            self._emulator.write(lowest, words.tobytes())
        self._region, self._start = region, pointer

    @rule("MEAS-S9")
    def _look(self, pointer: int) -> int:
        """The lowest word in use below ``pointer``, noted for the region that lasted until now."""
        words = np.frombuffer(self._emulator.read(self._bottom, pointer - self._bottom), "<u4")
        used = np.flatnonzero(words != PAINT)
        lowest = self._bottom + 4 * int(used[0]) if len(used) else pointer
        self._taken[self._region] = max(self._taken.get(self._region, 0), self._start - lowest)
        self._lowest = min(self._lowest, lowest)
        return lowest
