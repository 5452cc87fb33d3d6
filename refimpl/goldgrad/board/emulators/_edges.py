"""Edges for the timing model, counted by edges.h in C, or here in Python: the same counts, by another way."""

from __future__ import annotations

import ctypes
import mmap
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...rules import rule
from ..errors import BoardError
from ..timing.edges import Accesses, Block, Edge, Trace

NONE = 0xFFFF_FFFF
BLOCKS, EDGES, PREDICTOR = 1 << 15, 1 << 17, 512
"""Room for them; a training step of the largest published network takes a tenth of it."""
STRAIGHT, CONDITIONAL, INDIRECT = range(3)
"""enum gg_ending."""
WEAKLY_NOT = 1
"""Where every counter of the predictor starts."""
CHUNK = 1 << 20
"""Blocks that the Python version keeps before it looks at them."""
TOO_MANY = "the program has more blocks of code than the timing model has room for; time a part of it"

BLOCK = np.dtype([(name, "<u4") for name in ("start", "size", "edges", "last", "target", "ending", "instructions")])
EDGE = np.dtype(
    [("from", "<u4"), ("to", "<u4"), ("next", "<u4"), ("region", "<i4"), ("count", "<u8"), ("missed", "<u8")]
)


ACCESS = np.dtype([(name, "<u4") for name in ("pc", "before", "address", "touched", *Accesses._fields)])
EVENT = np.dtype([("pc", "<u4"), ("region", "<i4"), *((name, "<u8") for name in Accesses._fields)])
ACCESSES, EVENTS = 1 << 18, 1 << 18
CACHE_LINES = 32 * 4 + 64 * 2 + 64
FREE = -(1 << 31)
"""The region of an event that is none."""


class MemoryState(ctypes.Structure):
    """struct gg_memory of memory.h."""

    _fields_ = (
        ("accesses", ctypes.c_void_p),
        ("events", ctypes.c_void_p),
        ("touched", ctypes.c_void_p),
        ("access_room", ctypes.c_uint32),
        ("event_room", ctypes.c_uint32),
        ("access_count", ctypes.c_uint32),
        ("event_count", ctypes.c_uint32),
        ("touched_count", ctypes.c_uint32),
        ("full", ctypes.c_uint32),
        ("lines", ctypes.c_uint32 * CACHE_LINES),
    )


class WatchState(ctypes.Structure):
    """struct gg_watch of edges.h."""

    _fields_ = (
        ("blocks", ctypes.c_void_p),
        ("edges", ctypes.c_void_p),
        ("predictor", ctypes.c_void_p),
        ("block_room", ctypes.c_uint32),
        ("edge_room", ctypes.c_uint32),
        ("predictor_room", ctypes.c_uint32),
        ("block_count", ctypes.c_uint32),
        ("edge_count", ctypes.c_uint32),
        ("full", ctypes.c_uint32),
        ("last", ctypes.c_uint32),
        ("seen", ctypes.c_uint32),
    )


class WatchInC:
    """Memory for edges.h, and what it has counted."""

    def __init__(self) -> None:
        self.blocks, self.edges = np.zeros(BLOCKS, BLOCK), np.zeros(EDGES, EDGE)
        self.predictor = np.full(PREDICTOR, WEAKLY_NOT, np.uint8)
        self.state = WatchState(
            *(array.ctypes.data for array in (self.blocks, self.edges, self.predictor)),
            *(BLOCKS, EDGES, PREDICTOR, 0, 0, 0, NONE, NONE),
        )

    def take(self) -> Trace:
        """Give what was counted since the last time."""
        if self.state.full:
            raise BoardError(TOO_MANY)
        return take_edges(self.blocks, self.edges[: self.state.edge_count])


