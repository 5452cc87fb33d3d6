"""Make one composite node of several, where no path leads out of them and back in."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..composites import scratch_bytes
from ..graph import Graph, Node
from ..rules import rule


@rule("STREAM-S1")
def compose(
    graph: Graph,
    kind: str,
    body: Sequence[Node],
    keep: Collection[str] = (),
    attributes: Mapping[str, Any] | None = None,
) -> Graph | None:
    """The graph with the nodes of ``body`` as one composite, at the first place where it can run.

    None if the composite would have to run both before and after some other node.  Tensors that only the body sees
    become inner, but for those in ``keep``.
    """
    made = {name for node in body for name in node.results}
    operands = dict.fromkeys(name for node in body for name in node.operands if name not in made)
    others = [node for node in graph.nodes if node.results[0] not in made]
    seen = {name for node in others for name in node.operands} | {*graph.kept, *keep}
    results = [name for node in body for name in node.results if name in seen]
    inner = tuple(graph[name] for node in body for name in node.results if name not in seen)
    return exchange(graph, body, Node(kind, tuple(operands), tuple(results), attributes or {}, tuple(body), inner))


def exchange(graph: Graph, body: Sequence[Node], node: Node) -> Graph | None:
    """The graph with one node in the place of several, at the first place where it can run.

    None if it would have to run both before and after some other node.
    """
    made = {name for part in body for name in part.results}
    others = [other for other in graph.nodes if other.results[0] not in made]
    position = next(i for i, other in enumerate(graph.nodes) if other.results[0] in made)  # all before are others
    order = run_order(graph, [*others[:position], node, *others[position:]])
    return None if order is None else graph.with_nodes(order)


@rule("STREAM-S7", "STREAM-S8", "STREAM-S9")
def saves(composed: Graph, body: Sequence[Node]) -> bool:
    """Whether a composite's scratch has fewer bytes than its inner tensors, which would else lie in the arena."""
    composite = next(node for node in composed.nodes if node.body == tuple(body))
    return scratch_bytes(composed, composite) < sum(tensor.nbytes for tensor in composite.inner)


def run_order(graph: Graph, nodes: Sequence[Node]) -> list[Node] | None:
    """The nodes in an order in which they can run with updates in place, near the given one; None if there is none."""
    maker = {name: i for i, node in enumerate(nodes) for name in node.results}
    before: list[set[int]] = [{maker[name] for name in node.operands if name in maker} for node in nodes]
    updates = {old: maker[new] for old, new in graph.updates.items() if new in maker}
    for i, node in enumerate(nodes):
        for update in (updates[old] for old in node.operands if old in updates):
            if update != i:
                before[update].add(i)
    after: list[list[int]] = [[] for _ in nodes]
    for i, waits in enumerate(before):
        for j in waits:
            after[j].append(i)
    ready = [i for i, waits in enumerate(before) if not waits]
    missing = [len(waits) for waits in before]
    order: list[Node] = []
    while ready:
        i = heapq.heappop(ready)
        order.append(nodes[i])
        for j in after[i]:
            missing[j] -= 1
            if missing[j] == 0:
                heapq.heappush(ready, j)
    return order if len(order) == len(nodes) else None
