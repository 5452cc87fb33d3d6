"""The picture of a graph for Graphviz: composites are clusters."""

from __future__ import annotations

from .graph_picture import FILL, GREY, GROUND, LINE, Picture


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
    for time, boxes in shown.composites().items():
        composite = boxes[0].composite
        assert composite is not None
        words, ground, edge = GROUND[composite.function]
        members = "; ".join(f"n{shown.boxes.index(box)}" for box in boxes)
        style = f'label="{time}: {words}"; style="rounded,filled"; fillcolor="{ground}"; color="{edge}"'
        lines.append(f"  subgraph cluster_{time} {{ {style}; {members}; }}")
    for arrow in shown.arrows:
        colour = LINE.get(arrow.role, GREY)
        lines.append(f'  n{arrow.start} -> n{arrow.end} [color="{colour}", tooltip="{arrow.tensor}"];')
    return "\n".join([*lines, "}", ""])
