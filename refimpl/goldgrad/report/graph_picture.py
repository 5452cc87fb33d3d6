"""A training graph as a picture: what is computed, what was pruned, what trains, and what runs as one.

A row a node of the forward pass, in order; beside it the nodes of its backward pass and its updates.  Each box has its
place in the order as a number; what the full update would compute besides is drawn as a ghost.  The parts of a
composite have its number, and stand on one ground.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..composites import unfold
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
GROUND = {
    "composite.rows": ("row by row", "#dcebfa", "#6f9fd0"),
    "composite.channels": ("channel by channel", "#ece4f7", "#9b7fc4"),
    "composite.whole": ("fused", "#e9efdc", "#96a86d"),
}
"""What the parts of a composite stand on: how it runs, in words, and the colours of the ground and its edge."""
GREY, RED = "#9aa0a6", "#c00000"


@dataclass(frozen=True)
class Box:
    """A node, or a part of a composite, in its place.

    ``time`` is its number in the order, None if it was pruned; ``live`` the bytes that live then, where they are known.
    """

    node: Node
    kind: str
    label: str
    row: int
    column: int
    line: int
    time: int | None = None
    composite: Node | None = None
    live: int | None = None


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

    def composites(self) -> dict[int, list[Box]]:
        """The boxes of each composite, by its number in the order."""
        found: dict[int, list[Box]] = defaultdict(list)
        for box in self.boxes:
            if box.composite is not None and box.time is not None:
                found[box.time].append(box)
        return found

    @property
    def peak(self) -> int | None:
        """The most bytes that live at a node, where they are known."""
        return max((box.live for box in self.boxes if box.live is not None), default=None)


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


def picture(forward: Graph, full: Graph, graph: Graph, title: str, live: Sequence[int] = ()) -> Picture:
    """A forward or training graph beside the forward graph that it comes from and the full update.

    ``live`` are the bytes that live at each node, if they are to be told.
    """
    places, flat = Places(forward), unfold(graph)
    updates = [node for node in flat.nodes if node.function.endswith(".update")]
    kinds = {
        places.of(node): _kind(flat, node) for node in sorted(updates, key=lambda node: "bias" not in node.function)
    }
    used: dict[tuple[int, int], int] = defaultdict(int)
    boxes: list[Box] = []

    def put(within: Graph, node: Node, kind: str, time: int | None, composite: Node | None = None) -> None:
        row, column = places.of(node), _column(node)
        label = _label(within, node, forward.nodes[row])
        bytes_ = live[time] if live and time is not None else None
        boxes.append(Box(node, kind, label, row, column, used[row, column], time, composite, bytes_))
        used[row, column] += 1

    for time, node in enumerate(graph.nodes):
        for part in node.body or (node,):
            layer = part.function in LAYERS
            kind = kinds.get(places.of(part), "frozen") if layer else _kind(flat, part)
            put(flat, part, kind, time, node if node.body else None)
    kept = {name for node in flat.nodes for name in node.results}
    there = {(places.of(node), _column(node), node.function) for node in flat.nodes}
    for node in full.nodes:
        same = (places.of(node), _column(node), node.function)
        if kept.isdisjoint(node.results) and (same not in there or node.function.endswith("vjp_x")):
            put(full, node, "ghost", None)
    return Picture(title, tuple(boxes), tuple(_arrows(flat, boxes)))


def _arrows(graph: Graph, boxes: list[Box]) -> Iterator[Arrow]:
    producer = {name: index for index, box in enumerate(boxes) if box.time is not None for name in box.node.results}
    for index, box in enumerate(boxes):
        for name in dict.fromkeys(box.node.operands) if box.time is not None else ():
            if name in producer:
                yield Arrow(producer[name], index, name, graph[name].role)
