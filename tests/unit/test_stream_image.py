"""Samples that come row by row (specs/streaming.md, STREAM-S10, STREAM-S11, STREAM-C5)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import graphs
import streams
import tiny_model
from goldgrad.composites import KINDS, writing
from goldgrad.composites.rows import Schedule
from goldgrad.errors import ConstraintError
from goldgrad.graph import validate
from goldgrad.interpreter import reference, run, run_in_arena
from goldgrad.memory.demand import counted, fed_samples
from goldgrad.memory.plan import plan
from goldgrad.memory.scratch import scratch_bytes
from goldgrad.memory.sharing import legal_pairs
from goldgrad.models._network import Network
from goldgrad.models.synthetic import synthetic
from goldgrad.passes.dce import eliminate_dead_code
from goldgrad.passes.stream_forward import stream_forward
from goldgrad.passes.stream_image import stream_image
from goldgrad.sparse import FULL, HEAD
from goldgrad.training import Session

mark = pytest.mark


def stem(scales=None, batch=1):
    """3 x 3 by 2, depthwise 3 x 3, 1 x 1, then a head, of an image of 16 x 8 x 3."""
    n = Network("stem", scales or {})
    x = n.image((batch, 16, 8, 3), 1 / 255, 0)
    y = n.conv("layer2", n.depthwise("layer1", n.conv("layer0", x, 16, 3, 2), 3), 8)
    return n.loss(n.classifier(n.global_average(y), 3))


@mark.rules("STREAM-S11", "STREAM-S10", "STREAM-M1", "MEM-S1")
def test_image_of_a_stem_is_a_row():
    """The quantized image is a band of three rows for the window of 3 x 3, the image one row."""
    graph = eliminate_dead_code(stem())
    fed = validate(stream_image(stream_forward(graph)))
    block = fed.nodes[0]
    assert block.body[0].function.startswith("quantize_input")
    assert len(block.body) == 4
    bands = {name: rows for name, (rows, _) in Schedule(fed, block).bands.items()}
    assert bands == {"image": 1, "x": 3, "layer0.y": 3}
    assert scratch_bytes(fed, block) == (1 + 3) * 8 * 3 + 3 * 4 * 16 + 4 * 16, (
        "rows of the image, and of layer0, a tile"
    )
    assert fed_samples(fed) == {"image"}
    assert "image" in counted(graph)
    assert "image" not in counted(fed)
    assert not [pair for pair in legal_pairs(fed, block) if pair[1] == "image"]


@mark.rules("STREAM-S10")
def test_rows_come_once_each_in_order_and_no_earlier_than_needed():
    graph = validate(stream_image(stream_forward(eliminate_dead_code(stem()))))
    model = synthetic(stem)
    block, seen = graph.nodes[0], list[int]()
    values = {**Session(model, HEAD).constants, **model.arrays, **graphs.sample(model.graph, 1)}

    class Rows(np.ndarray):
        """An image that notes which rows are taken."""

        def __getitem__(self, key):
            seen.append(key[1])
            return np.asarray(self)[key]

    def provider(function, *arrays, **attributes):
        if function == "conv2d.forward" and attributes["stride"] == (2, 2):
            row = len([1 for _ in outputs])
            outputs.append(row)
            assert max(seen) <= 2 * row + 1, "no row comes before it is read"
        return reference(function, *arrays, **attributes)

    outputs: list[int] = []
    operands = {name: np.array(values[name]) for name in block.operands}
    operands["image"] = operands["image"].view(Rows)
    results = {name: np.zeros(graph[name].type.shape, graph[name].type.dtype) for name in block.results}
    scratch = np.zeros(scratch_bytes(graph, block), np.uint8)
    KINDS[block.function].execute(graph, block, operands, results, scratch, writing(provider))
    assert seen == list(range(16))
    assert len(outputs) == 8


@mark.rules("STREAM-S10", "STREAM-S11", "STREAM-S6")
@mark.parametrize("scheme", [FULL, HEAD], ids=["full", "head"])
@mark.parametrize("streaming", [True, False])
def test_a_step_on_an_image_that_comes_row_by_row_has_the_same_bits(scheme, streaming):
    """Where the first convolution trains, the quantized image is saved: it exists, but not the image."""
    session = Session(synthetic(stem), scheme)
    feeds = graphs.feeds(session, graphs.sample(session.model.graph, 4), 0.1)
    without = () if streaming else ("stream-forward", "stream-backward")
    planned = plan(session.graph, without=without, also=["stream-image"])
    assert "image" not in planned.placement
    assert ("x" in planned.graph.tensors) == (scheme is FULL or not streaming)
    whole = plan(session.graph, without=without)
    assert planned.arena_bytes <= whole.arena_bytes
    assert planned.floor_bytes <= whole.floor_bytes - (0 if scheme is FULL else 16 * 8 * 3 - 24)
    assert streams.same(run_in_arena(planned.graph, feeds, planned.placement), run(session.graph, feeds))


@mark.rules("STREAM-S11")
def test_what_is_not_streamed():
    """A batch, and an image that two nodes read, stay whole."""
    batch = eliminate_dead_code(stem(batch=2))
    assert stream_image(batch) == batch
    n = Network("two", {})
    x = n.image((1, 4, 4, 3), 1 / 255, 0)
    graph = n.loss(n.classifier(n.global_average(x), 3))
    reader = graph.nodes[0]
    twice = replace(graph, nodes=(reader, replace(reader, outputs=("x2",)), *graph.nodes[1:]))
    twice = validate(replace(twice, tensors={**graph.tensors, "x2": replace(graph["x"], name="x2")}))
    assert stream_image(twice) == twice


@mark.rules("STREAM-C5", "STREAM-C2")
def test_a_fed_sample_has_one_reader():
    session = Session(tiny_model.model(), HEAD)
    graph = validate(stream_image(session.graph))
    block = next(node for node in graph.nodes if node.body)
    again = replace(graph.nodes[0].body[0], outputs=("x.again",))
    tensor = replace(graph["x"], name="x.again") if "x" in graph.tensors else None
    assert tensor is not None
    two = replace(graph, nodes=(block, again, *graph.nodes[1:]), tensors={**graph.tensors, "x.again": tensor})
    with pytest.raises(ConstraintError, match="image comes row by row and has other readers") as caught:
        validate(two)
    assert caught.value.rule == "STREAM-C5"
    wrong = replace(block, attributes={**block.attributes, "fed": 2})
    with pytest.raises(ConstraintError, match="fed") as caught:
        validate(replace(graph, nodes=(wrong, *graph.nodes[1:])))
    assert caught.value.rule == "STREAM-C2"
