"""specs/streaming.md rule by rule, on blocks small enough to count by hand."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import goldgrad
import graphs
import streams
import tiny_model
from goldgrad import kernels
from goldgrad.composites import KINDS, unfold, writing
from goldgrad.composites.rows import Schedule
from goldgrad.errors import ConstraintError
from goldgrad.graph import Graph, Tensor, validate
from goldgrad.graph_text import parse_graph, print_graph
from goldgrad.interpreter import reference, run, run_in_arena
from goldgrad.memory.scratch import scratch_bytes, scratch_name
from goldgrad.memory.sharing import check_placement, legal_pairs
from goldgrad.model_file import load
from goldgrad.models import digits
from goldgrad.models._network import Network
from goldgrad.numerics import same_bits
from goldgrad.ops import Type
from goldgrad.passes import PASSES
from goldgrad.passes._compose import compose
from goldgrad.passes.dce import eliminate_dead_code
from goldgrad.passes.fuse import fuse
from goldgrad.passes.group import group
from goldgrad.passes.stream_backward import stream_backward
from goldgrad.passes.stream_forward import stream_forward
from goldgrad.sparse import BIAS_ONLY, FULL, Scheme, load_scheme
from goldgrad.training import Session, rebatch
from networks import with_parameters

mark = pytest.mark
SPARSE = Scheme("sparse", biases=3, weights={"block.expand": (1, 3), "block.depthwise": 0.5})


def network(*layers, shape=(1, 8, 8, 3), keep=()):
    """A forward graph of ``layers``, each called with the network and the maps so far; outputs are the last and
    ``keep``, and no mask is computed that nobody reads.
    """
    n = Network("n", {}, default=(0.1, 3))
    maps = [n.image(shape, 1 / 16, 3)]
    for i, layer in enumerate(layers):
        maps.append(layer(n, f"layer{i}", maps))
    return eliminate_dead_code(n.builder.build((maps[-1], *keep)))


def conv(outputs, kernel=1, stride=1):
    return lambda n, name, maps: n.conv(name, maps[-1], outputs, kernel, stride)


def depthwise(kernel, stride=1):
    return lambda n, name, maps: n.depthwise(name, maps[-1], kernel, stride)


def add(back):
    """The last map and the one ``back`` before it."""
    return lambda n, name, maps: n.add(name, maps[-1 - back], maps[-1])


def streamed(graph, columns=4, first=1, rows=None):
    """The graph with all nodes from ``first`` on as one streamed block, and that block; maybe ``rows`` at a time."""
    attributes = {"group": rows} if rows else {} if columns is None else {"columns": columns}
    composed = compose(graph, "composite.rows", graph.nodes[first:], attributes=attributes)
    assert composed is not None
    return validate(composed), composed.nodes[-1]


def values_of(graph, seed=0, **given):
    """Every tensor of a forward graph with random parameters and image, and what is given."""
    random = np.random.default_rng(seed)
    arrays = {**with_parameters(graph).arrays, **given}
    for tensor in graph.outside():
        if tensor.name not in arrays:
            if tensor.role == "input":
                arrays[tensor.name] = random.integers(0, 256, tensor.type.shape).astype(tensor.type.dtype)
            else:
                m = 0.3 if tensor.type.shape == (1,) else 0.01
                arrays[tensor.name] = random.uniform(m / 2, m, tensor.type.shape).astype(np.float32)
    return streams.all_values(graph, arrays)


def damaged(graph, **changes):
    """The graph with its first composite changed."""
    nodes = [replace(node, **changes) if node is next(streams.composites(graph)) else node for node in graph.nodes]
    return replace(graph, nodes=tuple(nodes))


def fault(graph):
    with pytest.raises(ConstraintError) as caught:
        validate(graph)
    return caught.value


# --- composites ----------------------------------------------------------------------------------------------------


@mark.rules("STREAM-S1", "MODEL-S6", "STREAM-C1")
def test_composite_means_its_body():
    graph = network(conv(6), depthwise(3), conv(3), add(3))
    values = values_of(graph)
    composed, block = streamed(graph)
    assert [part.function.partition(".")[0] for part in block.body] == ["conv2d", "depthwise_conv2d", "conv2d", "add"]
    assert {tensor.name for tensor in block.inner} >= {"layer0.y", "layer1.y", "layer2.y"}
    assert set(composed.tensors) == set(graph.tensors) - {tensor.name for tensor in block.inner}
    assert unfold(composed) == graph
    assert parse_graph(print_graph(composed)) == composed
    given = {tensor.name: values[tensor.name] for tensor in graph.outside()}
    assert streams.same(run(composed, given), values)
    assert streams.same(run(composed, given, kernels.run), values)


@mark.rules("STREAM-S1")
def test_nodes_with_a_path_out_of_them_and_back_in_are_no_composite():
    graph = network(conv(6), depthwise(3), conv(3), add(3))
    assert compose(graph, "composite.whole", [graph.nodes[1], graph.nodes[3]]) is None


@mark.rules("STREAM-S1")
def test_composite_with_an_update_whose_old_value_is_read_after_it():
    graph = Session(tiny_model.model(), FULL).graph
    made = graph.producers()
    dw, update = made["block.expand.w.grad"], made["block.expand.w.new"]
    mask_scale, vjp_x = made["block.expand.y.acc"], made["stem.y.grad.2"]
    assert compose(graph, "composite.whole", [mask_scale, dw, update]) is None  # vjp_x needs g, and the old weight
    fused = compose(graph, "composite.whole", [dw, update])
    assert fused is not None
    functions = [node.results for node in fused.nodes]
    assert functions.index(vjp_x.results) < functions.index(update.results)


def body_less(graph):
    return damaged(graph, body=next(streams.composites(graph)).body[1:])


def nested(graph):
    block = next(streams.composites(graph))
    return damaged(graph, body=(replace(block, inner=()), *block.body[1:]))


FAULTS = [
    (lambda g: damaged(g, function="composite.none"), "STREAM-C1", "composite.none"),
    (lambda g: damaged(g, function="conv2d.forward"), "STREAM-C1", "conv2d.forward"),
    (lambda g: damaged(g, inputs=(None, *next(streams.composites(g)).inputs[1:])), "STREAM-C1", "_"),
    (lambda g: damaged(g, inputs=next(streams.composites(g)).inputs[1:]), "TRAIN-C3", "part 0"),
    (lambda g: damaged(g, inputs=(*next(streams.composites(g)).inputs, "image")), "STREAM-C1", "image is read by no"),
    (lambda g: damaged(g, inner=next(streams.composites(g)).inner[1:]), "TRAIN-C3", "layer0.y"),
    (lambda g: damaged(g, inner=(*next(streams.composites(g)).inner, g["x"])), "STREAM-C1", "named x"),
    (
        lambda g: damaged(g, inner=(*next(streams.composites(g)).inner, replace(g["x"], name="z"))),
        "STREAM-C1",
        "z is comp",
    ),
    (lambda g: damaged(g, inner=(replace(g["x"], name="!"),)), "TRAIN-C1", "'!'"),
    (body_less, "TRAIN-C3", "layer0.y"),
    (nested, "STREAM-C1", "part 0 is composite"),
    (lambda g: damaged(g, attributes={"columns": 0}), "STREAM-C2", "columns"),
    (lambda g: damaged(g, attributes={"columns": 1, "rows": 1}), "STREAM-C2", "columns"),
    *((lambda g, n=n: damaged(g, attributes={"group": n}), "STREAM-C2", "group") for n in (0, -1, True, 2.0, "2")),
    (lambda g: damaged(g, attributes={"columns": 4, "group": 2}), "STREAM-C2", "or a group of rows"),
    (lambda g: damaged(g, function="composite.whole"), "STREAM-C3", "columns"),
    (lambda g: damaged(g, function="composite.channels"), "STREAM-C4", "columns"),
    (lambda g: damaged(g, function="composite.channels", attributes={}), "STREAM-C4", "conv2d.forward"),
]


@mark.rules("STREAM-C1", "STREAM-C2", "STREAM-C3", "STREAM-C4")
@mark.parametrize(("damage", "rule", "named"), FAULTS)
def test_fault_in_a_composite(damage, rule, named):
    graph, _ = streamed(network(conv(6), depthwise(3), conv(3)))
    error = fault(damage(graph))
    assert error.rule == rule
    assert named in f"{error.fault} {error.remedy}"


@mark.rules("MODEL-I8")
@mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("graph n\n", "graph n\n| a = b.c(d) : int8[1] activation\n", "a part of no node"),
        (" activation scale=0.1 zero=3\noutputs", " activation\noutputs", "otherwise than"),
    ],
)
def test_text_that_cannot_be_read(old, new, complaint):
    graph, _ = streamed(network(conv(6), depthwise(3), conv(3)))
    text = print_graph(graph)
    assert old in text
    with pytest.raises(ConstraintError, match=complaint) as caught:
        parse_graph(text.replace(old, new))
    assert caught.value.rule == "MODEL-I8"


@mark.rules("TRAIN-S8", "STREAM-C1")
def test_dead_code_inside_a_composite_is_removed():
    graph = network(conv(6), depthwise(3), conv(3), keep=("layer1.y", "layer0.mask"))
    composed, block = streamed(graph)
    assert {"layer2.y", "layer1.y", "layer0.mask"} == set(block.results)
    pruned = validate(eliminate_dead_code(replace(composed, outputs=("layer1.y",))))
    assert len(pruned.nodes[-1].body) == 2
    assert pruned.nodes[-1].results == ("layer1.y",)
    assert not {"layer2.w", "layer0.mask"} & set(pruned.tensors)
    assert validate(eliminate_dead_code(replace(composed, outputs=("x",)))).nodes == graph.nodes[:1]


# --- streamed forward blocks ---------------------------------------------------------------------------------------


@mark.rules("STREAM-C2")
def test_what_cannot_be_streamed_by_rows():
    batch = rebatch(network(conv(6), depthwise(3), conv(3)), 2)
    composed = compose(batch, "composite.rows", batch.nodes[1:], attributes={"columns": 1})
    assert fault(composed).rule == "STREAM-C2"
    far = network(conv(3, kernel=3))
    nodes = [*far.nodes[:1], replace(far.nodes[1], attributes={**far.nodes[1].attributes, "pad": (9, 9, 1, 1)})]
    y = replace(far["layer0.y"], type=replace(far["layer0.y"].type, shape=(1, 24, 8, 3)))
    far = validate(replace(far, nodes=tuple(nodes), tensors={**far.tensors, "layer0.y": y}))
    composed = compose(far, "composite.rows", far.nodes[1:], attributes={"columns": 1})
    assert fault(composed).rule == "STREAM-C2"


@mark.rules("STREAM-S2")
def test_schedule_of_an_inverted_bottleneck():
    graph, block = streamed(network(conv(6), depthwise(3), conv(3), shape=(1, 5, 4, 3)))
    schedule = Schedule(graph, block)
    assert schedule.tiles >= {"layer1.y"}
    assert set(schedule.bands) == {"layer0.y"}
    expand, rest = 0, 1
    assert schedule.pipeline == [expand, rest, rest]
    assert schedule.steps == [
        *[(expand, 0, 1), (expand, 1, 2), (rest, 0, 1)],
        *[(expand, 2, 3), (rest, 1, 2)],
        *[(expand, 3, 4), (rest, 2, 3)],
        *[(expand, 4, 5), (rest, 3, 4), (rest, 4, 5)],
    ]
    graph, block = streamed(network(conv(6), depthwise(3), conv(3), shape=(1, 5, 4, 3)), rows=2)
    schedule = Schedule(graph, block)
    assert schedule.leader == rest
    assert schedule.steps == [
        *[(expand, 0, 2), (expand, 2, 3), (rest, 0, 2)],
        *[(expand, 3, 5), (rest, 2, 4)],
        *[(rest, 4, 5)],
    ]
    assert schedule.bands == {"layer0.y": (4, [0, 0, 0, 1, 1])}


@mark.rules("STREAM-S2")
def test_nothing_is_computed_twice():
    """Whatever the geometry: each pixel of each map once, in ascending order."""
    graph = network(conv(5, 3, 2), depthwise(5), conv(4), conv(6), depthwise(3, 2), conv(4), shape=(1, 17, 13, 3))
    composed, block = streamed(graph)
    values, pixels, order = values_of(graph), Counter(), []
    names = {part.inputs[1]: part.results[0] for part in block.body}

    def provider(function, *arrays, **attributes):
        results = reference(function, *arrays, **attributes)
        name = next(n for w, n in names.items() if arrays[1] is held[w])
        pixels[name] += results[0].shape[1] * results[0].shape[2]
        order.append(name)
        return results

    held = {name: values[name] for name in block.operands}
    out = {name: np.zeros(graph[name].type.shape, graph[name].type.dtype) for name in block.results}
    scratch = np.zeros(scratch_bytes(composed, block), np.uint8)
    KINDS[block.function].execute(composed, block, held, out, scratch, writing(provider))
    assert streams.same(out, values)
    for name in names.values():
        assert pixels[name] == graph[name].type.shape[1] * graph[name].type.shape[2]
    for low, high in zip(list(names.values()), list(names.values())[1:], strict=False):
        assert order.index(low) < order.index(high)
        assert order.index(high) < len(order) - 1 - order[::-1].index(low), "rows of both alternate"


@mark.rules("STREAM-S2")
def test_rows_that_only_a_result_needs_are_computed_at_the_end():
    graph = network(conv(6), depthwise(1, 3), conv(3), shape=(1, 6, 6, 3), keep=("layer0.mask",))
    composed, block = streamed(graph)
    values = values_of(graph)
    assert streams.same(streams.run_alone(composed, block, values, streams.CALLS["reference"], {}), values)
    assert [step.first for step in Schedule(composed, block).steps if step.pipeline == 0] == [0, 1, 2, 3, 4, 5]
    composed, block = streamed(graph, rows=2)
    assert streams.same(streams.run_alone(composed, block, values, streams.CALLS["c"], {}), values)
    spans = [(first, end) for p, first, end in Schedule(composed, block).steps if p == 0]
    assert spans == [(0, 2), (2, 4), (4, 6)]


@mark.rules("STREAM-M1")
@mark.parametrize("columns", [1, 4, None])
@mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2), (5, 1), (7, 2)])
def test_scratch_of_an_inverted_bottleneck_is_k_rows_and_two_tiles(kernel, stride, columns):
    graph, block = streamed(network(conv(6), depthwise(kernel, stride), conv(3), conv(2)), columns)
    width = 8 // stride
    columns = columns or 99
    band = kernel * 8 * 6 if kernel > 1 else min(columns, 8) * 6
    assert scratch_bytes(graph, block) == band + min(columns, width) * (6 + 3)


@mark.rules("STREAM-M1")
@mark.parametrize("rows", [2, 3, 5, 8, 99])
@mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2), (5, 1), (7, 2)])
def test_scratch_of_an_inverted_bottleneck_by_several_rows(kernel, stride, rows):
    graph, block = streamed(network(conv(6), depthwise(kernel, stride), conv(3), conv(2)), rows=rows)
    side, above = 8 // stride, block.body[1].attributes["pad"][0]
    firsts = range(0, side, rows)
    met = [range(first * stride - above, (min(first + rows, side) - 1) * stride - above + kernel) for first in firsts]
    band = max(len(set(inputs) & set(range(8))) for inputs in met)
    rows = min(rows, side)
    whole = (rows - 1) * stride + kernel
    if any(inputs.start >= 0 and inputs.stop <= 8 and len(inputs) == whole for inputs in met):
        assert band == whole
    assert scratch_bytes(graph, block) == band * 8 * 6 + rows * side * (6 + 3)


@mark.rules("STREAM-S2", "STREAM-S6", "STREAM-M1")
@mark.parametrize("call", streams.CALLS)
@mark.parametrize("rows", [2, 3, 4, 7, 17])
def test_rows_run_in_groups(call, rows):
    """Several windows one behind the other, rows that no window reads, a skip connection; last groups are smaller."""
    blocks = {
        "windows": network(
            *(conv(5, 3, 2), depthwise(5), conv(4), conv(6), depthwise(3, 2), conv(4)),
            shape=(1, 17, 13, 3),
            keep=("layer0.mask", "layer4.mask"),
        ),
        "rows apart": network(conv(6), depthwise(1, 3), conv(3), shape=(1, 11, 5, 3)),
        "skip": network(conv(3, 3), conv(6), depthwise(5), conv(3), add(3), shape=(1, 10, 4, 3)),
    }
    for name, graph in blocks.items():
        composed, block = streamed(graph, rows=rows)
        values = values_of(graph)
        pairs = sorted(pair for pair in legal_pairs(composed, block) if graph[pair[0]].nbytes <= graph["x"].nbytes)
        assert (name == "skip") == (("layer4.y", "x") in pairs)
        for shared in ({}, *({result: operand} for result, operand in pairs)):
            results = streams.run_alone(composed, block, values, streams.CALLS[call], shared)
            assert streams.same(results, values), (name, shared)


@mark.rules("STREAM-M1", "STREAM-A1")
def test_stem_of_the_published_networks():
    """3 x 3 by 2 to 16 channels, 3 x 3 depthwise, 1 x 1 to 8 channels, of an image of 128 x 128 x 3."""
    graph, block = streamed(network(conv(16, 3, 2), depthwise(3), conv(8), shape=(1, 128, 128, 3)))
    assert scratch_bytes(graph, block) == 3 * 64 * 16 + 4 * 16
    assert ("layer2.y", "x") in legal_pairs(graph, block)
    assert graph["x"].nbytes == 49_152
    assert graph["layer2.y"].nbytes == 32_768


@mark.rules("STREAM-M1")
def test_band_of_a_skip_connection_holds_the_rows_between_its_readers():
    """An inner map that is expanded now and added four rows later, by a depthwise window of five rows."""
    graph, block = streamed(network(conv(3, 3), conv(6), depthwise(5), conv(3), add(3)), columns=1)
    schedule = Schedule(graph, block)
    assert {name: rows for name, (rows, _) in schedule.bands.items()} == {"layer0.y": 3, "layer1.y": 5}
    assert scratch_bytes(graph, block) == (3 * 3 + 5 * 6) * 8 + 6 + 3


SHARING = [
    ("a block with a skip connection", (conv(6), depthwise(3), conv(3), add(3)), True),
    ("a block that halves the map", (conv(6), depthwise(5, 2), conv(12)), True),
    ("a block that gives a map as large, with no skip", (conv(6), depthwise(3), conv(3)), True),
    ("a block whose rows grow, but later than those of x are read", (conv(6), depthwise(7), conv(4)), True),
    ("a depthwise window on x itself", (depthwise(3), conv(3)), False),
    ("a depthwise window on x itself, of a row", (depthwise(1), conv(3)), True),
    ("a stem that writes faster than it reads", (conv(4, 3), depthwise(3), conv(9)), False),
    ("a stem that writes more slowly than it reads", (conv(4, 3, 2), depthwise(3), conv(9)), True),
    ("pixels that grow", (conv(6), conv(4)), False),
    ("pixels that do not", (conv(6), conv(3)), True),
    ("x added after a wider window", (depthwise(5), conv(3), add(2)), False),
]


@mark.rules("STREAM-A1", "STREAM-S6")
@mark.parametrize(("layers", "legal"), [s[1:] for s in SHARING], ids=[s[0] for s in SHARING])
def test_result_on_the_operand_whose_rows_are_read(layers, legal):
    """Whether it may lie there is whether it changes a bit."""
    graph = network(*layers)
    composed, block = streamed(graph)
    (y,) = graph.outputs
    values = values_of(graph)
    assert ((y, "x") in legal_pairs(composed, block)) == legal
    if graph[y].nbytes > graph["x"].nbytes:
        return  # INP-S4
    for call in streams.CALLS.values():
        results = streams.run_alone(composed, block, values, call, {y: "x"})
        assert streams.same(results, values) == legal


@mark.rules("STREAM-A1", "STREAM-S6")
@mark.parametrize("rows", [1, 2, 3])
@mark.parametrize(("layers", "legal"), [s[1:] for s in SHARING], ids=[s[0] for s in SHARING])
def test_rows_of_a_result_on_the_operand_that_is_read(layers, legal, rows):
    """Of several rows at a time, some that lie there row by row may not, and none that may not; bits tell which."""
    graph = network(*layers)
    composed, block = streamed(graph, columns=None, rows=rows)
    (y,) = graph.outputs
    values = values_of(graph)
    assert legal or (y, "x") not in legal_pairs(composed, block)
    if graph[y].nbytes <= graph["x"].nbytes and (y, "x") in legal_pairs(composed, block):
        for call in streams.CALLS.values():
            assert streams.same(streams.run_alone(composed, block, values, call, {y: "x"}), values)


@mark.rules("STREAM-A1")
def test_rows_in_the_place_of_those_that_they_are_computed_from():
    """Channels that are saved of x, on x: no step writes them over a part of the rows that it reads (ABI-A1)."""

    def save(kept):
        def layer(n, name, maps):
            listed = n.builder.outside("kept", Type((kept,), "int32"), "constant")
            n.builder.emit("save_channels.forward", (maps[-1], listed), (name,), ("saved",), (0.1, 3))
            return name

        return layer

    for kept, row_by_row, by_twos in ((1, True, True), (2, True, True), (3, False, False), (4, True, True)):
        graph = network(save(kept), conv(4), shape=(1, 6, 3, 4), keep=("layer0",))
        for rows, legal in ((1, row_by_row), (2, by_twos)):
            composed, block = streamed(graph, columns=None, rows=rows)
            assert (("layer0", "x") in legal_pairs(composed, block)) == legal


@mark.rules("STREAM-A1")
def test_no_result_lies_on_what_every_row_reads():
    graph, block = streamed(network(conv(6), depthwise(3), conv(3)))
    assert {operand for _, operand in legal_pairs(graph, block)} == {"x"}
    twice = network(conv(6), depthwise(3), conv(3), add(3))
    x = replace(twice.nodes[4], inputs=("x", "layer2.y", "x.m", "layer3.m2"))
    assert x.operand("x1") == "x"


@mark.rules("STREAM-S6", "STREAM-F1")
def test_scratch_too_small_is_noticed():
    graph, block = streamed(network(conv(6), depthwise(3), conv(3)))
    values = values_of(network(conv(6), depthwise(3), conv(3)))
    operands = {name: values[name] for name in block.operands}
    results = {name: np.array(values[name]) for name in block.results}
    scratch = np.zeros(scratch_bytes(graph, block) - 1, np.uint8)
    with pytest.raises(AssertionError):
        KINDS[block.function].execute(graph, block, operands, results, scratch, writing(reference))


# --- streamed backward blocks --------------------------------------------------------------------------------------


def backward(scheme, optimizer="sgd"):
    """The session, its graph with streamed backward blocks, and the first of them."""
    session = Session(tiny_model.model(), scheme, optimizer=optimizer, mu=0.5)
    graph = validate(stream_backward(session.graph))
    return session, graph, next(streams.composites(graph))


@mark.rules("STREAM-S4", "STREAM-M3", "STREAM-A3", "STREAM-S8")
def test_block_where_only_biases_train():
    """Two planes of 4 x 4 float32; the mask of the second, a byte a pixel, lies where the first plane was."""
    _, graph, block = backward(BIAS_ONLY)
    functions = [part.function for part in block.body]
    assert functions == [
        "conv2d.vjp_x",
        *("mask_scale.forward", "bias_gradient.forward", "sgd_update_bias.update"),
        "depthwise_conv2d.vjp_x",
        *("mask_scale.forward", "bias_gradient.forward", "sgd_update_bias.update"),
        "conv2d.vjp_x",
    ]
    assert set(block.results) == {"block.depthwise.b.new", "block.expand.b.new", "stem.y.grad.2"}
    planes, kernel = 2 * 4 * 4 * 4, 3 * 3
    assert scratch_bytes(graph, block) == planes + -(-kernel // 4) * 4
    assert legal_pairs(graph, block) >= {
        ("stem.y.grad.2", "stem.y.grad"),
        ("block.expand.b.new", "block.expand.b"),
        ("block.depthwise.b.new", "block.depthwise.b"),
    }
    assert not [pair for pair in legal_pairs(graph, block) if pair[1] in ("block.project.y.acc", "block.expand.w")]


@mark.rules("STREAM-S4", "STREAM-A3")
def test_gradient_of_a_residual_block_starts_as_its_skip_connections():
    """g of the projection and dx: two maps; dx lies where the skip connection's gradient was."""
    _, graph, block = backward(FULL)
    maps = [name for name in (*block.operands, *block.results) if graph[name].role == "gradient"]
    assert maps == ["block.project.y.acc", "stem.y.grad", "stem.y.grad.2"]
    assert ("stem.y.grad.2", "stem.y.grad") in legal_pairs(graph, block)


