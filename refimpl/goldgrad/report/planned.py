"""A network under a scheme, compiled to a memory plan: what several reports begin with."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from .. import schemes
from ..autodiff import differentiate
from ..graph import Graph
from ..memory.plan import Plan, plan
from ..model import Model
from ..models import architecture
from ..sparse import Scheme, apply


@dataclass(frozen=True)
class Planned:
    """A plan, and of what."""

    model: Model
    scheme: Scheme
    plan: Plan


def training_graph(model: Model, scheme: Scheme) -> Graph:
    """The training graph that is planned: differentiated, pruned and sliced to the scheme."""
    return apply(model, differentiate(model.graph, "loss"), scheme)[0]


def planned(
    name: str,
    scheme_name: str,
    without: Collection[str] = (),
    also: Collection[str] = (),
    weights: Path | None = None,
    seconds: float = 0.0,
    room: int = 0,
) -> Planned:
    """Compile and plan a network by name; wrong names and files are errors of one line."""
    model = architecture(name).model(weights)
    scheme = schemes.named(model, scheme_name)
    return Planned(model, scheme, plan(training_graph(model, scheme), without, also, seconds=seconds, room=room))
