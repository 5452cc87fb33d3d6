"""What ``goldgrad graph`` prints: a model's graph at one stage of compilation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .. import schemes
from ..autodiff import differentiate
from ..errors import GoldgradError, show
from ..graph import Graph
from ..memory.demand import profile
from ..model import Model
from ..models import architecture
from ..passes import PASSES
from ..passes.reorder import reorder
from ..sparse import Scheme, apply
from .graph_dot import dot
from .graph_picture import Picture, picture
from .graph_svg import svg

STAGES = ("forward", "backward", "pruned", "ordered")
FORMS: dict[str, Callable[[Picture], str]] = {"dot": dot, "svg": svg}


def stage_of(model: Model, scheme: Scheme, stage: str) -> Graph:
    """The forward graph, the full training graph, that of the scheme, or that with all passes made and in order."""
    if stage not in STAGES:
        raise GoldgradError(f"there is no stage {show(stage)}; use one of {', '.join(STAGES)}")
    if stage == "forward":
        return model.graph
    full = differentiate(model.graph, "loss")
    if stage == "backward":
        return full
    graph = apply(model, full, scheme)[0]
    if stage == "pruned":
        return graph
    for change in PASSES.values():
        graph = change(graph)
    return reorder(graph)


def text(name: str, scheme_name: str, stage: str, form: str | None, weights: Path | None) -> str:
    """The graph as text that parses back, or as a picture of the form ``dot`` or ``svg``."""
    model = architecture(name).model(weights)
    scheme = schemes.named(model, scheme_name)
    graph = stage_of(model, scheme, stage)
    if form is None:
        return str(graph)
    if stage == "forward":
        return FORMS[form](picture(model.graph, model.graph, graph, f"{name}, forward pass: {len(graph.nodes)} nodes"))
    full = differentiate(model.graph, "loss")
    scheme_of = "full update" if stage == "backward" else f"scheme {scheme.name}, {stage}"
    title = f"{name}, {scheme_of}: {len(graph.nodes)} nodes, of {len(full.nodes)} of the full update"
    if stage != "ordered":
        return FORMS[form](picture(model.graph, full, graph, title))
    parts = sum(len(node.body) or 1 for node in graph.nodes)
    title = f"{name}, {scheme_of}: {len(graph.nodes)} nodes of {parts} parts, of {len(full.nodes)} of the full update"
    return FORMS[form](picture(model.graph, full, graph, title, profile(graph).live))
