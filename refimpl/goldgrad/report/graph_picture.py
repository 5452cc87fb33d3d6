"""A training graph as a picture: what is computed, what was pruned, and what trains.

A row a node of the forward pass, in order; beside it the nodes of its backward pass and its updates.  Each box has its
place in the order as a number; what the full update would compute besides is drawn as a ghost.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from xml.sax.saxutils import escape

from ..graph import Graph, Node
from ..model import FORWARD, LAYERS
from .places import Places

COLUMNS = ("forward", "saved for backward", "weight", "gradient of the sums", "gradient of the input", "bias")
FILL = {
    "ghost": "#ffffff",
    "frozen": "#e9edf2",
    "other": "#ffffff",
    "saved": "#cde8d0",
    "gradient": "#f6d0cc",
    "bias": "#ffe79a",
    "weight": "#ffb866",
}
"""Colour of a box by what its node is: a frozen layer or another node of the forward pass, a node of the backward pass,
or what trains: an update, and a layer of whose parameters one or both train."""
LEGEND = {
    "weight": "weight trains",
    "bias": "only the bias trains",
    "frozen": "frozen",
    "saved": "saved slice",
    "gradient": "gradient",
    "ghost": "pruned",
}
LINE = {"activation": "#4a6f9c", "mask": "#8a63a8", "saved": "#3d8b46", "gradient": "#b8433a", "loss": "#4a6f9c"}
"""Colour of an arrow by its tensor's role."""
GREY = "#9aa0a6"


@dataclass(frozen=True)
class Box:
    """A node in its place.  ``time`` is its number in the order, None if it was pruned."""

    node: Node
    kind: str
    label: str
    row: int
    column: int
    line: int
    time: int | None = None


@dataclass(frozen=True)
class Arrow:
    """A tensor from the node that computes it to one that reads it, as indices of boxes."""

    start: int
    end: int
    tensor: str
    role: str


@dataclass(frozen=True)
class Picture:
    """Boxes and arrows."""

    title: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]


WORDS = {
    "conv2d": "convolution",
    "depthwise_conv2d": "depthwise",
    "fully_connected": "fully connected",
    "add": "sum",
    "avg_pool2d": "mean",
    "max_pool2d": "maximum",
    "quantize_input": "quantized image",
    "softmax_cross_entropy": "softmax cross-entropy",
}
"""What a forward operator is called in a box."""


# --- what is shown -----------------------------------------------------------------------------------------------


def _column(node: Node) -> int:
    function = node.function
    if function in FORWARD:
        return 0
    for column, words in (
        (1, ("save_channels",)),
        (2, ("vjp_w", "sgd_update_weight")),
        (3, ("mask_scale",)),
        (5, ("bias",)),
    ):
        if any(word in function for word in words):
            return column
    return 4


def _kind(graph: Graph, node: Node) -> str:
    role = graph[node.results[0]].role
    if role == "parameter":
        return "bias" if "bias" in node.function else "weight"
    return {"saved": "saved", "gradient": "gradient"}.get(role, "other")


def _shape(graph: Graph, name: str) -> str:
    return "×".join(map(str, graph[name].type.shape[1:] or graph[name].type.shape))


def _label(graph: Graph, node: Node, layer: Node) -> str:
    """A few words: the layer's name and shapes, or what is computed of it."""
    first, op = node.results[0], node.function.partition(".")[0]
    if node.function in FORWARD:
        w = graph[str(node.operand("w"))].type.shape if node.function in LAYERS else ()
        kernel = {4: "{1}×{2} ", 3: "{0}×{1} "}.get(len(w), "").format(*w)
        return f"{first.removesuffix('.y')}:  {kernel}{WORDS[op]}, {_shape(graph, first)}"
    if op == "save_channels":
        return f"{graph[first].type.shape[-1]} of {graph[node.operands[0]].type.shape[-1]} channels"
    if graph[first].role == "parameter":
        trained = graph[node.operands[1]].type.shape[-1]  # the gradient has the shape of what trains
        if "bias" in node.function:
            return f"update {trained} biases"
        return f"update {trained} of {graph[str(layer.operand('w'))].type.shape[-1]} channels"
    if node.function.endswith("vjp_w"):
        return "dW  " + "×".join(map(str, graph[first].type.shape))
    words = {"vjp_x": "dx", "bias_gradient.forward": "db", "mask_scale.forward": "g"}
    return next((f"{text}  {_shape(graph, first)}" for word, text in words.items() if word in node.function), op)


