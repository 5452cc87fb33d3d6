"""Streamed forward blocks: row by row, each inner map holding only the rows that are still needed.

The body's nodes give an output row from a few rows of their maps.  Nodes that pass single pixels on form a *pipeline*:
it computes a row of its maps at once, or up to ``group`` rows, or of a row a tile of ``columns`` pixels at a time, and
what passes between its nodes are these rows, or a tile.  Between pipelines lie *bands*: the rows of an inner map that a
later step reads, moved up as rows die.  Which pipeline computes which rows, one step after the other, is the
*schedule*; it is fixed when the graph is compiled, and from it follow the sizes of the bands and which result may lie
on which operand.  A kernel prepares (widens weights, makes planes of the rows under a window) once a step: so larger
groups are faster, and want more scratch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import NamedTuple

import numpy as np

from ..errors import require
from ..graph import Graph, Node, Tensor
from ..numerics import Array
from ..ops import Type
from ..ops._window import Window
from ..rules import rule
from ._scratch import Call, may_alias, view

MAPS = {
    "conv2d.forward": ("x",),
    "depthwise_conv2d.forward": ("x",),
    "avg_pool2d.forward": ("x",),
    "max_pool2d.forward": ("x",),
    "add.forward": ("x1", "x2"),
    "save_channels.forward": ("x",),
    "quantize_input.from_uint8": ("x",),
    "quantize_input.from_float32": ("x",),
}
"""The functions that give an output row from some rows of these operands, and of the others all there is."""
POISON = 0xFF


def window_of(tensors: Mapping[str, Tensor], node: Node) -> Window | None:
    """The window by which a node reads its map, or None where each output pixel reads that pixel alone."""
    a = node.attributes
    if node.function.startswith(("conv2d", "depthwise_conv2d")):
        w = node.operand("w")
        assert w is not None
        kernel = tensors[w].type.shape[-3:-1] if node.function.startswith("conv2d") else tensors[w].type.shape[:2]
    elif "kernel" in a:
        kernel = a["kernel"]
    else:
        return None
    x = node.operand("x")
    assert x is not None
    geometry = {key: a[key] for key in ("stride", "pad", "dilation") if key in a}
    window = Window(tensors[x].type.shape[1:3], kernel, **geometry)
    alone = (window.kernel, window.stride, window.pad) == ((1, 1), (1, 1), (0, 0, 0, 0))
    return None if alone else window


def span(window: Window | None, axis: int, first: int, end: int) -> tuple[int, int, int, int]:
    """Along one axis, what outputs first .. end - 1 read: inputs from, to (exclusive), padding before and after."""
    if window is None:
        return first, end, 0, 0
    stride, pad, reach = (
        window.stride[axis],
        window.pad[2 * axis],
        (window.kernel[axis] - 1) * window.dilation[axis] + 1,
    )
    low, high = first * stride - pad, (end - 1) * stride - pad + reach
    start, stop = max(low, 0), min(high, window.in_hw[axis])
    return start, stop, start - low, high - stop


@rule("STREAM-C2")
def is_row_local(tensors: Mapping[str, Tensor], node: Node) -> bool:
    """Whether a node can be streamed: one sample, a map of rows and columns, and no output that meets no pixel."""
    if node.function not in MAPS:
        return False
    maps = [name for name in (*_maps(node), *node.results) if name is not None]
    if any(len(tensors[name].type.shape) != 4 or tensors[name].type.shape[0] != 1 for name in maps):
        return False
    window = window_of(tensors, node)
    return window is None or window.unmet() is None


def _maps(node: Node) -> list[str | None]:
    return [node.operand(name) for name in MAPS[node.function]]


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 1


@rule("STREAM-S10")
def fed_by_rows(node: Node, tensors: Mapping[str, Tensor]) -> list[str]:
    """The samples of which a composite gets one row after the other, as it needs them, instead of all at once."""
    if "fed" not in node.attributes:
        return []
    maps = {name for part in node.body if part.function in MAPS for name in _maps(part)}
    return [name for name in node.operands if name in maps and tensors[name].role == "input"]


@rule("STREAM-C2", "STREAM-C5")
def check(graph: Graph, node: Node, where: str) -> None:
    """Raise unless every node of the body is row-local and the attributes are what they can be."""
    columns, group, fed = (node.attributes.get(name, 1) for name in ("columns", "group", "fed"))
    require(
        set(node.attributes) <= {"columns", "group", "fed"} and _is_count(columns) and _is_count(group) and fed == 1,
        "STREAM-C2",
        f"{where} has the attributes {dict(node.attributes)}",
        "give columns, a number of pixels of at least 1, if not whole rows; group, a number of rows of at least 1, if "
        "not one at a time; and fed=1 if the sample comes row by row",
    )
    require(
        group == 1 or "columns" not in node.attributes,
        "STREAM-C2",
        f"{where} runs {group} rows of {columns} columns at a time",
        "give columns or a group of rows",
    )
    for name in fed_by_rows(node, graph.tensors):
        others = [other for other in graph.users(name) if other is not node]
        require(not others, "STREAM-C5", f"{where}: {name} comes row by row and has other readers", "feed it whole")
    tensors = graph.inside(node).tensors
    for part in node.body:
        require(
            is_row_local(tensors, part),
            "STREAM-C2",
            f"{where} streams {part.function}, or more than one sample, or a window that meets no pixel",
            f"stream one sample through {', '.join(MAPS)}",
        )


@dataclass(frozen=True)
class Read:
    """A part of the body reads rows ``first`` .. ``end`` - 1 of a map in one step."""

    part: int
    name: str
    first: int
    end: int
    windowed: bool


class Step(NamedTuple):
    """A pipeline computes rows ``first`` .. ``end`` - 1 of all its results."""

    pipeline: int
    first: int
    end: int


class Schedule:
    """What a streamed block does when; made of the graph alone."""

    def __init__(self, graph: Graph, node: Node) -> None:
        self.node, self.parts = node, node.body
        self.tensors = graph.inside(node).tensors
        self.windows = [window_of(self.tensors, part) for part in self.parts]
        self.maker = {name: i for i, part in enumerate(self.parts) for name in part.results}
        self.inner = {tensor.name for tensor in node.inner}
        self.fed = fed_by_rows(node, graph.tensors)
        self.columns: int = node.attributes.get("columns", 2**31 - 1)
        self.group: int = node.attributes.get("group", 1)
        """How many rows a step computes at most."""
        self.pipeline, self.tiles = self._pipelines()
        self.steps = self._steps()

    # --- pipelines -----------------------------------------------------------------------------------------------

    @rule("STREAM-S2")
    def _pipelines(self) -> tuple[list[int], set[str]]:
        """The number of each part's pipeline, and the inner maps of which a tile is all that ever exists.

        An inner map is a tile if whoever reads it reads single pixels, and can run as soon as they are there.
        """
        pipeline, tiles = list(range(len(self.parts))), set[str]()
        for name in (n for part in self.parts for n in part.results if n in self.inner):
            readers = [i for i, part in enumerate(self.parts) if name in part.operands]
            if any(self.windows[i] is not None for i in readers):
                continue
            joined = {pipeline[i] for i in (self.maker[name], *readers)}
            merged = [min(joined) if p in joined else p for p in pipeline]
            if self._order(merged) is not None:
                pipeline = merged
                tiles.add(name)
        return pipeline, tiles

    def _order(self, pipeline: list[int]) -> list[int] | None:
        """The pipelines, each after those whose rows it waits for, or None if two wait for each other."""
        waits: dict[int, set[int]] = {p: set() for p in sorted(set(pipeline))}
        for i, part in enumerate(self.parts):
            for name in part.operands:
                if name in self.maker and (pipeline[self.maker[name]] != pipeline[i] or self.windows[i] is not None):
                    waits[pipeline[i]].add(pipeline[self.maker[name]])
        order: list[int] = []
        while len(order) < len(waits):
            ready = next((p for p in waits if p not in order and waits[p] <= set(order)), None)
            if ready is None:
                return None
            order.append(ready)
        return order

    def members(self, pipeline: int) -> list[int]:
        """The parts of a pipeline, in the body's order."""
        return [i for i, p in enumerate(self.pipeline) if p == pipeline]

    def height(self, pipeline: int) -> int:
        """Rows of a pipeline's results."""
        return self.tensors[self.parts[self.members(pipeline)[0]].results[0]].type.shape[1]

    # --- steps ---------------------------------------------------------------------------------------------------

    def reads(self, step: Step) -> Iterator[Read]:
        """What a pipeline reads to compute some rows, tiles left out."""
        for i in self.members(step.pipeline):
            for name in _maps(self.parts[i]):
                if name is not None and name not in self.tiles:
                    first, end, *_ = span(self.windows[i], 0, step.first, step.end)
                    yield Read(i, name, first, end, self.windows[i] is not None)

    def _sources(self, pipeline: int) -> set[int]:
        """The other pipelines whose rows it reads."""
        makers = {self.maker[read.name] for read in self.reads(Step(pipeline, 0, 1)) if read.name in self.maker}
        return {self.pipeline[i] for i in makers} - {pipeline}

    @cached_property
    def _behind(self) -> Mapping[int, set[int]]:
        """For each pipeline, itself and those for which it waits, through others too."""
        behind: dict[int, set[int]] = {}
        for p in self._order(self.pipeline) or ():
            behind[p] = {p}.union(*(behind[q] for q in self._sources(p)))
        return behind

    @property
    @rule("STREAM-S2")
    def leader(self) -> int:
        """The pipeline that waits for most others."""
        return max(self._behind, key=lambda p: (len(self._behind[p]), p))

    @rule("STREAM-S2")
    def _steps(self) -> list[Step]:
        """The steps in order: the rows of the leader, ``group`` at a time, others no earlier than needed.

        What the leader never waits for (a slice that is saved, say) runs as soon as its rows are there.
        """
        order, leader = list(self._behind), self.leader
        done, rows = dict.fromkeys(order, 0), {p: self.height(p) for p in order}
        steps: list[Step] = []
        eager = [p for p in order if p not in self._behind[leader]]

        def missing(step: Step) -> Iterator[tuple[int, int]]:
            for read in self.reads(step):
                p = step.pipeline
                q = self.pipeline[self.maker[read.name]] if read.name in self.maker else p
                if q != p and done[q] < read.end:
                    yield q, read.end

        def take(step: Step) -> None:
            steps.append(step)
            done[step.pipeline] = step.end

        def advance(p: int, end: int) -> None:
            """The next step of a pipeline that has to have its rows up to ``end`` - 1."""
            step = Step(p, done[p], min(done[p] + self.group, end))
            for q, needed in list(missing(step)):
                while done[q] < needed:
                    advance(q, needed)
            if done[p] == step.first:  # else it ran as soon as what was missing was there
                take(step)
            for q in eager:
                while ready := self._ready(q, done[q], rows[q], missing):
                    take(ready)

        for p in (leader, *reversed(order)):
            kept = any(name not in self.inner for i in self.members(p) for name in self.parts[i].results)
            while kept and done[p] < rows[p]:
                advance(p, rows[p])
        return steps

    def _ready(
        self, pipeline: int, first: int, end: int, missing: Callable[[Step], Iterator[tuple[int, int]]]
    ) -> Step | None:
        """The step of most rows from ``first`` on, if any, for which nothing is missing."""
        sizes = range(min(self.group, end - first), 0, -1)
        steps = (Step(pipeline, first, first + size) for size in sizes)
        return next((step for step in steps if not any(True for _ in missing(step))), None)

    @cached_property
    def bands(self) -> Mapping[str, tuple[int, list[int]]]:
        """For each map that exists in rows: how many its band has, and the first that it holds as each row comes.

        Those are inner maps that are no tiles, and a sample that is fed, whose rows come when they are first read.
        """
        last: dict[tuple[str, int], int] = {}
        made: dict[str, list[int]] = {}
        for number, step in enumerate(self.steps):
            for read in self.reads(step):
                last |= {(read.name, r): number for r in range(read.first, read.end)}
                if read.name in self.fed:
                    rows = made.setdefault(read.name, [])
                    rows += [number] * (read.end - len(rows))
            for i in self.members(step.pipeline):
                for name in self.parts[i].results:
                    if name in self.inner and name not in self.tiles:
                        made.setdefault(name, []).extend([number] * (step.end - step.first))
        bands = {}
        for name, numbers in made.items():
            base, bases = 0, []
            for row, number in enumerate(numbers):
                if row == 0 or number != numbers[row - 1]:  # rows of one step find the band as it then is
                    while base < row and last.get((name, base), -1) < number:
                        base += 1
                bases.append(base)
            bands[name] = max(row - base + 1 for row, base in enumerate(bases)), bases
        return bands

    @cached_property
    def most(self) -> Mapping[int, int]:
        """How many rows a step of each pipeline computes at most."""
        most: dict[int, int] = {}
        for step in self.steps:
            most[step.pipeline] = max(most.get(step.pipeline, 0), step.end - step.first)
        return most

    # --- memory --------------------------------------------------------------------------------------------------

    def tile_columns(self, name: str) -> int:
        """Pixels of a tile of a map."""
        return min(self.columns, self.tensors[name].type.shape[2])

    @cached_property
    @rule("STREAM-M1")
    def layout(self) -> tuple[Mapping[str, tuple[int, Type]], int]:
        """Offset and type of every band and tile in scratch, and the bytes of all."""
        layout, offset = {}, 0
        made = [n for part in self.parts for n in part.results if n in self.tiles or n in self.bands]
        for name in (*(n for n in self.fed if n in self.bands), *made):
            _, _, width, channels = self.tensors[name].type.shape
            if name in self.bands:
                shape = (1, self.bands[name][0], width, channels)
            else:
                shape = (1, self.most[self.pipeline[self.maker[name]]], self.tile_columns(name), channels)
            layout[name] = offset, Type(shape, self.tensors[name].type.dtype)
            offset += layout[name][1].nbytes
        return layout, offset

    @rule("STREAM-A1")
    def may_share(self, result: str, operand: str) -> bool:
        """Whether rows of the result, when they are written, end at or before what is still unread of the operand."""
        whole = [n for part in self.parts for n in part.operands if n == operand and n not in _maps(part)]
        r, x = self.tensors[result].type, self.tensors[operand].type
        if whole or len(x.shape) != 4 or len(r.shape) != 4:
            return False
        maker = self.maker[result]
        row_r, row_x = (t.nbytes // t.shape[1] for t in (r, x))
        unread = max(r.nbytes, x.nbytes)
        for step in reversed(self.steps):
            reads = [read for read in self.reads(step) if read.name == operand]
            if step.pipeline == self.pipeline[maker]:
                starts = step.first * row_r
                here = [read.first * row_x for read in reads if not self._reads_before(read, result, starts, row_x)]
                if step.end * row_r > min([unread, *here]):
                    return False
            unread = min([unread, *(read.first * row_x for read in reads)])
        return True

    def _reads_before(self, read: Read, result: str, starts: int, row: int) -> bool:
        """Whether, within a step, each pixel of the operand is read before the result's pixel there is written.

        The step writes the result from byte ``starts`` on; a row of the operand has ``row`` bytes.
        """
        r, x, maker = self.tensors[result].type, self.tensors[read.name].type, self.maker[result]
        pixel_r, pixel_x = (prod(t.shape[3:]) * np.dtype(t.dtype).itemsize for t in (r, x))
        if read.windowed or r.shape[2] != x.shape[2] or pixel_r > pixel_x:
            return False
        in_place = starts == read.first * row and may_alias(self.parts[maker], result, read.name)
        return read.part < maker or (read.part == maker and in_place)


def scratch_bytes(graph: Graph, node: Node) -> int:
    """Bytes of the bands and tiles."""
    return Schedule(graph, node).layout[1]


def legal_pairs(graph: Graph, node: Node) -> set[tuple[str, str]]:
    """Pairs (result, operand) that may start at one address."""
    schedule = Schedule(graph, node)
    maps = {name for part in node.body for name in _maps(part) if name in node.operands}
    maps -= {None, *schedule.fed}
    return {(r, x) for r in node.results for x in maps if x is not None and schedule.may_share(r, x)}


# --- execution -----------------------------------------------------------------------------------------------------


class Streaming:
    """A streamed block as it runs: the arrays, and which rows each band holds now."""

    def __init__(self, schedule: Schedule, arrays: Mapping[str, Array], scratch: Array, call: Call) -> None:
        self.schedule, self.arrays, self.call = schedule, arrays, call
        layout, size = schedule.layout
        assert scratch.nbytes == size
        scratch[:] = POISON
        self.buffers = {name: view(scratch, offset, type_) for name, (offset, type_) in layout.items()}
        self.base = dict.fromkeys(schedule.bands, 0)
        self.arrived = dict.fromkeys(schedule.fed, 0)

    @rule("STREAM-S2", "STREAM-F1")
    def run(self) -> None:
        """Take the steps of the schedule."""
        s = self.schedule
        for step in s.steps:
            members = s.members(step.pipeline)
            for read in s.reads(step):
                if read.name in self.arrived:
                    self._take(read.name, read.end)
            for i in members:
                for name in s.parts[i].results:
                    if name in self.base:
                        self._make_room(name, step.first)
            width = s.tensors[s.parts[members[0]].results[0]].type.shape[2]
            passes = any(name in s.tiles for i in members for name in s.parts[i].results)
            tile = min(s.columns, width) if passes else width
            for first in range(0, width, tile):
                for i in members:
                    self._compute(i, step, first, min(first + tile, width))

    @rule("STREAM-S10")
    def _take(self, name: str, end: int) -> None:
        """Take the next rows of a sample, up to row ``end`` - 1."""
        while self.arrived[name] < end:
            row = self.arrived[name]
            self._make_room(name, row)
            self.buffers[name][:, row - self.base[name]] = self.arrays[name][:, row]
            self.arrived[name] += 1

    def _make_room(self, name: str, row: int) -> None:
        """Drop a band's dead rows and move the others up, so that ``row`` has a place."""
        band, first = self.buffers[name], self.schedule.bands[name][1][row]
        drop = first - self.base[name]
        if drop:
            band[:, : band.shape[1] - drop] = band[:, drop:].copy()
            band.view(np.uint8)[:, band.shape[1] - drop :] = POISON
            self.base[name] = first

    def _compute(self, i: int, step: Step, first: int, end: int) -> None:
        """Compute columns first .. end - 1 of a step's rows of the results of part i."""
        s, part = self.schedule, self.schedule.parts[i]
        top, bottom, above, below = span(s.windows[i], 0, step.first, step.end)
        left, right, before, after = span(s.windows[i], 1, first, end)
        count = step.end - step.first
        maps, operands = _maps(part), list[Array | None]()
        for name in part.inputs:
            if name in s.tiles:
                operands.append(self.buffers[name][:, :count, : end - first])
            elif name in maps:
                assert name is not None
                rows = self._rows(name, top, bottom)
                operands.append(rows[:, :, left:right])
            else:
                operands.append(None if name is None else self.arrays[name])
        destinations: list[Array | None] = []
        for name in part.outputs:
            if name is None:
                destinations.append(None)
            elif name in s.tiles:
                destinations.append(self.buffers[name][:, :count, : end - first])
            else:
                destinations.append(self._rows(name, step.first, step.end)[:, :, first:end])
        attributes = dict(part.attributes)
        if s.windows[i] is not None:
            attributes["pad"] = (above, below, before, after)
        self.call(part.function, operands, destinations, attributes)

    def _rows(self, name: str, first: int, end: int) -> Array:
        """Rows of a map that lies in the arena or in a band."""
        if name not in self.base:
            return self.arrays[name][:, first:end]
        base, band = self.base[name], self.buffers[name]
        assert base <= first < end <= base + band.shape[1], f"{name} holds rows from {base} on, not {first} to {end}"
        return band[:, first - base : end - base]


def execute(
    graph: Graph, node: Node, operands: Mapping[str, Array], results: Mapping[str, Array], scratch: Array, call: Call
) -> None:
    """Run the block in memory that exists."""
    Streaming(Schedule(graph, node), {**operands, **results}, scratch, call).run()
