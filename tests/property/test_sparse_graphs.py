"""Sparse update on random networks and schemes: pruning and slicing change no bit of what trains, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphs
from goldgrad import kernels
from goldgrad.interpreter import run
from goldgrad.numerics import same_bits
from goldgrad.sparse import FULL, chosen_channels, trained_biases
from goldgrad.training import Session


def assert_same(expected, given_):
    for name, value in expected.items():
        assert same_bits(value, given_[name]).all(), name


@pytest.mark.rules("TRAIN-S7", "TRAIN-S8", "TRAIN-S13", "TRAIN-S1", "TRAIN-S2", "TRAIN-S11", "SCHEME-S4")
@settings(max_examples=60)
@given(st.data())
def test_a_pruned_step_is_the_full_step_where_the_scheme_trains_and_changes_nothing_else(data):
    optimizer = data.draw(st.sampled_from(["sgd", "master", "momentum"]))
    step = data.draw(graphs.steps(optimizer=optimizer))
    pruned, full = step.session, Session(step.session.model, FULL, optimizer=optimizer)
    expected = {name: np.array(value) for name, value in pruned.weights().items()}
    outputs, full_outputs = pruned.step(step.sample, step.rate), full.step(step.sample, step.rate)
    for node in pruned.model.layers():
        channels = chosen_channels(pruned.model, pruned.scheme, node)
        if channels is not None:
            w = node.operand("w")
            expected[w][..., channels] = full.parameters[w][..., channels]
    for bias in trained_biases(pruned.model, pruned.scheme):
        expected[bias] = full.parameters[bias]
    assert_same(expected, pruned.weights())
    assert_same(full_outputs, outputs)


@pytest.mark.rules("TRAIN-S1", "TRAIN-S2", "TRAIN-S3")
@settings(max_examples=40)
@given(graphs.steps(optimizer="master") | graphs.steps())
def test_the_c_kernels_take_the_same_step(step):
    ours = run(step.session.graph, step.feeds)
    assert_same(ours, run(step.session.graph, step.feeds, kernels.run))


@pytest.mark.rules("TRAIN-S8")
@settings(max_examples=60)
@given(graphs.steps())
def test_nothing_is_left_that_nobody_needs(step):
    graph = step.session.graph
    needed = set(graph.kept)
    for node in reversed(graph.nodes):
        assert not needed.isdisjoint(node.results), node
        needed.update(node.operands)
        optional = node.definition.optional
        for name, tensor in zip(node.definition.outputs, node.outputs, strict=True):
            assert tensor is None or tensor in needed or name not in optional, (node, tensor)
    assert set(graph.tensors) - needed == {
        tensor for node in graph.nodes for tensor in node.results if tensor not in needed
    }