def picture(forward: Graph, full: Graph, graph: Graph, title: str) -> Picture:
    """A forward or training graph beside the forward graph that it comes from and the full update."""
    places = Places(forward)
    updates = [node for node in graph.nodes if node.function.endswith(".update")]
    kinds = {
        places.of(node): _kind(graph, node) for node in sorted(updates, key=lambda node: "bias" not in node.function)
    }
    used: dict[tuple[int, int], int] = defaultdict(int)
    boxes: list[Box] = []

    def put(within: Graph, node: Node, kind: str, time: int | None) -> None:
        row, column = places.of(node), _column(node)
        label = _label(within, node, forward.nodes[row])
        boxes.append(Box(node, kind, label, row, column, used[row, column], time))
        used[row, column] += 1

    for time, node in enumerate(graph.nodes):
        put(graph, node, kinds.get(places.of(node), "frozen") if node.function in LAYERS else _kind(graph, node), time)
    kept = {name for node in graph.nodes for name in node.results}
    there = {(places.of(node), _column(node), node.function) for node in graph.nodes}
    for node in full.nodes:
        same = (places.of(node), _column(node), node.function)
        if kept.isdisjoint(node.results) and (same not in there or node.function.endswith("vjp_x")):
            put(full, node, "ghost", None)
    return Picture(title, tuple(boxes), tuple(_arrows(graph, boxes)))


def _arrows(graph: Graph, boxes: list[Box]) -> Iterator[Arrow]:
    producer = {name: index for index, box in enumerate(boxes) if box.time is not None for name in box.node.results}
    for index, box in enumerate(boxes):
        for name in dict.fromkeys(box.node.operands) if box.time is not None else ():
            if name in producer:
                yield Arrow(producer[name], index, name, graph[name].role)


# --- SVG ---------------------------------------------------------------------------------------------------------

WIDTHS, GAP, MARGIN, TOP = (280, 140, 210, 130, 130, 160), 46, 40, 96
LINE_HEIGHT, BOX_HEIGHT, ROW_GAP = 24, 20, 10


class _Layout:
    """Where boxes stand: columns beside one another, rows as high as their fullest column."""

    def __init__(self, boxes: tuple[Box, ...]) -> None:
        self.left = [MARGIN + sum(WIDTHS[:c]) + GAP * c for c in range(len(WIDTHS))]
        lines: dict[int, int] = defaultdict(int)
        for box in boxes:
            lines[box.row] = max(lines[box.row], box.line + 1)
        self.top: dict[int, int] = {}
        y = TOP
        for row in sorted(lines):
            self.top[row] = y
            y += LINE_HEIGHT * lines[row] + ROW_GAP
        self.size = (self.left[-1] + WIDTHS[-1] + MARGIN, y + MARGIN)

    def corner(self, box: Box) -> tuple[int, int]:
        return self.left[box.column], self.top[box.row] + LINE_HEIGHT * box.line

    def path(self, start: Box, end: Box) -> str:
        """A line from box to box: straight down a column to the next row, around what stands between, or across."""
        (x1, y1), (x2, y2) = self.corner(start), self.corner(end)
        middle = BOX_HEIGHT // 2
        if start.column != end.column:
            leftward = end.column < start.column
            x1, x2 = (x1, x2 + WIDTHS[end.column]) if leftward else (x1 + WIDTHS[start.column], x2)
            bend = GAP * (-1 if leftward else 1)
            return f"M{x1} {y1 + middle} C{x1 + bend} {y1 + middle} {x2 - bend} {y2 + middle} {x2} {y2 + middle}"
        if abs(start.row - end.row) <= 1:
            x, down = x1 + WIDTHS[start.column] // 2, y2 > y1
            return f"M{x} {y1 + BOX_HEIGHT if down else y1} L{x} {y2 if down else y2 + BOX_HEIGHT}"
        side = 0 if start.column == 0 else WIDTHS[start.column]
        bend = (-1 if start.column == 0 else 1) * min(GAP - 12, 8 + abs(y2 - y1) // 8)
        x = x1 + side
        return f"M{x} {y1 + middle} C{x + bend} {y1 + middle} {x + bend} {y2 + middle} {x} {y2 + middle}"


def svg(shown: Picture) -> str:
    """The picture as SVG; hovering over a box or an arrow tells more."""
    layout = _Layout(shown.boxes)
    width, height = layout.size
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="Helvetica, Arial, sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        _markers(),
        f'<text x="{MARGIN}" y="30" font-size="16" font-weight="bold">{escape(shown.title)}</text>',
        *_legend(),
        *(_text(layout.left[c], TOP - 14, heading, "#5f6368") for c, heading in enumerate(COLUMNS) if _used(shown, c)),
    ]
    for arrow in shown.arrows:
        colour = LINE.get(arrow.role, GREY)
        path = layout.path(shown.boxes[arrow.start], shown.boxes[arrow.end])
        parts.append(
            f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.2" '
            f'marker-end="url(#{colour[1:]})"><title>{escape(arrow.tensor)}</title></path>'
        )
    parts += [_box(layout, box) for box in shown.boxes]
    return "\n".join([*parts, "</svg>", ""])