def take_edges(blocks: np.ndarray[Any, Any], edges: np.ndarray[Any, Any]) -> Trace:
    """Make a trace of the C side's arrays, and set its counts to 0."""
    names: dict[int, Block] = {}

    def block(at: int) -> Block:
        if at not in names:
            names[at] = Block(int(blocks[at]["start"]), int(blocks[at]["size"]))
        return names[at]

    used = edges[edges["count"] > 0].tolist()
    found = Trace.of(
        (Edge(region, None if before == NONE else block(before), block(to)), count, missed)
        for before, to, _, region, count, missed in used
    )
    edges["count"] = 0
    edges["missed"] = 0
    return found


class WatchInFile:
    """Files that another process maps: a struct gg_watch and a struct gg_memory, with their arrays behind them."""

    def __init__(self, folder: Path, memory: bool) -> None:
        """``memory`` False watches edges alone."""
        size = ctypes.sizeof(WatchState)
        self.files = {"watch": folder / "watch"}
        whole = size + BLOCKS * BLOCK.itemsize + EDGES * EDGE.itemsize + PREDICTOR
        self._watch = _mapped(self.files["watch"], whole)
        self._state = WatchState.from_buffer(self._watch)
        self._blocks = np.frombuffer(self._watch, BLOCK, BLOCKS, size)
        self._edges = np.frombuffer(self._watch, EDGE, EDGES, size + self._blocks.nbytes)
        np.frombuffer(self._watch, np.uint8, PREDICTOR, whole - PREDICTOR)[:] = WEAKLY_NOT
        self._state.block_room, self._state.edge_room, self._state.predictor_room = BLOCKS, EDGES, PREDICTOR
        self._state.last = self._state.seen = NONE
        self._memory = None
        if memory:
            self.files["memory"] = folder / "memory"
            size, accesses, events = ctypes.sizeof(MemoryState), ACCESSES * ACCESS.itemsize, EVENTS * EVENT.itemsize
            self._memory = _mapped(self.files["memory"], size + accesses + events + 4 * ACCESSES)
            self._accessed = MemoryState.from_buffer(self._memory)
            self._events = np.frombuffer(self._memory, EVENT, EVENTS, size + accesses)
            self._accessed.access_room, self._accessed.event_room = ACCESSES, EVENTS
            self._accessed.lines[:] = [NONE] * CACHE_LINES
            self._events["region"] = FREE

    def take(self) -> Trace:
        """Give what was counted since the last time, while the other process stands still."""
        if self._state.full or (self._memory and self._accessed.full):
            raise BoardError(TOO_MANY)
        found = take_edges(self._blocks, self._edges[: self._state.edge_count])
        if self._memory:
            used = self._events[self._events["region"] != FREE]
            found.memory = {(region, pc): Accesses(*counts) for pc, region, *counts in used.tolist() if any(counts)}
            for name in Accesses._fields:
                self._events[name] = 0
        return found

    def close(self) -> None:
        """Let go of the files."""
        del self._state, self._blocks, self._edges
        if self._memory:
            del self._accessed, self._events
            self._memory.close()
        self._watch.close()


def _mapped(path: Path, size: int) -> mmap.mmap:
    with path.open("w+b") as stream:
        stream.truncate(size)
        return mmap.mmap(stream.fileno(), size)


