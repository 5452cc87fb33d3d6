"""Every tensor's life over time, drawn: where it lies in the arena, from which node to which, and what it is for.

Above, a rectangle a tensor: across the nodes at which it lives, up the bytes of the arena that are its own.  Where a
result takes the place of an operand, one ends and the other begins in the middle of the node that does it.  Below, the
bytes that live at each node, and the numbers that no order and no way at all can go below.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import GoldgradError, show
from ..memory.plan import Entry, Plan
from .places import Places
from .planned import Planned

FORMATS = (".svg", ".png")
COLOUR = {
    "trained weights": "#f08c2e",
    "trained biases": "#f4c430",
    "state": "#a0522d",
    "image": "#2f6f9f",
    "saved": "#3f9b56",
    "masks": "#8a63a8",
    "activations": "#8fb7d8",
    "gradients": "#d1544a",
    "scratch": "#a9aeb5",
    "scalars": "#333333",
}
"""What bytes are for, in tables and pictures, in the order in which they are stacked: what is always there lowest."""
PEAK = "#c00000"
KB = 1024
SETTINGS = {
    "svg.hashsalt": "goldgrad",  # the same names, and so the same bytes, each time
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "text.parse_math": False,  # a scheme's name may hold a $
}
"""How matplotlib draws."""
THIN = 0.006
"""Rectangles of a smaller part of the arena have no line around them: it would cover them."""
MOST_NAMES = 64
"""Nodes that can be named below the picture, in a size that can be read."""


@dataclass(frozen=True)
class Rectangle:
    """A tensor in the picture: ``start`` and ``end`` in nodes, node t from t to t + 1; offset and height in bytes."""

    name: str
    part: str
    start: float
    end: float
    offset: int
    nbytes: int


def check_formats(pictures: Sequence[Path]) -> None:
    """Raise if a picture could not be drawn in the format that its name says."""
    for picture in pictures:
        if picture.suffix not in FORMATS:
            raise GoldgradError(f"{show(str(picture))} is no picture that can be drawn; name one .svg or .png")


def rectangles(plan: Plan) -> Iterator[Rectangle]:
    """Where each tensor is drawn; a parameter and its next value are one."""
    parameter = {new: old for old, new in plan.graph.updates.items()}
    entry_of = {entry.name: entry for entry in plan.entries}
    given = {operand: entry_of[result].life.first for result, operand in plan.profile.shares.items()}
    end = len(plan.graph.nodes)
    for entry in plan.entries:
        if entry.name in parameter or not entry.nbytes:
            continue
        start = max(entry.life.first, 0) + (0.5 if entry.name in plan.profile.shares else 0.0)
        stop = min(entry.life.last + 1.0, end)
        if given.get(entry.name) == entry.life.last:
            stop = entry.life.last + 0.5
        if entry.name in plan.graph.updates:
            stop = end
        yield Rectangle(_called(plan, entry), entry.part, start, stop, entry.offset, entry.nbytes)


def _called(plan: Plan, entry: Entry) -> str:
    """A short name: scratch belongs to its node, whose number stands below."""
    return "scratch" if entry.part == "scratch" else entry.name


def render(found: Planned, suffix: str) -> bytes:
    """The picture as the content of a file of the format; the same bytes for the same plan."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    plan = found.plan
    settings: Any = {**SETTINGS, "font.size": 9}
    with mpl.rc_context(settings):
        width = min(22.0, max(9.0, 3.5 + 0.2 * len(plan.graph.nodes)))
        figure, (arena, live) = plt.subplots(
            2, 1, figsize=(width, 10), height_ratios=[3.2, 1], sharex=True, layout="constrained"
        )
        _draw_arena(arena, found)
        _draw_live(live, plan)
        _name_nodes(live, found)
        figure.canvas.draw()  # now places are known in pixels
        _name_tensors(arena, plan)
        file = io.BytesIO()
        metadata = {"Date": None} if suffix == ".svg" else None
        figure.savefig(file, format=suffix[1:], dpi=110, metadata=metadata)
        plt.close(figure)
    return file.getvalue()


