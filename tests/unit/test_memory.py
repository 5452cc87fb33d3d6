"""specs/memory.md rule by rule, on graphs small enough to count by hand; damaged plans are caught."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import arena
import graphs
import streams
import tiny_model
from goldgrad import kernels
from goldgrad.errors import ConstraintError, GoldgradError
from goldgrad.graph import Builder
from goldgrad.interpreter import run, run_in_arena
from goldgrad.memory import cp_sat, offsets
from goldgrad.memory.bound import bound_of_any_order, floor
from goldgrad.memory.demand import Demand, counted, demands, profile
from goldgrad.memory.liveness import lives
from goldgrad.memory.offsets import Block, Packing, Span, blocks, place
from goldgrad.memory.plan import CHOICES, PARTS, check_plan, plan
from goldgrad.memory.sharing import check_placement, placed_bytes
from goldgrad.models import architecture
from goldgrad.models._network import Network
from goldgrad.ops import Type
from goldgrad.passes.reorder import order
from goldgrad.schemes import named
from goldgrad.sparse import FULL, Scheme
from goldgrad.training import Session
from networks import with_parameters
from orders import best_sharing

mark = pytest.mark
DEEP = bool(os.environ.get("GOLDGRAD_DEEP"))
SPARSE = Scheme("sparse", biases=2, weights={"block.expand": (1, 3), "block.depthwise": 0.5})
MAP = 4 * 4
"""Pixels of the tiny network's maps; the stem has 5 channels, the block expands to 7, there are 3 classes."""
WEIGHTS = 7 * 2 + 3 * 3 * 4 + 3 * 5
BIASES = 4 * (7 + 5 + 3)
SAVED = MAP * 2 + MAP * 4 + 5
MASKS = 4 * MAP + 2
"""A byte a pixel: expand, depthwise, project, add; the pool's and the classifier's."""


def session(scheme=SPARSE, optimizer="sgd"):
    return Session(tiny_model.model(), scheme, optimizer=optimizer, mu=0.5)


def feeds(of):
    return graphs.feeds(of, tiny_model.sample(), 0.1)


def built(build, outputs, updates=()):
    """A graph that ``build`` makes with a builder; ``save`` and ``source`` are short for what most need."""
    b = Builder(name="by-hand")
    build(b)
    b.updates.update(updates)
    return b.build(outputs)


def source(b, name, shape, dtype="int8", role="input"):
    return b.outside(name, Type(shape, dtype), role)


def save(b, x, name, channels, role="saved"):
    """A node that gives the first channels of a map."""
    listed = source(b, f"{name}.list", (channels,), "int32", "constant")
    b.emit("save_channels.forward", (x, listed), (name,), (role,))


# --- what counts ---------------------------------------------------------------------------------------------------


@mark.rules("MEM-S1")
def test_what_lies_in_sram():
    graph = session().graph
    size = counted(graph)
    outside = {tensor.name for tensor in graph.outside()} & size.keys()
    trained = {"block.expand.trained", "block.depthwise.trained", "classifier.w"}
    biases = {"block.depthwise.b", "block.project.b", "classifier.b"}
    assert outside == {"image", "target", "lr"} | trained | biases
    assert sum(size[name] for name in trained) == WEIGHTS
    assert sum(size[name] for name in biases) == BIASES
    assert size["image"] == MAP
    assert {t.name for t in graph.tensors.values()} - outside - size.keys() == {
        t.name
        for t in graph.tensors.values()
        if t.role == "constant"
        or t.name in {"stem.w", "stem.b"}
        or t.name in {"block.expand.w", "block.expand.b", "block.depthwise.w", "block.project.w"}
    }


@mark.rules("MEM-S1")
def test_state_of_an_optimizer_counts():
    size, plain = counted(session(FULL, "master").graph), counted(session(FULL).graph)
    weights = [name for name in plain if name.endswith(".w")]
    assert {f"{w}.master": 4 * plain[w] for w in weights} == {n: b for n, b in size.items() if n.endswith(".master")}