@mark.rules("STREAM-S4", "STREAM-S6")
def test_channels_run_one_after_the_other():
    session, graph, block = backward(FULL)
    values, seen = streams.all_values(session.graph, graphs.feeds(session, tiny_model.sample(), 0.1)), []

    def provider(function, *arrays, **attributes):
        seen.append(function)
        assert function != "depthwise_conv2d.vjp_x" or arrays[0].shape == (1, 4, 4, 1)
        return reference(function, *arrays, **attributes)

    streams.run_alone(graph, block, values, writing(provider), {})
    assert seen == [part.function for part in block.body] * 7


@mark.rules("STREAM-A3")
def test_update_stands_after_the_last_use_of_the_old_weight():
    _, graph, block = backward(FULL)
    at = {name: i for i, part in enumerate(block.body) for name in part.results}
    assert at["stem.y.grad.2"] < at["block.expand.w.new"]
    assert at["block.expand.y.grad"] < at["block.depthwise.w.new"]
    assert ("block.expand.w.new", "block.expand.w") in legal_pairs(graph, block)
    early = sorted(
        block.body,
        key=lambda part: (
            "block.expand.w.new" not in part.results and at[part.results[0]] >= at["block.expand.w.grad"] + 1
        ),
    )
    swapped = validate(damaged(graph, body=tuple(early)))
    assert [part.results[0] for part in early] != [part.results[0] for part in block.body]
    assert ("block.expand.w.new", "block.expand.w") not in legal_pairs(swapped, next(streams.composites(swapped)))


