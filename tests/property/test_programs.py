"""Programs of random networks under random schemes, optimizers and passes: the interpreter's bits."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphs
import programs
import streams
from goldgrad.memory.plan import CHOICES, plan
from goldgrad.optimizers import OPTIMIZERS

EXAMPLES = 12
"""Each compiles a program."""


@pytest.mark.rules("PROG-S1", "PROG-S2", "PROG-S3", "PROG-S4", "PROG-S5")
@settings(max_examples=EXAMPLES)
@given(
    st.sampled_from(["sgd", *OPTIMIZERS]).flatmap(streams.steps),
    st.sets(st.sampled_from(CHOICES), max_size=2),
    st.booleans(),
)
def test_two_steps_of_a_random_network(step, without, again):
    planned = plan(step.session.graph, without=without, also=["recompute"] if again else [], tries=0)
    forward = step.session.model.graph
    assert not programs.differences(step.session, planned, [graphs.sample(forward, seed) for seed in range(2)])