@mark.rules("MEM-S2", "MEM-S4")
def test_scratch_counts_at_its_node():
    of = session()
    graph = plan(of.graph, ["fuse-bias"]).graph
    block = next(node for node in graph.nodes if node.function == "composite.whole" and len(node.body) == 3)
    (time,) = (i for i, node in enumerate(graph.nodes) if node is block)
    bias = next(x for x, r in graph.updates.items() if r in block.results)
    assert demands(graph)[time].scratch == graph[bias].nbytes  # the gradient of the bias, nothing else
    without = [replace(d, scratch=0) for d in demands(graph)]
    difference = np.subtract(profile(graph).live, profile(graph, without).live)
    assert list(difference) == [d.scratch for d in demands(graph)]
    assert all(d.scratch == 0 for node, d in zip(graph.nodes, demands(graph), strict=True) if not node.body)


# --- live bytes by hand --------------------------------------------------------------------------------------------

GRADIENT, MASK, BIAS = 4 * 2 * 2 * 3, 2 * 2, 4 * 3


def bias_step(b):
    """A gradient of 2 x 2 x 3, masked and scaled; the bias's gradient and update."""
    source(b, "gy", (1, 2, 2, 3), "float32")
    source(b, "mask", (1, 2, 2, 1), "uint8")
    source(b, "m", (3,), "float32", "constant")
    source(b, "b", (3,), "int32", "bias")
    source(b, "q", (3,), "float32", "constant")
    source(b, "limit", (1,), "int32", "constant")
    source(b, "lr", (1,), "float32", "rate")
    b.emit("mask_scale.forward", ("gy", "mask", "m"), ("g",), ("gradient",))
    b.emit("bias_gradient.forward", ("g",), ("db",), ("gradient",))
    b.emit("sgd_update_bias.update", ("b", "db", "q", "limit", "lr"), ("b.new",), ("parameter",))


@mark.rules("MEM-S4", "MEM-S3")
def test_live_bytes_of_a_bias_and_its_update():
    graph = built(bias_step, ("g",), {"b": "b.new"})
    always = BIAS + 4  # b, then b.new in its place; lr
    assert profile(graph).live == [
        always + GRADIENT + MASK,  # g lies where gy was
        always + GRADIENT + BIAS,  # g is kept; db
        always + GRADIENT + BIAS,
    ]
    assert profile(graph).shares == {"g": "gy", "b.new": "b"}
    apart = profile(graph, demands(graph, in_place=False))
    assert apart.live == [always + 2 * GRADIENT + MASK, always + GRADIENT + BIAS, always + GRADIENT + BIAS]
    assert apart.shares == {"b.new": "b"}
    assert bound_of_any_order(graph, demands(graph)) == max(profile(graph).live)
    assert floor(graph) == always + GRADIENT + MASK  # there is no loss: only what is there at the start


@mark.rules("MEM-S4", "MEM-S3")
def test_learning_rate_lives_to_the_end_and_an_unread_result_at_its_node():
    def build(b):
        bias_step(b)
        save(b, source(b, "x", (1, 4, 4, 4)), "unread", 3)
        save(b, "x", "s", 2)

    graph = built(build, ("s",), {"b": "b.new"})
    x, unread = 64, 48
    before = BIAS + 4 + x
    assert profile(graph).live == [
        before + GRADIENT + MASK,
        before + GRADIENT + BIAS,
        before + BIAS,  # g ends when db is there
        before + unread,
        before,  # s lies on x
    ]
    assert order(graph).peak == profile(order(graph).graph).peak