@mark.rules("STREAM-S5", "STREAM-S4", "STREAM-S6")
@mark.parametrize("optimizer", ["sgd", "master", "momentum", "stochastic"])
@mark.parametrize("call", streams.CALLS)
def test_slices_of_depthwise_and_expanding_weights(call, optimizer):
    session, graph, block = backward(SPARSE, optimizer)
    assert ("block.depthwise.trained.new" in block.results) == (optimizer != "stochastic")
    values = streams.all_values(session.graph, graphs.feeds(session, tiny_model.sample(), 0.1))
    assert not same_bits(values["block.depthwise.trained"], values["block.depthwise.trained.new"]).all()
    for shared in ({}, {r: x for x, r in graph.updates.items() if r in block.results}):
        assert streams.same(streams.run_alone(graph, block, values, streams.CALLS[call], shared), values)


# --- groups of channels --------------------------------------------------------------------------------------------


def grouped(scheme, expanded=16, size=8):
    """A session of a network of one block, its plan's graph in groups, that block, and all values."""
    n = streams.Blocks("groups", {}, default=(0.1, 3))
    x = n.conv("stem", n.image((1, 5, 4, 2), 1 / 16, 0), 5, kernel=3)
    forward = n.loss(n.classifier(n.global_average(n.inverted_bottleneck("block", x, expanded, 5, 3)), 3))
    session = Session(with_parameters(forward, 1), scheme)
    graph = fuse(stream_backward(session.graph))
    block = next(node for node in streams.composites(graph) if is_wide(node))
    wide = replace(block, attributes={"group": size})
    graph = replace(graph, nodes=tuple(wide if node is block else node for node in graph.nodes))
    values = streams.all_values(session.graph, graphs.feeds(session, graphs.sample(forward, 1), 0.1))
    return graph, wide, values


