"""Streamed forward blocks: row by row, each inner map holding only the rows that are still needed.

The body's nodes give an output row from a few rows of their maps.  Nodes that pass single pixels on form a *pipeline*:
it computes a row of its maps at once, or a tile of ``columns`` pixels at a time, and what passes between its nodes is
a row, or a tile.  Between pipelines lie *bands*: the rows of an inner map that a later step reads, moved up as rows
die.  Which pipeline computes which row, one after the other, is the *schedule*; it is fixed when the graph is compiled,
and from it follow the sizes of the bands and which result may lie on which operand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod

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
    columns, fed = node.attributes.get("columns", 1), node.attributes.get("fed", 1)
    require(
        set(node.attributes) <= {"columns", "fed"} and _is_count(columns) and fed == 1,
        "STREAM-C2",
        f"{where} has the attributes {dict(node.attributes)}",
        "give columns, a number of pixels of at least 1, if not whole rows; and fed=1 if the sample comes row by row",
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

    def _rows(self, pipeline: int) -> int:
        return self.tensors[self.parts[self.members(pipeline)[0]].results[0]].type.shape[1]

    # --- steps ---------------------------------------------------------------------------------------------------

    def reads(self, pipeline: int, row: int) -> Iterator[Read]:
        """What a pipeline reads to compute a row, tiles left out."""
        for i in self.members(pipeline):
            for name in _maps(self.parts[i]):
                if name is not None and name not in self.tiles:
                    first, end, *_ = span(self.windows[i], 0, row, row + 1)
                    yield Read(i, name, first, end, self.windows[i] is not None)

    def _sources(self, pipeline: int) -> set[int]:
        """The other pipelines whose rows it reads."""
        makers = {self.maker[read.name] for read in self.reads(pipeline, 0) if read.name in self.maker}
        return {self.pipeline[i] for i in makers} - {pipeline}

    @rule("STREAM-S2")
    def _steps(self) -> list[tuple[int, int]]:
        """(pipeline, row) in order: the rows of the pipeline behind which most stand, others no earlier than needed.

        What that one never waits for (a slice that is saved, say) runs as soon as its rows are there.
        """
        order = self._order(self.pipeline)
        assert order is not None
        done, rows = dict.fromkeys(order, 0), {p: self._rows(p) for p in order}
        steps: list[tuple[int, int]] = []
        behind: dict[int, set[int]] = {}
        for p in order:
            behind[p] = {p}.union(*(behind[q] for q in self._sources(p)))
        driver = max(order, key=lambda p: (len(behind[p]), p))
        eager = [p for p in order if p not in behind[driver]]

        def missing(p: int, row: int) -> Iterator[tuple[int, int]]:
            for read in self.reads(p, row):
                q = self.pipeline[self.maker[read.name]] if read.name in self.maker else p
                if q != p and done[q] < read.end:
                    yield q, read.end

        def advance(p: int) -> None:
            row = done[p]
            for q, end in list(missing(p, row)):
                while done[q] < end:
                    advance(q)
            if done[p] == row:  # else it ran as soon as what was missing was there
                steps.append((p, row))
                done[p] += 1
            for q in eager:
                while done[q] < rows[q] and not list(missing(q, done[q])):
                    steps.append((q, done[q]))
                    done[q] += 1

        for p in (driver, *reversed(order)):
            kept = any(name not in self.inner for i in self.members(p) for name in self.parts[i].results)
            while kept and done[p] < rows[p]:
                advance(p)
        return steps

    @cached_property
    def bands(self) -> Mapping[str, tuple[int, list[int]]]:
        """For each map that exists in rows: how many its band has, and the first that it holds as each row comes.

        Those are inner maps that are no tiles, and a sample that is fed, whose rows come when they are first read.
        """
        last: dict[tuple[str, int], int] = {}
        made: dict[str, list[int]] = {}
        for step, (pipeline, row) in enumerate(self.steps):
            for read in self.reads(pipeline, row):
                last |= {(read.name, r): step for r in range(read.first, read.end)}
            for i in self.members(pipeline):
                for name in self.parts[i].results:
                    if name in self.inner and name not in self.tiles:
                        made.setdefault(name, []).append(step)
            for read in self.reads(pipeline, row):
                if read.name in self.fed:
                    rows = made.setdefault(read.name, [])
                    rows += [step] * (read.end - len(rows))
        bands = {}
        for name, steps in made.items():
            base, bases = 0, []
            for row, step in enumerate(steps):
                while base < row and last.get((name, base), -1) < step:
                    base += 1
                bases.append(base)
            bands[name] = max(row - base + 1 for row, base in enumerate(bases)), bases
        return bands

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
            shape = (1, 1, self.tile_columns(name), channels)
            if name in self.bands:
                shape = (1, self.bands[name][0], width, channels)
            layout[name] = offset, Type(shape, self.tensors[name].type.dtype)
            offset += layout[name][1].nbytes
        return layout, offset

    @rule("STREAM-A1")
    def may_share(self, result: str, operand: str) -> bool:
        """Whether each row of the result, when it is written, ends at or before what is still unread of the operand."""
        whole = [n for part in self.parts for n in part.operands if n == operand and n not in _maps(part)]
        r, x = self.tensors[result].type, self.tensors[operand].type
        if whole or len(x.shape) != 4 or len(r.shape) != 4:
            return False
        maker = self.maker[result]
        row_r, row_x = (t.nbytes // t.shape[1] for t in (r, x))
        unread = max(r.nbytes, x.nbytes)
        for pipeline, row in reversed(self.steps):
            reads = [read for read in self.reads(pipeline, row) if read.name == operand]
            if pipeline == self.pipeline[maker]:
                here = [read.first * row_x for read in reads if not self._reads_before(read, result)]
                if (row + 1) * row_r > min([unread, *here]):
                    return False
            unread = min([unread, *(read.first * row_x for read in reads)])
        return True

    def _reads_before(self, read: Read, result: str) -> bool:
        """Whether, within a step, each pixel of the operand is read before the result's pixel there is written."""
        r, x, maker = self.tensors[result].type, self.tensors[read.name].type, self.maker[result]
        pixel_r, pixel_x = (prod(t.shape[3:]) * np.dtype(t.dtype).itemsize for t in (r, x))
        if read.windowed or r.shape[2] != x.shape[2] or pixel_r > pixel_x:
            return False
        return read.part < maker or (read.part == maker and may_alias(self.parts[maker], result, read.name))


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
        for pipeline, row in s.steps:
            members = s.members(pipeline)
            for read in s.reads(pipeline, row):
                if read.name in self.arrived:
                    self._take(read.name, read.end)
            for i in members:
                for name in s.parts[i].results:
                    if name in self.base:
                        self._make_room(name, row)
            width = s.tensors[s.parts[members[0]].results[0]].type.shape[2]
            passes = any(name in s.tiles for i in members for name in s.parts[i].results)
            tile = min(s.columns, width) if passes else width
            for first in range(0, width, tile):
                for i in members:
                    self._compute(i, row, first, min(first + tile, width))

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

    def _compute(self, i: int, row: int, first: int, end: int) -> None:
        """Compute columns first .. end - 1 of a row of the results of part i."""
        s, part = self.schedule, self.schedule.parts[i]
        top, bottom, above, below = span(s.windows[i], 0, row, row + 1)
        left, right, before, after = span(s.windows[i], 1, first, end)
        maps, operands = _maps(part), list[Array | None]()
        for name in part.inputs:
            if name in s.tiles:
                operands.append(self.buffers[name][:, :, : end - first])
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
                destinations.append(self.buffers[name][:, :, : end - first])
            else:
                destinations.append(self._rows(name, row, row + 1)[:, :, first:end])
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