@mark.rules("MEM-S3")
def test_larger_result_takes_no_place_and_an_operand_gives_its_place_once():
    def build(b):
        for name in ("x1", "x2"):
            source(b, name, (1, 2, 2, 3))
        for name in ("m1", "m2"):
            source(b, name, (1,), "float32", "constant")
        b.emit(
            "add.forward", ("x1", "x2", "m1", "m2"), ("y", None), ("activation", "mask"), x1_zero=0, x2_zero=0, y_zero=0
        )

    graph = built(build, ("y",))
    (asked,) = demands(graph)
    assert asked.may == {("y", "x1"), ("y", "x2")}
    assert profile(graph).live == [24]
    kept = replace(graph, outputs=("y", "x1", "x2"))
    assert profile(kept).live == [36]
    (x2_only,) = demands(replace(graph, outputs=("y", "x1")))
    assert x2_only.sharing({"x2"}, counted(graph)) == {"y": "x2"}
    size = {"a": 10, "b": 9, "x": 12, "y": 12}
    both = Demand(("x", "y"), ("a", "b"), 0, frozenset({("a", "x"), ("a", "y"), ("b", "x")}), frozenset())
    assert both.sharing({"x", "y"}, size) == {"a": "y", "b": "x"}  # the first choice for a leaves none for b
    assert both.sharing({"x"}, size) == {"a": "x"}
    twice = replace(both, may=frozenset({("a", "x"), ("b", "x")}))
    assert twice.sharing({"x", "y"}, size) == {"a": "x"}


@mark.rules("MEM-S3")
def test_who_may_share_is_legal_counted_and_no_larger():
    graph = plan(session(FULL).graph).graph
    for node, asked in zip(graph.nodes, demands(graph), strict=True):
        assert asked.must == {(r, x) for x, r in graph.updates.items() if r in node.results}
        for r, x in asked.may:
            assert x in asked.reads
            assert graph[r].nbytes <= graph[x].nbytes
    functions = {node.function for node, asked in zip(graph.nodes, demands(graph), strict=True) if asked.may}
    assert functions > {"composite.rows", "composite.channels", "bias_step.update"}
    assert all(d.may == frozenset() and d.must for d in demands(graph, in_place=False) if d.must)


@st.composite
def sharings(draw):
    """A demand of up to four results and operands, which of these end, and sizes."""
    reads, writes = (tuple(f"{c}{i}" for i in range(draw(st.integers(0, 4)))) for c in "xr")
    size = {name: draw(st.integers(1, 9)) for name in (*reads, *writes)}
    may = {(r, x) for r in writes for x in reads if size[r] <= size[x] and draw(st.booleans())}
    must = set()
    if reads and writes and draw(st.booleans()):
        must = {(writes[0], reads[0])}
        size[writes[0]] = size[reads[0]]
        may -= {(writes[0], x) for x in reads if size[writes[0]] > size[x]}
    ending = {x for x in reads if draw(st.integers(0, 3))}
    return Demand(reads, writes, 0, frozenset(may), frozenset(must)), ending, size


@mark.rules("MEM-S3")
@settings(max_examples=6 * settings.default.max_examples)
@given(sharings())
def test_as_many_bytes_share_as_can(case):
    demand, ending, size = case
    found = demand.sharing(ending, size)
    assert len(set(found.values())) == len(found)
    assert set(found.values()) <= ending
    assert set(found.items()) <= demand.may | demand.must
    assert {(r, x) for r, x in demand.must if x in ending} <= set(found.items())
    assert sum(size[r] for r in found) == best_sharing(demand, ending, size)


# --- order ---------------------------------------------------------------------------------------------------------


def two_branches(b):
    """Of 64 bytes: 48, then 32 of these; and 32, then 16 of these."""
    x = source(b, "x", (1, 4, 4, 4))
    save(b, x, "a", 3)
    save(b, x, "b", 2)
    save(b, "a", "a.end", 2)
    save(b, "b", "b.end", 1)


