"""The memory plan of a training step: passes, an order, and offsets in one arena (specs/memory.md)."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from ..errors import GoldgradError, require, show
from ..graph import Graph, validate
from ..passes import OPTIONS, PASSES, SEQUENCE
from ..passes.group import group
from ..passes.reorder import STATES, order
from ..rules import rule
from .bound import bound_of_any_order, floor
from .demand import Profile, counted, demands, fed_samples, profile
from .groups import with_row_groups
from .liveness import Life, lives
from .offsets import TRIES, place, with_constants_on_top
from .scratch import scratch_bytes, scratch_name
from .sharing import Placement, check_placement, placed_bytes

CHOICES = (*PASSES, "reorder", "group", "in-place")
"""What can be left out of a plan, by name: the passes, the new order, groups of channels and rows, and results in the
place of operands."""


@dataclass(frozen=True)
class Entry:
    """Something that lies in the arena: a tensor, or a node's scratch."""

    name: str
    part: str
    """What it is: see :data:`PARTS`."""
    offset: int
    nbytes: int
    life: Life


PARTS = (
    "image",
    "trained weights",
    "trained biases",
    "state",
    "saved",
    "masks",
    "gradients",
    "activations",
    "scratch",
    "scalars",
)
"""What bytes are for (MEM-S10)."""
OF_ROLE = {
    "weight": "trained weights",
    "bias": "trained biases",
    "state": "state",
    "mask": "masks",
    "gradient": "gradients",
}
"""What the tensors of a role are for, where the role alone tells."""


@dataclass(frozen=True)
class Plan:
    """A graph in its order, and where everything lies.

    No order of the same nodes has a live peak below ``bound_bytes``; ``floor_bytes`` is what every way to run the
    step needs that computes nothing twice.
    """

    graph: Graph
    placement: Placement
    passes: tuple[str, ...]
    profile: Profile
    bound_bytes: int
    floor_bytes: int

    @property
    def live_peak_bytes(self) -> int:
        """The most bytes that live at once in this order."""
        return self.profile.peak

    @cached_property
    def entries(self) -> Sequence[Entry]:
        """All that lies in the arena, by offset."""
        sizes, life, parts = placed_bytes(self.graph, self.placement), dict(lives(self.graph)), parts_of(self.graph)
        for time, node in enumerate(self.graph.nodes):
            life[scratch_name(node)] = Life(time, time)
        made = [
            Entry(name, parts.get(name, "scratch"), offset, sizes[name], life[name])
            for name, offset in self.placement.items()
        ]
        return sorted(made, key=lambda e: (e.offset, e.life.first))

    @cached_property
    def arena_bytes(self) -> int:
        """Bytes of the arena."""
        return max(entry.offset + entry.nbytes for entry in self.entries)

    @cached_property
    def peak_node(self) -> int:
        """The first node at which most bytes live."""
        return self.profile.live.index(self.live_peak_bytes)

    def live_at(self, time: int) -> Iterator[Entry]:
        """What lies in the arena while a node runs; of two that share a place, the operand."""
        for entry in self.entries:
            takes_a_place = entry.name in self.profile.shares and entry.life.first == time
            if max(entry.life.first, 0) <= time <= entry.life.last and not takes_a_place:
                yield entry

    @rule("MEM-S10")
    def split_at(self, time: int) -> dict[str, int]:
        """Bytes that live while a node runs, by what they are for; they sum to the live bytes."""
        split = dict.fromkeys(PARTS, 0)
        for entry in self.live_at(time):
            split[entry.part] += entry.nbytes
        return split

    @cached_property
    def totals(self) -> dict[str, int]:
        """Bytes of all tensors of a kind, whenever they live."""
        totals = dict.fromkeys(PARTS, 0)
        for entry in self.entries:
            if entry.name not in self.graph.updates.values():
                totals[entry.part] += entry.nbytes
        return totals


@rule("MEM-S10")
def parts_of(graph: Graph) -> dict[str, str]:
    """What each counted tensor is for; a next value is for what its parameter is for."""
    maker = {name: i for i, node in enumerate(graph.nodes) for name in node.results}
    loss = next((i for i, node in enumerate(graph.nodes) if any(graph[r].role == "loss" for r in node.results)), None)
    readers: dict[str, int] = {}
    for i, node in enumerate(graph.nodes):
        for name in node.operands:
            readers[name] = max(i, readers.get(name, -1))
    old = {new: parameter for parameter, new in graph.updates.items()}

    def part(name: str) -> str:
        tensor = graph[old.get(name, name)]
        if tensor.role in ("activation", "saved"):
            saved = loss is not None and maker.get(name, 0) < loss < readers.get(name, -1)
            return "saved" if saved else "activations"
        if tensor.role == "input" and tensor.type.dtype != "int32":
            return "image"
        return OF_ROLE.get(tensor.role, "scalars")

    return {name: part(name) for name in counted(graph)}


def chosen_passes(without: Collection[str], also: Collection[str] = ()) -> tuple[str, ...]:
    """The names of what a plan makes; an unknown name is an error that lists the known ones."""
    for names, known, purpose in ((without, CHOICES, "to leave out"), (also, tuple(OPTIONS), "to make besides")):
        for name in names:
            if name not in known:
                raise GoldgradError(f"there is no pass {show(name)} {purpose}; use {', '.join(known)}")
    wanted = [name for name in CHOICES if name not in without]
    return tuple(name for name in (*SEQUENCE, "reorder", "group", "in-place") if name in wanted or name in also)