class WatchInPython:
    """The same for a stream of blocks: ``append`` each, ``mark`` regions in between, ``take`` counts.

    Blocks are only noted when they run; NumPy counts a million at a time.
    """

    def __init__(self, code: Callable[[int, int], bytes]) -> None:
        """``code`` gives the bytes at an address."""
        self._code = code
        self.stream: list[int] = []
        """Blocks as start << 16 | size."""
        self.append = self.stream.append
        self._marks: list[tuple[int, int]] = []
        self._region = 0
        self._numbers: dict[int, int] = {}
        self._blocks: list[Block] = []
        self._rows: list[tuple[int, int, int, int, int]] = []
        self._last = -1
        self._targets: dict[int, int] = {}
        self._predictor = np.full(PREDICTOR, WEAKLY_NOT, np.uint8)
        self._count: Counter[tuple[int, int, int]] = Counter()
        self._missed: Counter[tuple[int, int, int]] = Counter()
        self.instructions: Counter[int] = Counter()
        """By region, of what has been looked at."""

    def mark(self, region: int, at: int | None = None) -> None:
        """What follows, from number ``at`` on if that is given, belongs to this region."""
        self._marks.append((len(self.stream) if at is None else at, region))

    def take(self) -> Trace:
        """Give what was counted since the last time."""
        self.look()

        def edge(key: tuple[int, int, int]) -> Edge:
            region, before, to = key
            return Edge(region, None if before < 0 else self._blocks[before], self._blocks[to])

        found = Trace(
            Counter({edge(key): count for key, count in self._count.items()}),
            Counter({edge(key): count for key, count in self._missed.items()}),
        )
        self._count.clear()
        self._missed.clear()
        return found

    def look(self) -> None:
        """Count what is in the stream, and empty it."""
        stream = np.array(self.stream, np.int64)
        self.stream.clear()
        self.count(stream)

    def count(self, stream: np.ndarray[Any, Any]) -> None:
        """Count blocks, in which the marks lie that were set since the last time."""
        places = [0, *(at for at, _ in self._marks), len(stream)]
        regions = [self._region, *(region for _, region in self._marks)]
        self._marks, self._region = [], regions[-1]
        if not len(stream):
            return
        keys, at = np.unique(stream, return_inverse=True)
        ids = np.array([self._number(key) for key in keys.tolist()])[at]
        before = np.concatenate(([self._last], ids[:-1]))
        self._last = int(ids[-1])
        region = np.repeat(np.array(regions), np.diff(places))
        missed = self._predict(before, ids)
        keys, which, counts = np.unique(
            (region + 2) << 40 | (before + 1) << 20 | ids, return_inverse=True, return_counts=True
        )
        wrong = np.bincount(which, missed, len(keys)).astype(int).tolist()
        for key, count, misses in zip(keys.tolist(), counts.tolist(), wrong, strict=True):
            edge = (key >> 40) - 2, (key >> 20 & 0xFFFFF) - 1, key & 0xFFFFF
            self._count[edge] += count
            self.instructions[edge[0]] += count * self._rows[edge[2]][4]
            if misses:
                self._missed[edge] += misses

    def _number(self, key: int) -> int:
        if key not in self._numbers:
            self._numbers[key] = len(self._blocks)
            block = Block(key >> 16, key & 0xFFFF)
            self._blocks.append(block)
            ending, last, count = ending_of(self._code(*block), block.start)
            self._rows.append((block.start, block.end, ending, last, count))
        return self._numbers[key]

    @rule("TIM-S5")
    def _predict(self, before: np.ndarray[Any, Any], ids: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Which of the steps from ``before`` to ``ids`` were predicted wrongly."""
        rows = np.array(self._rows, np.int64)
        known = before >= 0
        ending, end, last = (np.where(known, rows[before, column], 0) for column in (2, 1, 3))
        start = rows[ids, 0]
        taken = start != end
        missed = np.zeros(len(ids), bool)
        conditional = np.flatnonzero(known & (ending == CONDITIONAL))
        slots = last[conditional] >> 1 & PREDICTOR - 1
        missed[conditional] = self._counters(slots, taken[conditional])
        indirect = np.flatnonzero(known & (ending == INDIRECT))
        missed[indirect] = self._indirect(before[indirect], start[indirect])
        return missed

    def _indirect(self, before: np.ndarray[Any, Any], start: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """An indirect branch is taken to go where it went before."""
        order = np.argsort(before, kind="stable")
        who, where = before[order], start[order]
        first = np.concatenate(([True], who[1:] != who[:-1])) if len(who) else np.zeros(0, bool)
        guess = np.concatenate(([-1], where[:-1])) if len(who) else where
        guess[first] = [self._targets.get(block, -1) for block in who[first].tolist()]
        self._targets.update(zip(who.tolist(), where.tolist(), strict=True))
        found = np.zeros(len(order), bool)
        found[order] = guess != where
        return found

    def _counters(self, slots: np.ndarray[Any, Any], taken: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Counters of two bits, by slot.  A step maps states to states; maps are composed in a scan, slot by slot."""
        if not len(slots):
            return np.zeros(0, bool)
        order = np.argsort(slots, kind="stable")
        slot, outcome = slots[order], taken[order]
        place = np.arange(len(slot))
        first = np.concatenate(([True], slot[1:] != slot[:-1]))
        since = place - np.maximum.accumulate(np.where(first, place, 0))
        maps = np.where(outcome, TAKEN, NOT_TAKEN)
        step = 1
        while step <= since.max():
            inside = np.flatnonzero(since >= step)
            maps[inside] = THEN[maps[inside - step], maps[inside]]
            step *= 2
        initial = self._predictor[slot]
        after = maps >> 2 * initial & 3
        state = np.where(first, initial, np.concatenate(([0], after[:-1])))
        ends = np.concatenate((first[1:], [True]))
        self._predictor[slot[ends]] = after[ends]
        found = np.zeros(len(order), bool)
        found[order] = (state >= 2) != outcome
        return found


def _packed(states: list[int]) -> int:
    return sum(state << 2 * i for i, state in enumerate(states))


TAKEN, NOT_TAKEN = np.uint8(_packed([1, 2, 3, 3])), np.uint8(_packed([0, 0, 1, 2]))
"""What an outcome makes of the four states, two bits each."""
_ALL = np.arange(256)
THEN = np.zeros((256, 256), np.uint8)
"""The first map, then the second, as one map."""
for _state in range(4):
    THEN |= (_ALL[None, :] >> 2 * (_ALL[:, None] >> 2 * _state & 3) & 3).astype(np.uint8) << np.uint8(2 * _state)


def ending_of(code: bytes, start: int) -> tuple[int, int, int]:
    """How a block ends, the address of its last instruction, and how many it has: gg_ending of edges.h."""
    at = count = in_it = 0
    guarded, first, second, wide, last = False, 0, 0, False, start
    while at + 1 < len(code):
        first = int.from_bytes(code[at : at + 2], "little")
        wide = first >= 0xE800 and at + 3 < len(code)
        second = int.from_bytes(code[at + 2 : at + 4], "little") if wide else 0
        guarded = in_it > 0
        in_it = max(0, in_it - 1)
        if first & 0xFF00 == 0xBF00 and first & 0xF:
            in_it = 4 - ((first & 0xF) & -(first & 0xF)).bit_length() + 1
        last = start + at
        at += 4 if wide else 2
        count += 1
    if guarded:
        ending = CONDITIONAL
    elif not wide:
        is_conditional = (first & 0xF000 == 0xD000 and first & 0x0F00 < 0x0E00) or first & 0xF500 == 0xB100
        ending = CONDITIONAL if is_conditional else INDIRECT if _is_indirect(first, 0, False) else STRAIGHT
    elif first & 0xF800 == 0xF000 and second & 0x8000:
        is_conditional = second & 0x5000 == 0 and first & 0x0380 != 0x0380
        ending = CONDITIONAL if is_conditional else STRAIGHT
    else:
        ending = INDIRECT if _is_indirect(first, second, True) else STRAIGHT
    return ending, last, count


def _is_indirect(first: int, second: int, wide: bool) -> bool:
    """Whether a branch goes where a register or memory says: gg_is_indirect of edges.h."""
    if not wide:
        return first & 0xFF00 in (0x4700, 0xBD00) or first & 0xFD87 == 0x4487
    is_load = first & 0xFF70 == 0xF850 and second >> 12 == 15
    is_list = first & 0xFE50 == 0xE810 and first & 0x0180 not in (0, 0x0180) and second >> 15
    is_table = first >> 4 == 0xE8D and second & 0xFFE0 == 0xF000
    return bool(is_load or is_list or is_table)