@mark.rules("MEM-S5", "MEM-S8")
def test_order_of_two_branches():
    graph = built(two_branches, ("a.end", "b.end"))
    assert profile(graph, demands(graph, in_place=False)).live == [
        64 + 48,
        64 + 48 + 32,
        48 + 32 + 32,
        32 + 32 + 16,
    ]
    found = order(graph, in_place=False)
    assert [node.results[0] for node in found.graph.nodes] == ["b", "b.end", "a", "a.end"]
    assert profile(found.graph, demands(found.graph, in_place=False)).live == [
        64 + 32,
        64 + 32 + 16,
        64 + 16 + 48,
        16 + 48 + 32,
    ]
    assert (found.peak, found.bound, found.is_best) == (128, 128, True)
    assert bound_of_any_order(graph, demands(graph, in_place=False)) == 64 + 48  # at a, whatever the order
    assert profile(graph).live == [64 + 48, 64 + 48, 48 + 32, 32 + 32]  # b lies on x, and each end on its branch
    assert order(graph).peak == order(graph).bound == 64 + 32  # b, b.end on it, a on x
    assert bound_of_any_order(graph, demands(graph)) == 64  # at a, and at b, which may lie on x if it comes later


@mark.rules("MEM-S5", "MEM-C1")
def test_update_that_stands_before_a_reader_of_the_old_value():
    """Legal as a graph; no order for a plan, whoever looks for one and for how long."""
    graph = session(FULL).graph
    update = graph.producers()["block.expand.w.new"]
    reader = graph.producers()["stem.y.grad.2"]
    nodes = [node for node in graph.nodes if node is not update]
    nodes.insert(nodes.index(reader), update)
    early = replace(graph, nodes=tuple(nodes))
    for states in (0, 1, 20_000):
        found = order(early, states=states).graph.nodes
        assert found.index(reader) < found.index(update)
    with pytest.raises(ConstraintError, match=r"MEM-C1: block.expand.w.new lies at \d+ and block.expand.w, .* last"):
        plan(early, {*CHOICES} - {"in-place"})
    plan(early, {*CHOICES} - {"in-place", "reorder"})


@mark.rules("MEM-S6", "MEM-S5")
def test_update_follows_its_gradient_at_once():
    """What the engine's paper calls reordering: the gradients of few parameters live at once, not of all."""

    def most_at_once(graph):
        life, made = lives(graph), graph.producers()
        gradients = [life[made[new].inputs[1]] for new in graph.updates.values()]
        return max(sum(g.first <= time <= g.last for g in gradients) for time in range(len(graph.nodes)))

    graph = session(FULL).graph
    assert most_at_once(graph) == len(graph.updates) == 10
    found = order(graph).graph
    assert most_at_once(found) <= 3
    at = {name: i for i, node in enumerate(found.nodes) for name in node.results}
    for old, new in graph.updates.items():
        if graph[old].role == "bias":  # which nothing else waits to read
            assert at[new] == at[f"{old}.grad"] + 1


# --- bounds --------------------------------------------------------------------------------------------------------


@mark.rules("MEM-S9")
def test_floor_of_a_step_by_hand():
    """At the start weights, biases, image, target, rate; after the loss what is saved instead of image and target."""
    graph = session().graph
    start = WEIGHTS + BIASES + 4 + MAP + 4
    between = WEIGHTS + BIASES + 4 + SAVED + MASKS + 3 * 4 + 3 + 4  # gradient of the logits; logits; loss
    assert floor(graph) == max(start, between) == between
    image = replace(graph["image"], type=Type((1, 30, 30, 1), "uint8"))
    assert floor(replace(graph, tensors={**graph.tensors, "image": image})) == start - MAP + 900
    assert floor(plan(graph).graph) == floor(graph)


def fork(scheme):
    """The stem's map of 80 bytes is read by two convolutions that end in one sum, and by a third."""
    n = Network("fork", {}, default=(0.1, 3))
    stem = n.conv("stem", n.image((1, 4, 4, 1), 1 / 16, 0), 5, kernel=3)
    y = n.add("sum", n.conv("left", stem, 3), n.conv("right", stem, 3))
    y = n.add("sums", y, n.conv("whole", stem, 3))
    return Session(with_parameters(n.loss(n.classifier(n.global_average(y), 3))), scheme).graph


