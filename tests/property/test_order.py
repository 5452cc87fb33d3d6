"""Orders and their bounds against brute force: every order of random demands, and of random small networks."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import patch

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import graphs
import streams
from goldgrad.graph import Graph, validate
from goldgrad.memory.bound import bound_of_any_order, floor
from goldgrad.memory.demand import demands, profile
from goldgrad.passes import PASSES, reorder
from orders import Demands, Oracle, made_up

mark = pytest.mark
EXAMPLES = settings.default.max_examples


def ordered(case: Demands, **options):
    """``order`` of a graph whose nodes ask for what the case says, and the numbers of its nodes in that order."""
    with patch.object(reorder, "demands", lambda graph, in_place: case.asked):
        found = reorder.order(case.graph, **options)
    return found, case.oracle.order_of(found.graph)


# --- random demands ------------------------------------------------------------------------------------------------


@mark.rules("MEM-S5", "MEM-S6", "MEM-S8")
@settings(max_examples=4 * EXAMPLES)
@given(made_up(legal=False))
def test_search_finds_the_least_peak_of_all_orders(case):
    found, numbers = ordered(case)
    least = case.oracle.least_peak()
    assert case.oracle.peak(numbers) == found.peak == found.bound == least
    assert found.is_best
    assert bound_of_any_order(case.graph, case.asked) <= least


@mark.rules("MEM-S4", "MEM-S5", "MEM-S8")
@given(made_up(nodes=5))
def test_live_bytes_of_every_order_one_by_one(case):
    """What brute force over sets of nodes finds is the least that some order needs; every order counts as defined."""
    oracle, peaks = case.oracle, []
    for numbers in oracle.legal_orders():
        graph = replace(case.graph, nodes=tuple(case.graph.nodes[i] for i in numbers))
        asked = [case.asked[i] for i in numbers]
        counted = profile(graph, asked)
        assert counted.live == Oracle(graph, asked).live()
        peaks.append(oracle.peak(numbers))
        assert counted.peak == peaks[-1]
    assert min(peaks) == oracle.least_peak() >= bound_of_any_order(case.graph, case.asked)


@mark.rules("MEM-S5")
@settings(max_examples=2 * EXAMPLES)
@given(made_up(nodes=8, legal=False), st.sampled_from([0, 1, 2, 5]))
def test_search_that_is_cut_short_gives_a_legal_order_and_a_bound(case, states):
    found, numbers = ordered(case, states=states)
    assert found.states <= states
    assert case.oracle.peak(numbers) == found.peak
    assert found.bound <= case.oracle.least_peak() <= found.peak


@mark.rules("MEM-S6")
@settings(max_examples=2 * EXAMPLES)
@given(made_up(nodes=6))
def test_moves_that_cost_nothing_are_part_of_a_best_order(case):
    """In every state that can be reached, a move that needs P and leaves no more than before loses nothing above P."""
    oracle, search = case.oracle, reorder._Search(case.graph, case.asked)
    everything = frozenset(range(len(case.asked)))
    rest = {everything: 0}

    def least(done: frozenset[int]) -> int:
        """The least that the nodes that are left need."""
        if done not in rest:
            ready = [i for i in everything - done if oracle.waits[i] <= done]
            rest[done] = min(max(oracle.during(done, i), least(done | {i})) for i in ready)
        return rest[done]

    states = {frozenset(): search.start()}
    while states:
        done, state = states.popitem()
        assert {i for i in everything if state.ready >> i & 1} == {
            i for i in everything - done if oracle.waits[i] <= done
        }
        for node, during, after in search.moves(state):
            assert during == oracle.during(done, node)
            states[done | {node}] = search.move(state, node, during, after)
            if after <= state.live:
                assert max(during, least(done | {node})) == max(during, least(done))


# --- random networks -----------------------------------------------------------------------------------------------

small_steps = graphs.steps(blocks=0) | graphs.steps(blocks=1)


def composed(graph: Graph, names: list[str]) -> Graph:
    for name in PASSES:
        graph = PASSES[name](graph) if name in names else graph
    return validate(graph)


subsets = st.lists(st.sampled_from(list(PASSES)), unique=True)


@mark.rules("MEM-S3", "MEM-S5", "MEM-S8", "MEM-S9")
@settings(max_examples=EXAMPLES * 3 // 4)
@given(small_steps, subsets, st.booleans())
def test_order_of_a_network_is_best(step, names, in_place):
    graph = composed(step.session.graph, names)
    asked = demands(graph, in_place)
    oracle = Oracle(graph, asked)
    least = oracle.least_peak(most=3000)
    assume(least is not None)
    found = reorder.order(graph, in_place)
    assert found.is_best
    assert oracle.peak(oracle.order_of(found.graph)) == found.peak == least
    assert floor(step.session.graph) <= least
    assert bound_of_any_order(graph, asked) <= least
    for states in (1, 2, 5):
        cut = reorder.order(graph, in_place, states)
        assert cut.bound <= least <= cut.peak == oracle.peak(oracle.order_of(cut.graph))


@mark.rules("MEM-S4", "MEM-S8", "MEM-S9")
@settings(max_examples=EXAMPLES * 3 // 4)
@given(st.sampled_from(["sgd", "momentum", "master", "stochastic"]).flatmap(streams.steps), subsets, st.data())
def test_no_order_and_no_passes_go_below_the_floor(step, names, data):
    graph = composed(step.session.graph, names)
    asked = demands(graph, data.draw(st.booleans()))
    oracle, order = Oracle(graph, asked), list[int]()
    while len(order) < len(graph.nodes):
        ready = [i for i, waits in enumerate(oracle.waits) if i not in order and waits <= set(order)]
        order.append(ready[data.draw(st.integers(0, len(ready) - 1))])
    shuffled = replace(graph, nodes=tuple(graph.nodes[i] for i in order))
    counted = profile(shuffled, [asked[i] for i in order])
    assert counted.live == [oracle.during(frozenset(order[:i]), node) for i, node in enumerate(order)]
    bound = bound_of_any_order(graph, asked)
    assert bound <= counted.peak
    assert floor(graph) == floor(step.session.graph) <= counted.peak
    assert bound_of_any_order(shuffled, [asked[i] for i in order]) == bound
