"""What ``goldgrad plan`` shows: live bytes node by node, the peak and what makes it, bounds, every tensor's life."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ..codegen import kernel_scratch
from ..errors import GoldgradError
from ..graph import Node
from ..kernels import SETS, scratch_bytes
from ..memory.cp_sat import check_available
from ..memory.plan import PARTS, Entry, Plan, chosen_passes
from .console import kb, tell_files
from .files import as_json, check_outputs, write_files
from .places import Places
from .plan_picture import COLOUR, check_formats, render
from .planned import Planned, planned

BAR = 32
"""Characters of the longest bar."""
SMALL = 0.01
"""Tensors with a smaller part of the peak are listed together."""


def run(
    console: Console,
    name: str,
    scheme: str,
    without: Collection[str],
    also: Collection[str],
    weights: Path | None,
    seconds: float,
    room: int,
    document: Path | None,
    pictures: Sequence[Path],
    kernels: str | None = None,
) -> int:
    """Plan a network's training step, show the plan, write the files; say what ``kernels`` want besides."""
    if kernels not in (None, *SETS):
        raise GoldgradError(f"there are no kernels {kernels!r}; use {' or '.join(SETS)}")
    chosen_passes(without, also)
    _check(seconds)
    check_formats(pictures)
    check_outputs(document, *pictures)
    found = planned(name, scheme, without, also, weights, seconds, room)
    contents = {picture: render(found, picture.suffix) for picture in pictures}
    if document is not None:
        contents[document] = as_json(content(found) | _wanted(found, kernels))
    write_files(contents)
    show(console, found)
    for nbytes in _wanted(found, kernels).values():
        console.print(f"scratch    {nbytes:,} bytes besides, for one {kernels} kernel after the other")
    tell_files(console, pictures, document)
    return 0


def _wanted(found: Planned, kernels: str | None) -> dict[str, int]:
    """The scratch that a set of kernels wants, if it was asked for."""
    if kernels is None:
        return {}
    return {"kernel_scratch_bytes": kernel_scratch(found.plan, partial(scratch_bytes, kernels=kernels))}


def _check(seconds: float) -> None:
    if not 0 <= seconds < float("inf"):
        raise GoldgradError(f"--solver is {seconds:g}; give a number of seconds, or leave it out")
    if seconds:
        check_available()


# --- what is printed ---------------------------------------------------------------------------------------------


def show(console: Console, found: Planned) -> None:
    """The tables and the numbers."""
    plan, places = found.plan, Places(found.model.graph)
    console.print(f"[bold]{escape(title(found))}[/]")
    console.print(f"passes: {', '.join(plan.passes) or 'none'}")
    console.print(_nodes(plan, places))
    console.print(f"[bold]{_peak_heading(plan, places)}[/]")
    console.print(_peak(plan))
    console.print("[bold]What bytes are for[/]")
    console.print(_split(plan))
    for line in verdict(plan):
        console.print(line)


def title(found: Planned) -> str:
    """What was planned, in a line."""
    return f"{found.model.graph.name}, scheme {found.scheme.name}: {len(found.plan.graph.nodes)} nodes"


def function_name(node: Node) -> str:
    """A node's function, a composite with its parts."""
    if not node.body:
        return _short(node.function)
    return f"{node.function.removeprefix('composite.')}: {', '.join(_short(part.function) for part in node.body)}"


def _short(function: str) -> str:
    return function.removesuffix(".forward").removesuffix(".update")


def _nodes(plan: Plan, places: Places) -> Table:
    table = Table(box=SIMPLE_HEAD)
    table.add_column("#", justify="right")
    table.add_column("node", ratio=1)
    table.add_column("of", min_width=16)
    table.add_column("live bytes", justify="right")
    table.add_column(f"of {plan.live_peak_bytes:,} at the peak", width=BAR, no_wrap=True)
    for time, (node, live) in enumerate(zip(plan.graph.nodes, plan.profile.live, strict=True)):
        number = Text(str(time), "bold red" if live == plan.live_peak_bytes else "")
        bytes_ = Text(f"{live:,}", number.style)
        table.add_row(number, function_name(node), places.layers(node), bytes_, _bar(plan, time))
    return table


def _bar(plan: Plan, time: int) -> Text:
    """Live bytes at a node as a bar, coloured by what they are for."""
    bar, split = Text(), plan.split_at(time)
    ends = [round(BAR * nbytes / plan.live_peak_bytes) for nbytes in accumulate(split[part] for part in COLOUR)]
    for part, start, end in zip(COLOUR, [0, *ends], ends, strict=False):
        bar.append("█" * (end - start), COLOUR[part])
    return bar


def _peak_heading(plan: Plan, places: Places) -> str:
    time, node = plan.peak_node, plan.graph.nodes[plan.peak_node]
    others = [str(t) for t, live in enumerate(plan.profile.live) if live == plan.live_peak_bytes and t != time]
    where = f"at node {time}, {function_name(node)} ({places.layers(node)})"
    return f"The peak: {plan.live_peak_bytes:,} bytes live {where}" + (
        f"; as many at {', '.join(others)}" if others else ""
    )