@mark.rules("MEM-S9")
@mark.parametrize(
    ("weights", "there"),
    [
        ({"left": (0, 1)}, 16 * 2),
        ({"left": (0, 1), "right": (0, 4)}, 16 * (2 + 2)),
        ({"left": (0, 1, 2, 3), "right": (0, 1, 2)}, 16 * 5),  # the map that they are made of has less
        ({"left": (0, 1), "whole": 1.0}, 16 * 5),  # the map is there anyway
        ({"whole": 1.0}, 16 * 5),
        ({}, 0),
    ],
)
def test_slices_count_with_what_is_less_they_or_their_map(weights, there):
    graph = fork(Scheme("s", biases=0, weights=weights))
    parameters = sum(graph[name].nbytes for name in graph.updates)
    masks = sum(tensor.nbytes for tensor in graph.tensors.values() if tensor.role == "mask")
    classifier = 3 + 3 + 3 * 4 + 4  # its input, logits, their gradient, loss
    assert floor(graph) == parameters + 4 + masks + classifier + there
    least = order(graph)
    assert least.is_best and floor(graph) <= least.peak


# --- placement -----------------------------------------------------------------------------------------------------


@mark.rules("MEM-S7")
def test_block_that_shrinks_leaves_room_above():
    items = [
        Block({"a": 0, "b": 0}, (Span(0, 1, 8), Span(2, 3, 4)), 1),
        Block({"c": 0}, (Span(2, 3, 4),), 1),
        Block({"d": 0}, (Span(0, 0, 4),), 4),
    ]
    packing = Packing(items)
    found = packing.search(12, tries=0)
    assert packing.height(found) == 12
    assert packing.place([0, 1, 2]) == [0, 4, 8]
    assert packing.place([1, 0, 2]) == [4, 0, 0]  # a and b start where c ends, d where a begins
    assert packing.place([2, 1, 0]) == [4, 0, 0]


@mark.rules("MEM-S7", "INP-C1")
def test_offset_is_a_multiple_of_what_the_block_wants():
    packing = Packing([Block({"a": 0}, (Span(0, 0, 3),), 1), Block({"b": 0}, (Span(0, 0, 4),), 4)])
    assert packing.place([0, 1]) == [0, 4]
    assert packing.place([1, 0]) == [4, 0]
    assert packing.height(packing.search(7, tries=0)) == 7


@mark.rules("MEM-S7", "MEM-S3")
def test_what_always_lies_there_is_one_block():
    graph = plan(session().graph).graph
    asked = demands(graph)
    always = [block for block in blocks(graph, asked, profile(graph, asked).shares) if "lr" in block.names]
    (block,) = always
    assert set(block.names) == {"lr", *graph.updates, *graph.updates.values()}
    assert block.spans == (Span(0, len(graph.nodes) - 1, 4 + WEIGHTS + BIASES),)
    assert all(block.names[new] == block.names[old] for old, new in graph.updates.items())


@mark.rules("MEM-S12")
@mark.parametrize(("kept", "channels", "moves"), [(8, 4, True), (8, 2, False), (5, 3, False)])
def test_what_always_lies_there_goes_from_the_bottom_to_the_top(kept, channels, moves):
    """Unless it would take a byte more, since a float lies at a multiple of four."""

    def build(b):
        source(b, "kept", (kept,))
        source(b, "scale", (1,), "float32")
        save(b, source(b, "x", (1, 1, 1, channels)), "s", 1)
        save(b, "s", "t", 1)

    graph = built(build, ("kept", "scale", "t"))
    asked, end = demands(graph), 4 + kept
    placement = {"scale": 0, "kept": 4, "x": end, "s": end, "t": end}
    check_plan(graph, placement)
    moved = {"x": 0, "s": 0, "t": 0, "scale": channels, "kept": channels + 4}
    assert offsets.with_constants_on_top(graph, asked, placement) == (moved if moves else placement)
    assert offsets.with_constants_on_top(graph, asked, moved) == moved, "there it is"