def is_wide(node):
    """Whether it is the block of the expanded tensor's gradients."""
    return any(tensor.name == "block.expand.y.acc" for tensor in node.inner)


IN_GROUPS = {
    "full": FULL,
    "biases": Scheme("biases", biases=3),
    "parts": Scheme("parts", weights={"block.expand": 0.5, "block.project": 0.4}, biases=3),
}


@mark.rules("STREAM-S4", "STREAM-S5", "STREAM-S6", "STREAM-M3")
@mark.parametrize("call", streams.CALLS)
@mark.parametrize("scheme", IN_GROUPS.values(), ids=IN_GROUPS)
def test_channels_run_in_groups(call, scheme):
    """Masks a byte at a time; of a weight that trains in part, trained channels among frozen ones."""
    graph, block, values = grouped(scheme)
    validate(graph)
    assert ("block.project.trained" in block.operands) == (scheme.name == "parts")
    pairs = sorted(legal_pairs(graph, block))
    for shared in ({}, *({result: operand} for result, operand in pairs)):
        if all(graph[r].nbytes <= graph[x].nbytes for r, x in shared.items()):
            assert streams.same(streams.run_alone(graph, block, values, streams.CALLS[call], shared), values)


@mark.rules("STREAM-C4")
def test_groups_that_a_block_cannot_run():
    for size in (0, -8, 3, True, 8.0, "8", 24, 32):
        with pytest.raises(ConstraintError) as caught:
            validate(grouped(IN_GROUPS["biases"], size=size)[0])
        assert caught.value.rule == "STREAM-C4"
    parts = Scheme("parts", weights={"block.depthwise": 0.5}, biases=3)
    with pytest.raises(ConstraintError, match="one by one"):
        validate(grouped(parts)[0])
    with pytest.raises(ConstraintError, match="one by one"):
        validate(grouped(IN_GROUPS["parts"], size=16)[0])
    validate(grouped(IN_GROUPS["biases"], size=16)[0])


