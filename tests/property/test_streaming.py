"""Composites on random networks: no pass changes a bit, in memory of exactly the stated size."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streams
from goldgrad.composites import unfold
from goldgrad.composites.rows import Schedule
from goldgrad.graph import validate
from goldgrad.graph_text import parse_graph, print_graph
from goldgrad.interpreter import run, run_in_arena
from goldgrad.memory.sharing import check_placement, legal_pairs
from goldgrad.optimizers import OPTIMIZERS
from goldgrad.passes import PASSES, SEQUENCE
from goldgrad.passes.group import group

EXAMPLES = 40
"""A step of a network is a thousand kernels when it is streamed."""
steps = st.sampled_from(["sgd", "sgd", *OPTIMIZERS]).flatmap(streams.steps)


def composed(graph, names):
    for name in names:
        graph = PASSES[name](graph)
    return validate(graph)


@pytest.mark.rules("STREAM-S1", "STREAM-S6", "STREAM-S7", "STREAM-S8", "STREAM-S9", "STREAM-F1", "MODEL-S6")
@settings(max_examples=EXAMPLES)
@given(steps, st.permutations(list(PASSES)), st.integers(0, 3))
def test_passes_change_no_bit(step, names, count):
    graph, given_ = step.session.graph, step.feeds
    changed = composed(graph, names[:count])
    if "fuse-bias" not in names[:count]:  # which puts a function in the place of three, where others compose
        assert sorted(map(repr, unfold(changed).nodes)) == sorted(map(repr, graph.nodes))
        assert dict(unfold(changed).tensors) == dict(graph.tensors)
    assert parse_graph(print_graph(changed)) == changed
    expected = run(graph, given_)
    assert streams.same(run(changed, given_), expected)
    placement = streams.first_fit(changed)
    check_placement(changed, placement)
    assert streams.same(run_in_arena(changed, given_, placement), expected)


@pytest.mark.rules("STREAM-S10", "STREAM-S11", "STREAM-S12", "STREAM-S13", "STREAM-S2", "STREAM-S6", "MODEL-S6")
@settings(max_examples=EXAMPLES)
@given(
    steps,
    st.sets(st.sampled_from(list(SEQUENCE))),
    st.booleans(),
    st.integers(1, 5),
    st.sampled_from(sorted(streams.CALLS)),
)
def test_passes_that_are_options_change_no_bit(step, names, in_groups, rows, provider):
    """Of all passes, any, in their order, blocks in groups; each composite then also alone, between canaries."""
    graph, given_ = step.session.graph, step.feeds
    changed = graph
    for name, change in SEQUENCE.items():
        changed = validate(change(changed)) if name in names else changed
    if in_groups:
        changed = validate(group(changed, [0] * len(changed.nodes), 1 << 30))
    if rows > 1:
        changed = validate(replace(changed, nodes=tuple(by_rows(node, rows) for node in changed.nodes)))
    assert parse_graph(print_graph(changed)) == changed
    expected = run(graph, given_)
    assert streams.same(run(changed, given_), expected)
    values = streams.all_values(unfold(changed), given_)
    for node in streams.composites(changed):
        if node.function == "composite.rows":
            check_schedule(Schedule(changed, node))
        pairs = sorted(pair for pair in legal_pairs(changed, node) if fits(changed, *pair))
        for shared in ({}, *({result: operand} for result, operand in pairs)):
            assert streams.same(streams.run_alone(changed, node, values, streams.CALLS[provider], shared), values)
    placement = streams.first_fit(changed)
    check_placement(changed, placement)
    assert streams.same(run_in_arena(changed, given_, placement), expected)


@pytest.mark.rules(
    "STREAM-F1", "STREAM-S2", "STREAM-A1", "STREAM-A2", "STREAM-A3", "STREAM-M1", "STREAM-M2", "STREAM-M3"
)
@settings(max_examples=EXAMPLES)
@given(steps, st.sampled_from(sorted(streams.CALLS)))
def test_every_composite_alone_and_in_every_legal_place(step, provider):
    values = streams.all_values(step.session.graph, step.feeds)
    graph = composed(step.session.graph, PASSES)
    for node in streams.composites(graph):
        if node.function == "composite.rows":
            check_schedule(Schedule(graph, node))
        pairs = sorted(pair for pair in legal_pairs(graph, node) if fits(graph, *pair))
        for shared in ({}, *({result: operand} for result, operand in pairs)):
            results = streams.run_alone(graph, node, values, streams.CALLS[provider], shared)
            assert streams.same(results, values), shared


def by_rows(node, rows):
    """The node, if it is a streamed forward block, with so many rows at a time."""
    return replace(node, attributes={**node.attributes, "group": rows}) if node.function == "composite.rows" else node


def check_schedule(schedule):
    """Every row once, in order, of a pipeline that has a result; no row twice of any, no more than a group at once."""
    rows = {}
    for pipeline, first, end in schedule.steps:
        assert first < end <= first + schedule.group
        rows.setdefault(pipeline, []).extend(range(first, end))
    for pipeline, computed in rows.items():
        names = [name for i in schedule.members(pipeline) for name in schedule.parts[i].results]
        height = schedule.tensors[names[0]].type.shape[1]
        assert computed == list(range(len(computed)))
        assert len(computed) == height or all(name in schedule.inner for name in names)


def fits(graph, result, operand):
    return graph[result].nbytes <= graph[operand].nbytes