@mark.rules("MEM-S7")
def test_every_block_is_placed_however_long_it_lives():
    """An input that no node reads, one that is kept, and one that ends at the first node."""

    def build(b):
        source(b, "unread", (1, 1, 1, 7))
        source(b, "kept", (1, 1, 1, 9))
        save(b, source(b, "x", (1, 2, 2, 3)), "s", 1)

    graph = built(build, ("s", "kept"))
    made = plan(graph)
    assert set(made.placement) == {"unread", "kept", "x", "s"}
    assert made.placement["s"] == made.placement["x"]
    assert arena.fault(made.graph, made.placement) is None
    assert (made.live_peak_bytes, made.arena_bytes) == (9 + 12, 7 + 9 + 12)


@mark.rules("MEM-S7", "MEM-S4")
@mark.parametrize("name", ["mcunet-5fps", "mobilenet-v2-w0.35"])
def test_place_in_a_few_tries_and_in_none(name):
    """More tries never make an arena larger; none has fewer bytes than live at once."""
    model = architecture(name).model()
    graph = Session(model, named(model, "49kb")).graph
    heights = [plan(graph, ["stream-backward"], tries=tries) for tries in (0, 30)]
    assert heights[0].arena_bytes >= heights[1].arena_bytes >= heights[1].live_peak_bytes
    assert heights[0].live_peak_bytes == heights[1].live_peak_bytes


@mark.rules("MEM-S7")
def test_results_that_need_not_share_are_easier_to_place():
    """Only what the peak wants, and what must, shares a place: the live peak stays."""
    graph = plan(session(FULL).graph).graph
    asked = demands(graph)
    found = offsets.needed(graph, asked)
    everything = profile(graph, asked)
    assert set(found.items()) < set(everything.shares.items())
    assert set(graph.updates.values()) <= set(found)
    fewer = [replace(d, may=frozenset((r, x) for r, x in d.may if found.get(r) == x)) for d in asked]
    assert profile(graph, fewer).peak == everything.peak
    assert arena.fault(graph, place(graph, fewer)) is None


# --- what a plan has to have ---------------------------------------------------------------------------------------


@mark.rules("MEM-C1")
def test_plan_that_lacks_something():
    made = plan(session().graph)
    check_plan(made.graph, made.placement)
    scratch = next(name for name in made.placement if name.startswith("scratch"))
    for name in ("block.depthwise.b", "image", scratch):
        less = {other: offset for other, offset in made.placement.items() if other != name}
        check_placement(made.graph, less)
        with pytest.raises(ConstraintError, match=f"MEM-C1: {name} has no place"):
            check_plan(made.graph, less)