@mark.rules("STREAM-S13")
def test_groups_take_no_more_than_is_there():
    graph = grouped(IN_GROUPS["biases"], size=1)[0]
    graph = replace(graph, nodes=tuple(replace(n, attributes={}) if n.body else n for n in graph.nodes))
    (at,) = [i for i, node in enumerate(graph.nodes) if is_wide(node)]
    alone = scratch_bytes(graph, graph.nodes[at])
    sizes = {}
    for idle in range(0, 4000, 4):
        made = group(graph, [100] * len(graph.nodes), 100 + idle).nodes[at]
        assert scratch_bytes(graph, made) - alone <= idle
        sizes.setdefault(made.attributes.get("group", 1), idle)
    assert list(sizes) == [1, 8, 16]


@mark.rules("STREAM-C4")
def test_bodies_that_have_no_channels_of_their_own():
    graph = Session(tiny_model.model(), FULL).graph
    made = graph.producers()
    cases = {
        "different channels": [made["block.project.b.grad"], made["block.depthwise.b.grad"]],
        "cuts avg_pool2d.forward": [made["pool.y"]],
        "reads stem.y.grad otherwise": [made["stem.y.grad"], made["block.expand.y.acc"], made["stem.y.grad.2"]],
        "reads stem.y.grad.2 otherwise": [made["block.expand.y.acc"], made["stem.y.grad.2"], made["stem.y.acc"]],
    }
    for message, body in cases.items():
        composed = compose(graph, "composite.channels", body)
        with pytest.raises(ConstraintError, match=message) as caught:
            validate(composed)
        assert caught.value.rule == "STREAM-C4"


