"""Maps that are computed a second time for the backward pass (specs/streaming.md, STREAM-S12)."""

from __future__ import annotations

import pytest

import graphs
import streams
from goldgrad import kernels
from goldgrad.composites.channels import Cut, Slicing
from goldgrad.graph import validate
from goldgrad.interpreter import reference, run, run_in_arena
from goldgrad.memory.plan import plan
from goldgrad.memory.sharing import legal_pairs
from goldgrad.models import architecture
from goldgrad.models._network import Network
from goldgrad.models.synthetic import synthetic
from goldgrad.passes.recompute import recompute
from goldgrad.passes.stream_backward import stream_backward
from goldgrad.passes.stream_forward import stream_forward
from goldgrad.schemes import named
from goldgrad.sparse import FULL, HEAD, Scheme
from goldgrad.training import Session

mark = pytest.mark


def network(scales=None, batch=1):
    """A narrow stem, an inverted bottleneck with its skip connection, and a head."""
    n = Network("narrow", scales or {})
    x = n.conv("stem", n.image((batch, 6, 6, 6), 1 / 255, 0), 5)
    x = n.inverted_bottleneck("block", x, expanded=12, outputs=5, kernel=3)
    return n.loss(n.classifier(n.global_average(x), 3))


def session(scheme=FULL, **options):
    return Session(synthetic(network), scheme, **options)


def feeds_of(trained):
    return graphs.feeds(trained, graphs.sample(trained.model.graph, 5), 0.1)


def backward_block(graph):
    """The streamed block with the expanding convolution."""
    return next(
        n for n in graph.nodes if any("block.expand.w" in part.operands for part in n.body) and "channels" in n.function
    )


@mark.rules("STREAM-S12")
def test_wide_maps_and_their_masks_are_computed_again_and_not_kept():
    full = session().graph
    graph = validate(recompute(full))
    added = [node for node in graph.nodes if node.results[0].endswith(".again")]
    assert [node.results[0] for node in added] == ["block.expand.y.again", "block.depthwise.y.again"]
    loss = next(i for i, node in enumerate(graph.nodes) if "loss" in node.results)
    assert all(graph.nodes.index(node) > loss for node in added)
    after = {name for node in graph.nodes[loss + 1 :] for name in node.operands}
    for wide in ("block.expand.y", "block.expand.mask", "block.depthwise.y", "block.depthwise.mask"):
        assert wide not in after
        assert f"{wide}.again" in after
    assert {"block.project.mask", "stem.y"} <= after, "what is not wide is kept"
    assert len(graph.nodes) == len(full.nodes) + 2


@mark.rules("STREAM-S12")
def test_nothing_is_computed_again_that_keeps_more():
    """Biases alone need two masks; to compute them again the block's input, a byte an element, would be kept."""
    biases = Scheme("biases", biases=3)
    graph = session(biases).graph
    masks = graph["block.expand.mask"].nbytes + graph["block.depthwise.mask"].nbytes
    assert masks <= graph["stem.y"].nbytes
    assert recompute(graph) == graph
    head = session(HEAD).graph
    assert recompute(head) == head
    forward = session().model.graph
    assert [n.function for n in recompute(forward).nodes] == [n.function for n in forward.nodes]


@mark.rules("STREAM-S12", "STREAM-S8", "STREAM-S4", "STREAM-C4")
def test_a_streamed_block_computes_a_plane_again_at_a_time():
    graph = validate(stream_backward(stream_forward(recompute(session().graph))))
    block = backward_block(graph)
    inner = {tensor.name for tensor in block.inner}
    assert {"block.expand.y.again", "block.expand.mask.again", "block.depthwise.y.again"} <= inner
    slicing = Slicing(graph, block)
    cuts = {(part.node.function, p.name): p.cut for part in slicing.parts for p in (*part.operands, *part.results)}
    assert cuts["conv2d.forward", "x"] is Cut.WHOLE
    assert cuts["conv2d.forward", "w"] is Cut.FIRST
    assert cuts["conv2d.forward", "y"] is Cut.LAST
    columns = next(part for part in slicing.parts if "block.project.w.grad" in part.node.results)
    assert {p.name: p.cut for p in columns.results} == {"dw": Cut.LAST}
    assert {p.name: p.cut for p in columns.operands} == {"g": Cut.WHOLE, "x": Cut.LAST}
    update = next(part for part in slicing.parts if "block.project.w.new" in part.node.results)
    assert {p.name: p.cut for p in update.operands}["q"] is Cut.WHOLE
    assert ("block.project.w.new", "block.project.w") in legal_pairs(graph, block)


@mark.rules("STREAM-S12", "STREAM-S6", "STREAM-A3")
@mark.parametrize("call", streams.CALLS)
@mark.parametrize("optimizer", ["sgd", "master", "momentum", "stochastic"])
def test_the_block_alone_in_every_legal_place(call, optimizer):
    trained = session(optimizer=optimizer, mu=0.5)
    again = recompute(trained.graph)
    values = streams.all_values(again, feeds_of(trained))
    graph = validate(stream_backward(again))
    block = backward_block(graph)
    assert any(part.function == "conv2d.forward" for part in block.body)
    pairs = [(r, x) for r, x in sorted(legal_pairs(graph, block)) if graph[r].nbytes <= graph[x].nbytes]
    for shared in ({}, *({result: operand} for result, operand in pairs)):
        assert streams.same(streams.run_alone(graph, block, values, streams.CALLS[call], shared), values), shared


@mark.rules("STREAM-S12")
@mark.parametrize("provider", [reference, kernels.run], ids=["reference", "c"])
@mark.parametrize("without", [(), ("stream-backward",), ("stream-forward", "stream-backward", "fuse")])
def test_a_step_has_the_same_bits(provider, without):
    trained = session()
    feeds = feeds_of(trained)
    planned = plan(trained.graph, without=without, also=["recompute"])
    expected = run(trained.graph, feeds)
    assert streams.same(run(planned.graph, feeds, provider), expected)
    assert streams.same(run_in_arena(planned.graph, feeds, planned.placement, provider), expected)


@mark.rules("STREAM-S12", "MEM-S9")
@mark.parametrize("name", ["mcunet-5fps", "mobilenet-v2-w0.35", "proxyless-nas-w0.3"])
def test_full_update_of_a_published_network_needs_two_fifths_less(name):
    model = architecture(name).model()
    trained = Session(model, named(model, "full"))
    plain, again = (plan(trained.graph, also=also, tries=0) for also in ((), ("recompute",)))
    assert again.arena_bytes < 0.6 * plain.arena_bytes
    assert again.arena_bytes < again.floor_bytes, "the floor is one of plans that compute nothing twice"
    feeds = graphs.feeds(trained, graphs.sample(model.graph, 3), 0.1)
    expected = run(trained.graph, feeds, kernels.run)
    assert streams.same(run_in_arena(again.graph, feeds, again.placement, kernels.run), expected)