def _peak(plan: Plan) -> Table:
    """What lives at the first node at which most bytes do."""
    time, node = plan.peak_node, plan.graph.nodes[plan.peak_node]
    table = Table(box=SIMPLE_HEAD)
    table.add_column("tensor", ratio=1)
    table.add_column("for")
    table.add_column("bytes", justify="right")
    table.add_column("offset", justify="right")
    table.add_column("nodes", justify="right")
    live = sorted(plan.live_at(time), key=lambda entry: -entry.nbytes)
    large = [entry for entry in live if entry.nbytes >= SMALL * plan.live_peak_bytes]
    taken = {x: result for result, x in plan.profile.shares.items() if result in node.results}
    for entry in large:
        result = taken.get(entry.name)
        name = f"{entry.name}, and {result} in its place" if result else entry.name
        table.add_row(name, entry.part, f"{entry.nbytes:,}", f"{entry.offset:,}", _life(plan, entry))
    for part in PARTS:
        small = [entry for entry in live if entry not in large and entry.part == part and entry.nbytes]
        if small:
            names = ", ".join(sorted(entry.name for entry in small))
            table.add_row(names, part, f"{sum(entry.nbytes for entry in small):,}", "", "")
    return table


def _life(plan: Plan, entry: Entry) -> str:
    """From which node to which a tensor lives; what is there before and after the step as well is always there."""
    first, last = max(entry.life.first, 0), min(entry.life.last, len(plan.graph.nodes) - 1)
    parameter = entry.name in plan.graph.updates or entry.name in plan.graph.updates.values()
    if parameter or (entry.life.first < 0 and entry.life.last > last):
        return "always"
    return str(first) if first == last else f"{first} - {last}"


def _split(plan: Plan) -> Table:
    """Bytes by what they are for."""
    table = Table("for", box=SIMPLE_HEAD)
    table.add_column("at the peak", justify="right")
    table.add_column("in the whole step", justify="right")
    peak = plan.split_at(plan.peak_node)
    for part in PARTS:
        if plan.totals[part]:
            table.add_row(Text(part, COLOUR[part]), f"{peak[part]:,}", f"{plan.totals[part]:,}")
    table.add_section()
    table.add_row("live peak", f"{sum(peak.values()):,}", "")
    return table


def verdict(plan: Plan) -> Iterator[str]:
    """Arena, live peak, bound and floor, and how far they are from each other."""
    arena, peak, bound, floor = plan.arena_bytes, plan.live_peak_bytes, plan.bound_bytes, plan.floor_bytes
    width = len(f"{arena:,}")
    yield f"arena      {arena:>{width},} bytes, {kb(arena)}"
    gap = "no gap: the placement is the best for this order" if arena == peak else _above(arena, peak, "the arena")
    yield f"live peak  {peak:>{width},} bytes; {gap}"
    proved = "proved: no order of these nodes needs fewer" if bound == peak else _above(peak, bound, "the live peak")
    yield f"bound      {bound:>{width},} bytes for any order; {proved}"
    if arena >= floor:
        least = _above(arena, floor, "the arena")
    else:
        least = f"the arena is {floor - arena:,} below it: maps are computed twice"
    yield f"floor      {floor:>{width},} bytes for any way that computes nothing twice; {least}"


def _above(large: int, small: int, what: str) -> str:
    return f"{what} is {large - small:,} bytes ({100 * (large - small) / small:.1f} %) above it"


# --- what is written ---------------------------------------------------------------------------------------------


def content(found: Planned) -> dict[str, Any]:
    """The content of ``--json``; docs/memory.md says what its keys mean."""
    plan, places = found.plan, Places(found.model.graph)
    return {
        "model": found.model.graph.name,
        "scheme": found.scheme.name,
        "passes": list(plan.passes),
        "arena_bytes": plan.arena_bytes,
        "live_peak_bytes": plan.live_peak_bytes,
        "bound_bytes": plan.bound_bytes,
        "floor_bytes": plan.floor_bytes,
        "trained_weight_bytes": plan.totals["trained weights"],
        "trained_bias_bytes": plan.totals["trained biases"],
        "saved_bytes": plan.totals["saved"],
        "mask_bytes": plan.totals["masks"],
        "split": {"peak": plan.split_at(plan.peak_node), "total": plan.totals},
        "peak": {"node": plan.peak_node, "tensors": sorted(entry.name for entry in plan.live_at(plan.peak_node))},
        "nodes": [
            {
                "function": node.function,
                "parts": [part.function for part in node.body],
                "layers": places.layers(node),
                "live_bytes": live,
            }
            for node, live in zip(plan.graph.nodes, plan.profile.live, strict=True)
        ],
        "tensors": [
            {
                "name": entry.name,
                "part": entry.part,
                "offset": entry.offset,
                "bytes": entry.nbytes,
                "first": entry.life.first,
                "last": entry.life.last,
            }
            for entry in plan.entries
        ],
    }
