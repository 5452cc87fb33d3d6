"""A plan whose streamed forward blocks are undone where that costs no byte: kernels of whole maps are faster."""

from __future__ import annotations

from dataclasses import replace

from ..graph import Graph, Node, validate
from ..rules import rule
from .bound import bound_of_any_order
from .demand import demands, profile
from .groups import with_larger_groups, with_row_groups, without_row_groups
from .offsets import place, with_constants_on_top
from .plan import Plan, check_plan
from .sharing import Placement

NAME = "unfold"
"""What a plan's list of passes calls it."""


@rule("MEM-S11")
def unfolded(plan: Plan) -> Plan:
    """The plan with as many streamed forward blocks replaced by their nodes as its arena has room for.

    Nodes are tried from the last to the first, and keep their order; the arena of what is returned is no larger.  What
    is still streamed gets groups of rows anew, and of channels larger ones, if the plan has groups: the arena is
    another one.
    """
    graph, undone = without_row_groups(plan.graph), list[Graph]()
    in_place = "in-place" in plan.passes
    for node in reversed(graph.nodes):
        if node.function == "composite.rows" and "fed" not in node.attributes:
            tried = _without(graph, node)
            if profile(tried, demands(tried, in_place)).peak <= plan.arena_bytes:
                graph = tried
                undone.append(tried)
    while undone:  # the placement may leave a gap that the live bytes do not tell of
        graph = undone.pop()
        asked = demands(graph, in_place)
        placement = place(graph, asked)
        found = replace(plan, graph=graph, placement=placement, profile=profile(graph, asked))
        if found.arena_bytes <= plan.arena_bytes:
            found = replace(found, passes=(*plan.passes, NAME), bound_bytes=bound_of_any_order(graph, asked))
            found = _with_groups(found, plan.arena_bytes) if "group" in plan.passes else found
            asked = demands(found.graph, in_place)
            found = replace(found, placement=with_constants_on_top(found.graph, asked, found.placement))
            check_plan(validate(found.graph), found.placement)
            return found
    return plan


@rule("MEM-S11", "STREAM-S15")
def _with_groups(plan: Plan, limit: int) -> Plan:
    """The plan with groups of rows, and larger ones of channels, as far as they fit into so many bytes."""
    in_place = "in-place" in plan.passes

    def placed(grouped: Graph) -> Placement:
        return place(grouped, demands(grouped, in_place))

    live = plan.profile.live
    graph, placement = with_row_groups(plan.graph, plan.placement, live, limit, limit, placed)
    graph, placement = with_larger_groups(graph, placement, live, limit, limit)
    return replace(plan, graph=graph, placement=placement, profile=profile(graph, demands(graph, in_place)))


def _without(graph: Graph, block: Node) -> Graph:
    """The graph with the nodes of a block in its place."""
    nodes = [part for node in graph.nodes for part in (node.body if node is block else (node,))]
    return graph.with_nodes(nodes, block.inner)