def _used(shown: Picture, column: int) -> bool:
    return any(box.column == column for box in shown.boxes)


def _markers() -> str:
    shapes = "".join(
        f'<marker id="{colour[1:]}" viewBox="0 0 6 6" refX="6" refY="3" markerWidth="5" markerHeight="5" '
        f'orient="auto"><path d="M0 0L6 3L0 6z" fill="{colour}"/></marker>'
        for colour in sorted({*LINE.values(), GREY})
    )
    return f"<defs>{shapes}</defs>"


def _legend() -> Iterator[str]:
    x = MARGIN
    for kind, words in LEGEND.items():
        yield _frame(x, 44, 14, 14, kind)
        yield _text(x + 20, 55, words, "#202124")
        x += 40 + 7 * len(words)
    yield _text(x, 55, "numbers: the order", "#80868b")


def _frame(x: int, y: int, width: int, height: int, kind: str) -> str:
    ghost = kind == "ghost"
    dashes = ' stroke-dasharray="3 3"' if ghost else ""
    stroke = GREY if ghost else "#3c4043"
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="3" fill="{FILL[kind]}" stroke="{stroke}"'
        f' stroke-width="0.8"{dashes}/>'
    )


def _text(x: int, y: int, words: str, colour: str, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" fill="{colour}" text-anchor="{anchor}">{escape(words)}</text>'


def _box(layout: _Layout, box: Box) -> str:
    x, y = layout.corner(box)
    width = WIDTHS[box.column]
    colour = GREY if box.kind == "ghost" else "#202124"
    number = "" if box.time is None else _text(x + width - 4, y + 14, str(box.time), "#80868b", "end")
    tip = f"{box.node.function}: {', '.join(box.node.operands)} -> {', '.join(box.node.results)}"
    return (
        f"<g><title>{escape(tip)}</title>{_frame(x, y, width, BOX_HEIGHT, box.kind)}"
        f"{_text(x + 6, y + 14, box.label, colour)}{number}</g>"
    )


# --- DOT ---------------------------------------------------------------------------------------------------------


def dot(shown: Picture) -> str:
    """The picture for Graphviz, which finds places of its own."""
    title = shown.title.replace("\\", "\\\\").replace('"', '\\"')
    lines = [
        "digraph goldgrad {",
        f'  label="{title}"; labelloc=t; rankdir=TB; fontname=Helvetica;',
        '  node [shape=box, style="rounded,filled", fontname=Helvetica, fontsize=10];',
    ]
    for index, box in enumerate(shown.boxes):
        number = "" if box.time is None else f"{box.time}: "
        style = f', style="rounded,dashed", color="{GREY}", fontcolor="{GREY}"' if box.kind == "ghost" else ""
        lines.append(f'  n{index} [label="{number}{box.label}", fillcolor="{FILL[box.kind]}"{style}];')
    for arrow in shown.arrows:
        colour = LINE.get(arrow.role, GREY)
        lines.append(f'  n{arrow.start} -> n{arrow.end} [color="{colour}", tooltip="{arrow.tensor}"];')
    return "\n".join([*lines, "}", ""])