@mark.rules("MEM-C1")
def test_next_value_that_lies_elsewhere():
    made = plan(session().graph)
    end = -(-made.arena_bytes // 4) * 4
    for old, new in made.graph.updates.items():
        for name in (old, new):
            moved = {**made.placement, name: end}
            check_placement(made.graph, moved)  # no overlap is wrong ...
            with pytest.raises(ConstraintError, match="MEM-C1") as caught:  # ... but the next step looks elsewhere
                check_plan(made.graph, moved)
            assert {old, new} <= set(caught.value.fault.replace(",", " ").split())


@mark.rules("MEM-S7", "MEM-C1")
def test_names_of_what_can_be_left_out():
    with pytest.raises(GoldgradError, match=r"no pass 'fusion' to leave out; use fuse-bias, .*, in-place"):
        plan(session().graph, ["fusion"])
    graph = session(FULL).graph
    for name in CHOICES:
        alone, others = plan(graph, {*CHOICES} - {name}), plan(graph, [name])
        assert (alone.passes, others.passes) == ((name,), tuple(n for n in CHOICES if n != name))
        for made in (alone, others):
            found = {node.function for node in streams.composites(made.graph)}
            fused = "fuse" in made.passes and "fuse-bias" not in made.passes  # whose bias_step is no composite
            assert [f"composite.{kind}" in found for kind in ("rows", "whole")] == [
                "stream-forward" in made.passes,
                fused,
            ]
            in_place = set(made.profile.shares.items()) - {(new, old) for old, new in graph.updates.items()}
            assert bool(in_place) == ("in-place" in made.passes)
        assert others.live_peak_bytes >= plan(graph).live_peak_bytes
    assert plan(graph, CHOICES).graph == graph


# --- what bytes are for --------------------------------------------------------------------------------------------


@mark.rules("MEM-S10")
def test_parts_at_the_nodes_of_a_step_by_hand():
    made = plan(session().graph, CHOICES)
    at = {name: i for i, node in enumerate(made.graph.nodes) for name in node.results}
    always = {"trained weights": WEIGHTS, "trained biases": BIASES}
    assert nonzero(made, at["x"]) == always | {"image": MAP, "activations": MAP, "scalars": 4 + 4}
    assert nonzero(made, at["loss"]) == always | {
        "saved": SAVED,
        "masks": MASKS,
        "gradients": 3 * 4,
        "activations": 3,  # logits
        "scalars": 4 + 4 + 4,  # rate, target, loss
    }
    last = made.graph.nodes[-1]
    assert last.results == ("classifier.b.new",)
    new = sum(made.graph[x].nbytes for x in made.graph.updates if x != "classifier.b" and made.graph[x].role == "bias")
    assert new == BIASES - 12
    assert nonzero(made, len(made.graph.nodes) - 1) == always | {"gradients": 12, "activations": 3, "scalars": 4 + 4}


def nonzero(made, time):
    return {part: nbytes for part, nbytes in made.split_at(time).items() if nbytes}


@mark.rules("MEM-S10", "MEM-S4")
@mark.parametrize("optimizer", ["sgd", "master"])
@mark.parametrize("without", [(), ("in-place", "reorder"), CHOICES], ids=str)
def test_parts_sum_to_the_live_bytes(without, optimizer):
    made = plan(session(FULL, optimizer).graph, without)
    for time, nbytes in enumerate(made.profile.live):
        split = made.split_at(time)
        assert tuple(split) == PARTS
        assert sum(split.values()) == nbytes == sum(entry.nbytes for entry in made.live_at(time))
        assert split["state"] == (4 * split["trained weights"] if optimizer == "master" else 0)
    assert made.split_at(made.peak_node) == made.split_at(made.profile.live.index(max(made.profile.live)))
    assert made.totals["trained weights"] == 5 * 9 + 7 * 5 + 9 * 7 + 5 * 7 + 3 * 5
    assert made.totals["trained biases"] == 4 * (5 + 7 + 7 + 5 + 3)
    assert made.totals["image"] == MAP


# --- damaged plans -------------------------------------------------------------------------------------------------


MOVES = 200 if DEEP else 10


def moves(made):
    """Every thing of a plan, and the plans with it alone at each offset where something else begins or ends."""
    size = placed_bytes(made.graph, made.placement)
    for name, offset in made.placement.items():
        edges = {o + extra for other, o in made.placement.items() for extra in (0, size[other], -size[name])}
        wanted = 4 if name not in made.graph.tensors or made.graph[name].type.dtype in ("int32", "float32") else 1
        placed = sorted({-(-edge // wanted) * wanted for edge in edges if edge >= 0} - {offset})
        chosen = placed[:: max(1, len(placed) // MOVES)]
        yield name, [{**made.placement, name: edge} for edge in chosen]


def goes_wrong(made, given_, placement, expected):
    """Whether what nobody checks shows: in the bits, or in a mask or list that no function takes."""
    try:
        return not streams.same(run_in_arena(made.graph, given_, placement, kernels.run, check=False), expected)
    except ConstraintError:
        return True


def is_refused(check, *arguments):
    try:
        check(*arguments)
    except ConstraintError:
        return True
    return False


@mark.rules("INP-S2", "INP-S3", "INP-S4", "INP-S5", "MEM-C1", "STREAM-F1")
@mark.parametrize("without", [(), ("stream-forward", "stream-backward"), CHOICES], ids=["none", "streams", "all"])
def test_plan_with_one_offset_moved(without):
    """For every tensor and scratch: refused just where some node would read what is overwritten, and then bits change.

    Not every such place changes bits (a mask's may hold a mask that is alike), but some does for each.
    """
    of = session()
    made, given_ = plan(of.graph, without), feeds(of)
    expected = run(of.graph, given_)
    assert arena.fault(made.graph, made.placement) is None
    for name, damaged in moves(made):
        faults = {id(placement): arena.fault(made.graph, placement) for placement in damaged}
        for placement in damaged:
            assert is_refused(check_placement, made.graph, placement) == (faults[id(placement)] is not None), (
                name,
                placement[name],
                faults[id(placement)],
            )
        assert any(goes_wrong(made, given_, p, expected) for p in damaged if faults[id(p)]), name
        harmless = [placement for placement in damaged if not faults[id(placement)]]
        for placement in harmless[:2]:
            assert streams.same(run_in_arena(made.graph, given_, placement), expected), (name, placement[name])


# --- the constraint solver -----------------------------------------------------------------------------------------


def without_a_solver(monkeypatch):
    monkeypatch.setattr(cp_sat.importlib.util, "find_spec", lambda name: None)


@mark.rules("MEM-S7")
def test_solver_that_is_not_installed(monkeypatch):
    without_a_solver(monkeypatch)
    graph = gap()
    with pytest.raises(GoldgradError, match=r"OR-tools is not installed; pip install 'goldgrad\[solver\]', or plan "):
        plan(graph, ["stream-backward"], tries=0, seconds=60)
    assert plan(graph, ["stream-backward"], tries=0).arena_bytes > 0


def gap():
    """A step whose arena greedy placement leaves larger than its live peak."""
    model = architecture("mobilenet-v2-w0.35").model()
    return Session(model, named(model, "49kb")).graph


@mark.rules("MEM-S7")
def test_solver_closes_a_gap_that_greedy_placement_leaves():
    if importlib.util.find_spec("ortools") is None:
        pytest.skip("OR-tools is not installed: pip install 'goldgrad[solver]'")
    greedy = plan(gap(), ["stream-backward"], tries=50)
    assert greedy.arena_bytes > greedy.live_peak_bytes
    solved = plan(gap(), ["stream-backward"], tries=50, seconds=60)
    assert solved.arena_bytes == solved.live_peak_bytes == greedy.live_peak_bytes
    assert arena.fault(solved.graph, solved.placement) is None


@mark.rules("MEM-S7")
def test_solver_respects_alignment_and_what_shrinks():
    if not cp_sat.is_available():
        pytest.skip("OR-tools is not installed: pip install 'goldgrad[solver]'")
    items = [
        Block({"a": 0, "b": 0}, (Span(0, 1, 8), Span(2, 3, 4)), 1),
        Block({"c": 0}, (Span(2, 3, 4),), 4),
        Block({"d": 0}, (Span(0, 0, 3),), 1),
        Block({"e": 0}, (Span(1, 1, 4),), 4),
    ]
    packing = Packing(items)
    found = cp_sat.solve(packing, packing.place([3, 2, 1, 0]), 12, 10.0)
    assert packing.height(found) == 12
    assert all(offset % item.align == 0 for offset, item in zip(found, items, strict=True))
    pairs = [(i, *pair) for i, meetings in enumerate(packing.meets) for pair in zip(*meetings, strict=True)]
    assert [(i, j) for i, j, _, _ in pairs] == [(0, 2), (0, 3), (0, 1), (1, 0), (2, 0), (3, 0)]
    for i, j, mine, theirs in pairs:
        assert found[i] + mine <= found[j] or found[j] + theirs <= found[i]