def _draw_arena(axes: Any, found: Planned) -> None:
    plan = found.plan
    groups: dict[str, list[Rectangle]] = defaultdict(list)
    for rectangle in rectangles(plan):
        groups[rectangle.part].append(rectangle)
    for part in (part for part in COLOUR if part in groups):
        group = groups[part]
        axes.bar(
            [r.start for r in group],
            [r.nbytes / KB for r in group],
            [r.end - r.start for r in group],
            [r.offset / KB for r in group],
            align="edge",
            color=COLOUR[part],
            edgecolor="white",
            linewidth=[0.4 if r.nbytes > THIN * plan.arena_bytes else 0 for r in group],
            label=f"{part}: {plan.split_at(plan.peak_node)[part]:,}",
        )
    top = plan.arena_bytes / KB
    peak = plan.peak_node
    axes.add_patch(_outline(peak, top))
    axes.annotate(
        f"peak: {plan.live_peak_bytes:,} bytes live at node {peak}",
        (peak + 0.5, top),
        (0, 6),
        textcoords="offset points",
        color=PEAK,
        ha="left" if peak < len(plan.graph.nodes) / 2 else "right",
        annotation_clip=False,
    )
    axes.set_xlim(0, len(plan.graph.nodes))
    axes.set_ylim(0, top)
    axes.set_ylabel("offset in the arena, KB of 1,024 bytes")
    passes = ", ".join(plan.passes) or "no passes"
    axes.set_title(
        f"{found.model.graph.name}, scheme {found.scheme.name}: arena of {plan.arena_bytes:,} bytes\n{passes}",
        loc="left",
        pad=22,
        fontsize=11,
    )
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), title="what bytes are for,\nand how many at the peak")
    axes.grid(axis="y", color="#e3e5e8", linewidth=0.5)
    axes.set_axisbelow(True)


def _outline(time: int, top: float) -> Any:
    from matplotlib.patches import Rectangle as Patch

    return Patch((time, 0), 1, top, fill=False, edgecolor=PEAK, linewidth=1.4, zorder=5, clip_on=False)


def _draw_live(axes: Any, plan: Plan) -> None:
    """Live bytes at each node, one part upon the other, and the bounds."""
    times = range(len(plan.graph.nodes))
    splits = [plan.split_at(time) for time in times]
    below = np.zeros(len(times))
    for part, colour in COLOUR.items():
        height = np.array([split[part] for split in splits]) / KB
        if height.any():
            axes.bar(times, height, 1.0, below, align="edge", color=colour, linewidth=0)
            below += height
    for nbytes, words, style in (
        (plan.bound_bytes, "any order of these nodes needs", "--"),
        (plan.floor_bytes, "any way that computes nothing twice needs", ":"),
    ):
        axes.axhline(nbytes / KB, color="#202124", linestyle=style, linewidth=1, label=f"{words}\n{nbytes:,} bytes")
    axes.set_ylim(0, 1.06 * plan.live_peak_bytes / KB)
    axes.set_ylabel("live, KB")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)


def _name_nodes(axes: Any, found: Planned) -> None:
    """Numbers below the picture, with the layers where there is room."""
    nodes, places = found.plan.graph.nodes, Places(found.model.graph)
    if len(nodes) <= MOST_NAMES:
        names = [f"{places.layers(node)}  {time}" for time, node in enumerate(nodes)]
        axes.set_xticks([time + 0.5 for time in range(len(nodes))], names, rotation=90, fontsize=7)
    axes.tick_params(axis="x", length=0)
    axes.set_xlabel("node")
    for time, node in enumerate(nodes):
        if any(found.plan.graph[name].role == "loss" for name in node.results):
            for each in axes.figure.axes:
                each.axvline(time + 1, color="#202124", linewidth=0.8, linestyle="-.")
            paper = {"facecolor": "white", "edgecolor": "none", "pad": 1}
            axes.annotate("backward pass", (time + 1, 0), (3, 3), textcoords="offset points", fontsize=8, bbox=paper)


def _name_tensors(axes: Any, plan: Plan) -> None:
    """Names in the rectangles that are large enough."""
    size, pixels = 6.5, axes.figure.dpi / 72
    for r in rectangles(plan):
        (left, bottom), (right, top) = axes.transData.transform(
            [(r.start, r.offset / KB), (r.end, (r.offset + r.nbytes) / KB)]
        )
        width, height = (right - left) / pixels, (top - bottom) / pixels
        long = 0.62 * size * len(r.name)
        upright = height < long or width >= long
        if min(width, height) < size + 1 or (width if upright else height) < long:
            continue
        along = 0.1 if r.end - r.start > 0.5 * len(plan.graph.nodes) else 0.5  # clear of the line at the loss
        middle = r.start + along * (r.end - r.start), (r.offset + r.nbytes / 2) / KB
        dark = r.part in ("image", "masks", "gradients", "saved", "state")
        colour = "white" if dark else "#202124"
        axes.text(
            *middle,
            r.name,
            ha="center",
            va="center",
            zorder=6,
            rotation=0 if upright else 90,
            fontsize=size,
            color=colour,
        )
