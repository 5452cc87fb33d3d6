"""Plans of random networks, with any passes left out: legal, above the bounds, and run with the same bits."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import arena
import streams
from goldgrad import kernels
from goldgrad.interpreter import reference, run, run_in_arena
from goldgrad.memory.plan import CHOICES, plan
from goldgrad.optimizers import OPTIMIZERS

mark = pytest.mark
EXAMPLES = settings.default.max_examples // 2
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
