"""The picture of a graph as SVG: boxes in columns, arrows, and grounds under the parts of composites."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from xml.sax.saxutils import escape

from .graph_picture import COLUMNS, FILL, GREY, GROUND, LEGEND, LINE, RED, Box, Picture

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
        *_legend(shown),
        *(_text(layout.left[c], TOP - 14, heading, "#5f6368") for c, heading in enumerate(COLUMNS) if _used(shown, c)),
    ]
    parts += [_ground(layout, shown, boxes) for boxes in shown.composites().values()]
    for arrow in shown.arrows:
        colour = LINE.get(arrow.role, GREY)
        path = layout.path(shown.boxes[arrow.start], shown.boxes[arrow.end])
        parts.append(
            f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.2" '
            f'marker-end="url(#{colour[1:]})"><title>{escape(arrow.tensor)}</title></path>'
        )
    parts += [_box(layout, box, shown.peak) for box in shown.boxes]
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


def _legend(shown: Picture) -> Iterator[str]:
    x = MARGIN
    for kind, words in LEGEND.items():
        yield _frame(x, 44, 14, 14, kind)
        yield _text(x + 20, 55, words, "#202124")
        x += 40 + 7 * len(words)
    for kind in dict.fromkeys(
        boxes[0].composite.function for boxes in shown.composites().values() if boxes[0].composite
    ):
        words, ground, edge = GROUND[kind]
        yield f'<rect x="{x}" y="44" width="14" height="14" fill="{ground}" stroke="{edge}"/>'
        yield _text(x + 20, 55, words, "#202124")
        x += 40 + 7 * len(words)
    yield _text(x, 55, "numbers: the order", "#80868b")
    if shown.peak is not None:
        yield _text(x + 120, 55, f"most bytes live: {shown.peak:,}", RED)


EDGE = 4
"""Pixels by which the ground of a composite is wider than its boxes."""


def _ground(layout: _Layout, shown: Picture, boxes: list[Box]) -> str:
    """One ground under the boxes of a composite: around each, and between neighbours with no other box between them.

    The edge is drawn first, around all of it, and then covered inside.
    """
    assert boxes[0].composite is not None
    words, ground, edge = GROUND[boxes[0].composite.function]
    others = [_around(layout, box, box) for box in shown.boxes if box.composite is not boxes[0].composite]
    rects = [_around(layout, box, box) for box in boxes]
    for one in boxes:
        for other in boxes:
            joined = _around(layout, one, other)
            if one is not other and not any(_touch(joined, rect) for rect in others):
                rects.append(joined)
    shapes = "".join(f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="5"/>' for x, y, w, h in dict.fromkeys(rects))
    tip = f"node {boxes[0].time}, {words}: {', '.join(box.node.function for box in boxes)}"
    return (
        f'<g><title>{escape(tip)}</title><g fill="{ground}" stroke="{edge}" stroke-width="2">{shapes}</g>'
        f'<g fill="{ground}">{shapes}</g></g>'
    )


_Rect = tuple[int, int, int, int]


def _around(layout: _Layout, one: Box, other: Box) -> _Rect:
    """The least rectangle around two boxes, with an edge: left, top, width, height."""
    (x1, y1), (x2, y2) = layout.corner(one), layout.corner(other)
    left, top = min(x1, x2) - EDGE, min(y1, y2) - EDGE
    right = max(x1 + WIDTHS[one.column], x2 + WIDTHS[other.column]) + EDGE
    return left, top, right - left, max(y1, y2) + BOX_HEIGHT + EDGE - top


def _touch(one: _Rect, other: _Rect) -> bool:
    (x1, y1, w1, h1), (x2, y2, w2, h2) = one, other
    return x1 < x2 + w2 and x2 < x1 + w1 and y1 < y2 + h2 and y2 < y1 + h1


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


def _box(layout: _Layout, box: Box, peak: int | None) -> str:
    x, y = layout.corner(box)
    width = WIDTHS[box.column]
    colour = GREY if box.kind == "ghost" else "#202124"
    faint = RED if box.live is not None and box.live == peak else "#80868b"
    number = "" if box.time is None else _text(x + width - 4, y + 14, str(box.time), faint, "end")
    tip = f"{box.node.function}: {', '.join(box.node.operands)} -> {', '.join(box.node.results)}"
    tip += "" if box.live is None else f"; {box.live:,} bytes live"
    return (
        f"<g><title>{escape(tip)}</title>{_frame(x, y, width, BOX_HEIGHT, box.kind)}"
        f"{_text(x + 6, y + 14, box.label, colour)}{number}</g>"
    )
