"""Plans of random networks, with any passes left out: legal, above the bounds, and run with the same bits."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import arena
import graphs
import streams
from goldgrad import kernels
from goldgrad.errors import ConstraintError
from goldgrad.interpreter import reference, run, run_in_arena
from goldgrad.memory.plan import CHOICES, check_plan, plan
from goldgrad.memory.sharing import check_placement, placed_bytes
from goldgrad.models import architecture
from goldgrad.models.synthetic import samples
from goldgrad.optimizers import OPTIMIZERS
from goldgrad.random import Stream
from goldgrad.schemes import named, names
from goldgrad.training import Session

mark = pytest.mark
EXAMPLES = settings.default.max_examples // 2
"""A step of a network is a thousand kernels when it is streamed."""
steps = st.sampled_from(["sgd", "sgd", *OPTIMIZERS]).flatmap(streams.steps)
left_out = st.sets(st.sampled_from(CHOICES))
searches = st.sampled_from([{}, {}, {"states": 3}, {"tries": 0}])


@mark.rules("MEM-S7", "MEM-S8", "MEM-S9", "MEM-C1", "INP-S6", "STREAM-S6")
@settings(max_examples=EXAMPLES)
@given(steps, left_out, searches)
def test_plan_is_legal_and_runs_with_the_same_bits(step, without, options):
    made = plan(step.session.graph, without, **options)
    assert arena.fault(made.graph, made.placement) is None
    assert made.arena_bytes >= made.live_peak_bytes >= max(made.bound_bytes, made.floor_bytes)
    for old, new in made.graph.updates.items():
        assert made.placement[old] == made.placement[new]
    expected = run(step.session.graph, step.feeds)
    for provider in (reference, kernels.run):
        assert streams.same(run_in_arena(made.graph, step.feeds, made.placement, provider), expected)
    assert plan(step.session.graph, without, **options).placement == made.placement


@mark.rules("MEM-S10", "MEM-S4")
@settings(max_examples=EXAMPLES)
@given(steps, left_out)
def test_parts_sum_to_the_live_bytes(step, without):
    made = plan(step.session.graph, without, states=3, tries=0)
    for time, nbytes in enumerate(made.profile.live):
        assert sum(made.split_at(time).values()) == nbytes
        assert nbytes <= made.arena_bytes


@mark.rules("INP-S2", "INP-S3", "INP-S4", "INP-S6", "MEM-C1")
@settings(max_examples=2 * EXAMPLES)
@given(steps, left_out, st.data())
def test_one_offset_moved_is_refused_just_if_something_is_overwritten(step, without, data):
    made = plan(step.session.graph, without, states=3, tries=0)
    size = placed_bytes(made.graph, made.placement)
    name = data.draw(st.sampled_from(sorted(made.placement)))
    other = data.draw(st.sampled_from(sorted(made.placement)))
    edge = made.placement[other] + data.draw(st.sampled_from([0, 0, size[other], -size[name], 4, -4, 1]))
    wanted = 4 if name not in made.graph.tensors or made.graph[name].type.dtype in ("int32", "float32") else 1
    moved = {**made.placement, name: max(edge, 0) // wanted * wanted}
    fault = arena.fault(made.graph, moved)
    if fault is not None:
        with pytest.raises(ConstraintError, match="INP-S"):
            check_placement(made.graph, moved)
        return
    check_placement(made.graph, moved)
    if any(moved[old] != moved[new] for old, new in made.graph.updates.items()):
        with pytest.raises(ConstraintError, match="MEM-C1"):
            check_plan(made.graph, moved)
    expected = run(step.session.graph, step.feeds, kernels.run)
    assert streams.same(run_in_arena(made.graph, step.feeds, moved, kernels.run), expected)


# --- the three networks --------------------------------------------------------------------------------------------


@mark.rules("MEM-S5", "STREAM-S1", "STREAM-S6", "INP-S6")
@mark.parametrize("choice", [None, *CHOICES])
@mark.parametrize("name", ["mcunet-5fps", "mobilenet-v2-w0.35", "proxyless-nas-w0.3"])
def test_each_pass_alone_changes_no_bit(name, choice):
    model = architecture(name).model()
    session = Session(model, named(model, names(name)[-1]))
    given_ = graphs.feeds(session, samples(model.graph, 1, Stream(0)), 1.0)
    made = plan(session.graph, {*CHOICES} - {choice}, states=100, tries=0)
    expected = run(session.graph, given_, kernels.run)
    assert all((expected[new] != given_[old]).any() for old, new in session.graph.updates.items()), "all of it trains"
    assert streams.same(run(made.graph, given_, kernels.run), expected)
    assert streams.same(run_in_arena(made.graph, given_, made.placement, kernels.run), expected)