# --- a depthwise convolution in place -------------------------------------------------------------------------------


def depthwise_in_place(channels, kernel, stride, trained=(), shape=(7, 5)):
    """A graph of one depthwise convolution, perhaps of a split weight, as a composite; that node; and all values."""
    graph = network(depthwise(kernel, stride), shape=(1, *shape, channels))
    node, more, listed = graph.nodes[-1], (), {}
    if trained:
        w = graph["layer0.w"]
        more = (
            replace(w, name="part", type=Type((kernel, kernel, len(trained)), "int8")),
            Tensor("list", Type((len(trained),), "int32"), "constant"),
        )
        node = replace(node, inputs=(*node.inputs, "part", "list"))
        listed = {"list": np.int32(trained)}
    graph = validate(graph.with_nodes([*graph.nodes[:-1], node], more))
    composed = validate(compose(graph, "composite.channels", [node]))
    return composed, composed.nodes[-1], values_of(graph, **listed)


DEPTHWISE = {
    "stride 1": (6, 3, 1),
    "stride 2": (6, 3, 2),
    "odd channels": (5, 5, 1),
    "odd channels, stride 2": (3, 7, 2),
    "no window": (3, 1, 1),
    "trained": (6, 3, 1, (1, 4)),
    "trained, stride 2": (5, 3, 2, (0, 1, 4)),
    "all but one trained": (4, 5, 1, (0, 2, 3)),
    "one pixel wide": (5, 3, 1, (), (6, 1)),
}