@rule("MEM-C1")
def check_plan(graph: Graph, placement: Placement) -> None:
    """Raise unless a placement is legal, has all that counts, and puts next values where their parameters lie."""
    check_placement(graph, placement)
    scratch = [scratch_name(node) for node in graph.nodes if scratch_bytes(graph, node)]
    for name in (*counted(graph), *scratch):
        require(name in placement, "MEM-C1", f"{name} has no place in the arena", "give it an offset")
    for old, new in graph.updates.items():
        require(
            placement[old] == placement[new],
            "MEM-C1",
            f"{new} lies at {placement[new]} and {old}, whose next value it is, at {placement[old]}",
            "give both one offset, and run the update after the last reader of the old value",
        )


@rule("MEM-S5", "MEM-S7")
def plan(
    graph: Graph,
    without: Collection[str] = (),
    also: Collection[str] = (),
    states: int = STATES,
    tries: int = TRIES,
    seconds: float = 0.0,
    room: int = 0,
) -> Plan:
    """Compile a training graph: make the passes, order it, place it; a wrong plan is an error, whoever made it.

    ``without`` leaves out some of :data:`CHOICES`, ``also`` makes some of the passes that are options.
    ``seconds`` above 0 gives the constraint solver that long where greedy placement leaves a gap.  ``room`` is how many
    more bytes than the least groups of channels and rows may take, for speed (STREAM-S13, STREAM-S15).
    """
    passes = chosen_passes(without, also)
    if room < 0:
        raise GoldgradError(f"room is {room} bytes; give 0 or more")
    whole = graph
    for name, change in SEQUENCE.items():
        if name in passes:
            graph = change(graph)
    in_place = "in-place" in passes
    bound = bound_of_any_order(graph, demands(graph, in_place))
    if "reorder" in passes:
        ordering = order(graph, in_place, states)
        graph, bound = ordering.graph, max(bound, ordering.bound)
    validate(graph)
    search = _Search(in_place, tries, seconds)
    placed = search.placed(graph)
    if "group" in passes:
        limit = max(_ends(*placed[:2]).values()) + room
        budget = placed[2].peak + room
        placed = _with_groups(placed, search.shorter, limit, budget)
        placed = _with_row_groups(placed, search if room else search.shorter, limit, budget)
    graph, placement, live = placed
    placement = with_constants_on_top(graph, demands(graph, in_place), placement)
    check_plan(graph, placement)
    return Plan(graph, placement, passes, live, bound, floor(whole, fed_samples(graph)))


_Placed = tuple[Graph, Placement, Profile]
FEWER = 10
"""By which fewer orders are tried for groups: another size is another try, and groups of rows need no new places."""


@dataclass(frozen=True)
class _Search:
    """How hard a place is looked for."""

    in_place: bool
    tries: int
    seconds: float

    @property
    def shorter(self) -> _Search:
        """The same with fewer orders."""
        return replace(self, tries=self.tries // FEWER)

    def placed(self, graph: Graph) -> _Placed:
        asked = demands(graph, self.in_place)
        return graph, place(graph, asked, self.tries, self.seconds), profile(graph, asked)


@rule("STREAM-S13")
def _with_groups(found: _Placed, search: _Search, limit: int, budget: int) -> _Placed:
    """The same with groups of channels that find a place in an arena of ``limit`` bytes, ``budget`` live at a node.

    While something lies beyond its end, the nodes with most scratch get smaller groups: of those at which that lives,
    or, if there are none, of all; first one node, then two, and so on.
    """
    graph, _, live = found
    below: dict[int, int] = {}
    for count in itertools.count(1):
        grouped = group(graph, live.live, budget, below)
        if grouped == graph:
            return found
        placed = search.placed(validate(grouped))
        beyond = [name for name, end in _ends(*placed[:2]).items() if end > limit]
        if not beyond:
            return placed
        life = {**lives(grouped), **{scratch_name(node): Life(i, i) for i, node in enumerate(grouped.nodes)}}
        wide = [i for i, node in enumerate(grouped.nodes) if "group" in node.attributes]
        there = [i for i in wide if any(life[name].first <= i <= life[name].last for name in beyond)]
        largest = sorted(there or wide, key=lambda i: (-scratch_bytes(grouped, grouped.nodes[i]), i))
        below |= {i: grouped.nodes[i].attributes["group"] for i in largest[:count]}
    raise AssertionError("groups get smaller until there are none")


def _with_row_groups(found: _Placed, search: _Search, limit: int, budget: int) -> _Placed:
    """The same with groups of rows where the arena has room."""
    graph, placement, live = found
    graph, placement = with_row_groups(graph, placement, live.live, budget, limit, lambda g: search.placed(g)[1])
    return validate(graph), placement, profile(graph, demands(graph, search.in_place))


def _ends(graph: Graph, placement: Placement) -> dict[str, int]:
    """Where each thing that is placed ends."""
    sizes = placed_bytes(graph, placement)
    return {name: offset + sizes[name] for name, offset in placement.items()}