@mark.rules("STREAM-A3", "STREAM-M3", "STREAM-S4", "STREAM-S6", "STREAM-F1")
@mark.parametrize("call", streams.CALLS)
@mark.parametrize("case", DEPTHWISE.values(), ids=DEPTHWISE)
def test_depthwise_convolution_on_its_own_map(case, call):
    graph, block, values = depthwise_in_place(*case)
    (y,) = block.results
    legal = [{result: operand} for result, operand in sorted(legal_pairs(graph, block))]
    assert {y: "x"} in legal  # and on a kernel of no fewer pixels than the result, which is cut alike
    assert {y: "layer0.b"} not in legal
    assert len(np.unique(values[y])) > 6, "not all is clamped"
    for shared in ({}, *legal):
        assert streams.same(streams.run_alone(graph, block, values, streams.CALLS[call], shared), values)
    kernel, stride, (height, width) = case[1], case[2], graph["x"].type.shape[1:3]
    result = -(-height // stride) * -(-width // stride)
    # y is computed in a plane of its own, of copies of x and of the kernel; b and m lie side by side where they are
    assert scratch_bytes(graph, block) == -(-(result + height * width + kernel * kernel) // 4) * 4


@mark.rules("STREAM-S5", "STREAM-S4")
def test_depthwise_convolution_reads_the_trained_part_of_its_weight():
    """The dense weight's channels that train are stale: whatever stands there, the bits stay."""
    graph, block, values = depthwise_in_place(5, 3, 1, (0, 1, 4))
    stale = {**values, "layer0.w": np.array(values["layer0.w"])}
    stale["layer0.w"][..., [0, 1, 4]] = 77
    (y,) = block.results
    assert streams.same(streams.run_alone(graph, block, stale, streams.c_writes, {y: "x"}), {y: values[y]})
    stale["layer0.w"][..., 2] = 77
    assert not same_bits(streams.run_alone(graph, block, stale, streams.c_writes, {y: "x"})[y], values[y]).all()


@mark.rules("STREAM-A3")
def test_depthwise_convolution_that_may_not_lie_on_its_map():
    """Of one channel: its plane is not copied, so rows that are still read would be overwritten.  A result with more
    pixels has no place there.
    """
    graph, block, values = depthwise_in_place(1, 3, 1)
    assert legal_pairs(graph, block) == set()
    assert scratch_bytes(graph, block) == 0
    for call in (streams.c_writes, streams.CALLS["reference"]):
        assert streams.same(streams.run_alone(graph, block, values, call, {}), values)
    wide = network(depthwise(3), shape=(1, 7, 5, 6))
    node = wide.nodes[-1]
    attributes = {**node.attributes, "pad": (2, 1, 1, 1)}
    larger = replace(wide["layer0.y"], type=Type((1, 8, 5, 6), "int8"))
    wide = validate(wide.with_nodes([wide.nodes[0], replace(node, attributes=attributes)], [larger]))
    composed = validate(compose(wide, "composite.channels", [wide.nodes[-1]]))
    assert legal_pairs(composed, composed.nodes[-1]) == set()
    assert fuse(wide) == wide


@mark.rules("STREAM-S9", "STREAM-C4")
def test_depthwise_convolution_with_a_mask_is_left_whole():
    graph = network(depthwise(3), keep=("layer0.mask",), shape=(1, 9, 9, 6))
    assert fuse(graph) == graph
    assert fault(compose(graph, "composite.channels", [graph.nodes[-1]])).rule == "STREAM-C4"
    bare = network(depthwise(3), shape=(1, 9, 9, 6))
    assert [node.function for node in fuse(bare).nodes] == ["quantize_input.from_uint8", "composite.channels"]
    batch = rebatch(bare, 2)
    assert fuse(batch) == batch
    few = network(depthwise(3), shape=(1, 9, 9, 2))  # two planes and a kernel are no fewer bytes than the map
    assert fuse(few) == few


# --- fused nodes ---------------------------------------------------------------------------------------------------


@mark.rules("STREAM-S9", "STREAM-S3", "STREAM-M2", "STREAM-A2")
def test_bias_gradient_and_update_are_fused_with_the_mask():
    session = Session(tiny_model.model(), FULL)
    graph = validate(fuse(session.graph))
    block = graph.producers()["block.project.b.new"]
    assert block.function == "composite.whole"
    assert block.results == ("block.project.y.acc", "block.project.b.new")
    assert scratch_bytes(graph, block) == 4 * 5  # the gradient of five biases
    assert legal_pairs(graph, block) == {
        ("block.project.y.acc", "block.project.y.grad"),
        ("block.project.b.new", "block.project.b"),
    }
    values = streams.all_values(session.graph, graphs.feeds(session, tiny_model.sample(), 0.1))
    for shared in ({}, dict(legal_pairs(graph, block))):
        assert streams.same(streams.run_alone(graph, block, values, streams.c_writes, shared), values)


@mark.rules("STREAM-A2", "STREAM-M2")
def test_result_of_fused_nodes_on_an_operand_that_is_read_later():
    graph = Session(tiny_model.model(), FULL).graph
    made = graph.producers()
    first, second = made["stem.y.grad"], made["block.project.y.grad"]  # both read gy
    composed = validate(compose(graph, "composite.whole", [first, second]))
    block = composed.producers()["stem.y.grad"]
    assert legal_pairs(composed, block) == {("block.project.y.grad", "block.add.y.grad")}
    assert scratch_bytes(composed, block) == 0


@mark.rules("STREAM-S9", "STREAM-M3")
def test_gradient_of_a_weight_is_never_a_tensor():
    graph = validate(fuse(Session(tiny_model.model(), FULL).graph))
    block = graph.producers()["block.project.w.new"]
    assert [part.function for part in block.body] == ["conv2d.vjp_w", "sgd_update_weight.update"]
    assert scratch_bytes(graph, block) == 4 * (4 * 4 + 7)  # a plane of g, and one of five filters
    assert "block.project.w.grad" not in graph.tensors
    assert graph.producers()["block.expand.y.grad"].function == "composite.channels"  # in place, plane by plane
    assert ("block.expand.y.grad", "block.depthwise.y.acc") in legal_pairs(
        graph, graph.producers()["block.expand.y.grad"]
    )


# --- passes --------------------------------------------------------------------------------------------------------


@mark.rules("STREAM-S7")
def test_blocks_of_the_forward_pass():
    graph = stream_forward(load(Path(goldgrad.__file__).parent / "models" / "digits.json").graph)
    blocks = [node for node in graph.nodes if node.body]
    assert [block.results[0] for block in blocks[:3]] == ["block1.add.y", "block2.project.y", "block3.add.y"]
    assert "stem.y" in {tensor.name for tensor in blocks[0].inner}
    assert all(
        KINDS[block.function].scratch_bytes(graph, block) < sum(t.nbytes for t in block.inner) for block in blocks
    )


@mark.rules("STREAM-S7", "STREAM-S8", "STREAM-S9")
def test_batches_are_left_alone():
    graph = rebatch(tiny_model.graph(), 2)
    assert stream_forward(graph) == graph
    batch = Session(replace(tiny_model.model(), graph=graph), FULL).graph
    assert stream_backward(batch) == batch
    assert {block.function for block in streams.composites(validate(fuse(batch)))} <= {"composite.whole"}


@mark.rules("STREAM-S7", "STREAM-S8")
def test_what_is_kept_stays_whole():
    session = Session(tiny_model.model(), BIAS_ONLY)
    kept = replace(session.graph, outputs=(*session.graph.outputs, "block.expand.y", "block.expand.y.grad"))
    changed = validate(stream_backward(stream_forward(kept)))
    assert {"block.expand.y", "block.expand.y.grad"} <= set(changed.tensors)
    given = graphs.feeds(session, tiny_model.sample(), 0.1)
    assert streams.same(run_in_arena(changed, given, streams.first_fit(changed)), run(kept, given))


SCHEMES = [FULL, SPARSE, BIAS_ONLY, Scheme("head")]


@mark.rules("STREAM-S6", "INP-S6", "STREAM-F1")
@mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
@mark.parametrize("passes", [[name] for name in PASSES] + [list(PASSES)], ids="+".join)
def test_step_in_the_arena(passes, scheme):
    session = Session(tiny_model.model(), scheme)
    graph, given = session.graph, graphs.feeds(session, tiny_model.sample(), 0.1)
    for name in passes:
        graph = PASSES[name](graph)
    placement = streams.first_fit(validate(graph))
    check_placement(graph, placement)
    assert all(placement[new] == placement[old] for old, new in graph.updates.items()), "updates are in place"
    expected = run(session.graph, given)
    for provider in (reference, kernels.run):
        assert streams.same(run_in_arena(graph, given, placement, provider), expected)


@mark.rules("STREAM-S6")
@mark.parametrize("scheme", ["full", "sparse"])
def test_step_of_the_digits_network(scheme):
    here = Path(goldgrad.__file__).parent
    chosen = FULL if scheme == "full" else load_scheme(here / "schemes" / "digits-sparse.toml")
    session = Session(load(here / "models" / "digits.json"), chosen)
    everything = {
        **session.constants,
        **session.parameters,
        **digits.new_scans()[0].sample(0),
        "lr": np.float32([0.01]),
    }
    given = {tensor.name: everything[tensor.name] for tensor in session.graph.outside()}
    graph = session.graph
    for change in PASSES.values():
        graph = change(graph)
    results = run_in_arena(validate(graph), given, streams.first_fit(graph), kernels.run)
    assert streams.same(results, run(session.graph, given))


@mark.rules("STREAM-F1", "INP-S2", "INP-C1")
def test_scratch_has_a_place_of_its_own():
    session = Session(tiny_model.model(), SPARSE)
    graph: Graph = stream_forward(session.graph)
    placement = streams.first_fit(graph, share=False)
    block = next(streams.composites(graph))
    scratch = scratch_name(block)
    check_placement(graph, placement)
    for other in (block.results[0], block.operands[0], "lr"):
        with pytest.raises(ConstraintError, match="INP-S") as caught:
            check_placement(graph, {**placement, scratch: placement[other]})
        assert scratch in caught.value.fault
    with pytest.raises(ConstraintError, match="INP-C1"):
        check_placement(graph, {**placement, scratch: 2})
    wrong = {**placement, scratch: placement["block.expand.w"]}
    given = graphs.feeds(session, tiny_model.sample(), 0.1)
    assert streams.goes_wrong(graph, given, wrong)
