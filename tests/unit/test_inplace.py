"""specs/inplace.md: which placements are legal, and that a legal one changes no bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import tiny_model
from goldgrad.errors import ConstraintError
from goldgrad.graph import Graph, Node, Tensor
from goldgrad.interpreter import POISON, reference, run, run_in_arena
from goldgrad.memory.liveness import lives
from goldgrad.memory.sharing import check_placement, legal_pairs
from goldgrad.numerics import same_bits
from goldgrad.ops import Type
from goldgrad.optimizers import OPTIMIZERS
from goldgrad.sparse import FULL, Scheme
from goldgrad.training import Session

SPARSE = Scheme("s", biases=2, weights={"block.expand": (1, 3), "block.depthwise": 0.5})


def plan(graph: Graph, share: bool = True, everything: bool = True) -> dict[str, int]:
    """Place tensors first fit; with ``share``, a result takes the place of an operand where it may."""
    life = lives(graph)
    offsets: dict[str, int] = {}
    names = sorted(graph.tensors, key=lambda name: life[name].first)
    for name in names:
        if not everything and graph[name].role == "constant":
            continue
        neighbours = [o for o in offsets if life[o].last >= life[name].first]
        node = graph.nodes[life[name].first] if life[name].first >= 0 else None
        if share and node is not None:
            for result, operand in sorted(legal_pairs(graph, node)):
                free = operand in offsets and life[operand].last == life[name].first
                taken = any(offsets[o] == offsets.get(operand) and o != operand for o in neighbours)
                if result == name and free and not taken and graph[name].nbytes <= graph[operand].nbytes:
                    offsets[name] = offsets[operand]
                    break
        if name in offsets:
            continue
        spans = sorted((offsets[o], offsets[o] + graph[o].nbytes) for o in neighbours)
        offset = 0
        for start, end in spans:
            if offset + graph[name].nbytes <= start:
                break
            offset = max(offset, -(-end // 4) * 4)
        offsets[name] = offset
    return offsets


def step(session: Session, rate: float = 0.1):
    """The session's graph and all it wants for a step."""
    scalars = {"lr": np.float32([rate]), "mu": np.float32([0.9]), "step": np.zeros(1, np.int32)}
    everything = {**session.constants, **session.parameters, **tiny_model.sample(), **scalars}
    return session.graph, {tensor.name: everything[tensor.name] for tensor in session.graph.outside()}


def same(a, b):
    return all(same_bits(a[name], b[name]).all() for name in a)


@pytest.mark.rules("INP-S1")
def test_lives():
    graph, _ = step(Session(tiny_model.model(), FULL))
    life, end = lives(graph), len(graph.nodes)
    at = {name: i for i, node in enumerate(graph.nodes) for name in node.results}
    assert (life["image"].first, life["image"].last) == (-1, at["x"])
    assert (life["stem.y"].first, life["stem.y"].last) == (at["stem.y"], at["block.expand.w.grad"])
    assert life["stem.w"].last == at["stem.w.new"]  # a parameter with a next value: to its last reader
    assert life["stem.w.new"].last == life["loss"].last == life["stem.w.q"].last == end
    frozen, _ = step(Session(tiny_model.model(), Scheme("head")))
    assert lives(frozen)["stem.w"].last == len(frozen.nodes)
    unread = replace(frozen, outputs=("loss",))
    life = lives(unread)
    for i, node in enumerate(unread.nodes):
        for name in node.results:
            if not unread.users(name) and name not in unread.kept:
                assert (life[name].first, life[name].last) == (i, i)


@pytest.mark.rules("INP-S6", "INP-S2", "INP-S3", "INP-S4")
@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("scheme", [FULL, SPARSE, Scheme("head")], ids=lambda scheme: scheme.name)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_legal_placement_gives_the_bits_of_separate_buffers(optimizer, scheme, share):
    graph, given = step(Session(tiny_model.model(), scheme, optimizer=optimizer))
    placement = plan(graph, share)
    check_placement(graph, placement)
    if share:
        for parameter, new in graph.updates.items():
            assert placement[new] == placement[parameter], "updates are in place"
    assert same(run(graph, given), run_in_arena(graph, given, placement))


@pytest.mark.rules("INP-S5")
def test_dead_memory_holds_poison_at_every_node():
    graph, given = step(Session(tiny_model.model(), SPARSE))
    placement, life = plan(graph), lives(graph)
    size = max(offset + graph[name].nbytes for name, offset in placement.items())
    times = iter(range(len(graph.nodes)))

    def provider(function, *arrays, **attributes):
        time = next(times)
        arena = next(array for array in arrays if array is not None)
        while arena.base is not None:
            arena = arena.base
        dead = np.ones(size, bool)
        for name, offset in placement.items():
            if life[name].first < time <= life[name].last:
                dead[offset : offset + graph[name].nbytes] = False
        held = np.frombuffer(arena, np.uint8)
        assert held.size == size
        assert (held[dead] == POISON).all(), f"before node {time}"
        return reference(function, *arrays, **attributes)

    run_in_arena(graph, given, placement, provider)
    assert next(times, None) is None


@pytest.mark.rules("INP-S5")
def test_wrong_placement_changes_the_bits_if_nobody_checks():
    graph, given = step(Session(tiny_model.model(), FULL))
    placement = {**plan(graph)}
    placement["stem.y"] = placement["stem.w"]
    with pytest.raises(ConstraintError, match="INP-S2"):
        run_in_arena(graph, given, placement)
    assert not same(run(graph, given), run_in_arena(graph, given, placement, check=False))


def apart(graph):
    """Every tensor at a place of its own, a gap of 8 between them."""
    offsets, end = {}, 0
    for name, tensor in graph.tensors.items():
        offsets[name] = end
        end = (end + tensor.nbytes + 8 + 3) // 4 * 4
    return offsets


@pytest.mark.rules("INP-S2")
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("stem.w", "stem.m"),  # both from outside
        ("x", "stem.w"),
        ("stem.y", "block.expand.y"),  # read again by the addition
        ("stem.y", "stem.mask"),  # results of one node
        ("loss", "classifier.y"),
        ("stem.w", "stem.w.grad"),
    ],
)
def test_live_tensors_may_not_overlap(one, other):
    graph, _ = step(Session(tiny_model.model(), FULL))
    placement = apart(graph)
    check_placement(graph, placement)
    for shift in (0, graph[one].nbytes // 4 * 4 - 4):  # all of it, and its last bytes
        with pytest.raises(ConstraintError) as caught:
            check_placement(graph, {**placement, other: placement[one] + max(shift, 0)})
        assert caught.value.rule == "INP-S2"
        assert one in caught.value.fault
        assert other in caught.value.fault


@pytest.mark.rules("INP-S2")
def test_result_that_nobody_reads_still_needs_its_bytes():
    forward = tiny_model.graph()
    assert not forward.users("stem.mask")
    placement = apart(forward)
    with pytest.raises(ConstraintError, match="INP-S2"):
        check_placement(forward, {**placement, "stem.mask": placement["stem.y"]})


@pytest.mark.rules("INP-S3")
def test_result_takes_an_operands_place_only_where_the_table_says_so():
    forward = tiny_model.graph()  # without backward the expanded map dies at the depthwise convolution
    placement = apart(forward)
    with pytest.raises(ConstraintError) as caught:
        check_placement(forward, {**placement, "block.depthwise.y": placement["block.expand.y"]})
    assert caught.value.rule == "INP-S3"
    assert "depthwise_conv2d.forward" in caught.value.fault
    check_placement(forward, {**placement, "block.add.y": placement["block.project.y"]})


@pytest.mark.rules("INP-S3")
def test_update_in_place_comes_after_the_last_reader():
    graph, given = step(Session(tiny_model.model(), FULL))
    placement = {**apart(graph)}
    placement["block.expand.w.new"] = placement["block.expand.w"]
    check_placement(graph, placement)
    nodes = list(graph.nodes)
    update = next(node for node in nodes if "block.expand.w.new" in node.results)
    reader = next(node for node in nodes if node.results == ("stem.y.grad.2",))
    nodes.remove(update)
    nodes.insert(nodes.index(reader), update)
    early = replace(graph, nodes=tuple(nodes))
    assert same(run(graph, given), run(early, given))  # legal as a graph ...
    with pytest.raises(ConstraintError, match="INP-S2"):  # ... but not in place
        check_placement(early, placement)
    assert not same(run(graph, given), run_in_arena(early, given, placement, check=False))


@pytest.mark.rules("INP-S3")
def test_tensor_given_twice_must_be_allowed_for_both_operands():
    g = Tensor("g", Type((1, 2, 2, 3), "float32"), "input")
    w = Tensor("w", Type((3, 1, 1, 3), "int8"), "input")
    dx = Tensor("dx", g.type, "gradient")
    node = Node("conv2d.vjp_x", ("g", "w", "g"), ("dx",), {"in_hw": (2, 2)})
    graph = Graph("twice", {t.name: t for t in (g, w, dx)}, (node,), ("dx",))
    assert legal_pairs(graph, node) == set()
    with pytest.raises(ConstraintError, match="INP-S3"):
        check_placement(graph, {"g": 0, "w": 100, "dx": 0})
    other = replace(node, inputs=("h", "w", "g"))
    assert legal_pairs(graph, other) == {("dx", "g")}


@pytest.mark.rules("INP-S4")
@pytest.mark.parametrize("shift", [-4, 4])
def test_overlap_in_part_is_never_legal(shift):
    forward = tiny_model.graph()
    placement = apart(forward)
    with pytest.raises(ConstraintError) as caught:
        check_placement(forward, {**placement, "block.add.y": placement["block.project.y"] + shift})
    assert caught.value.rule == "INP-S4"


@pytest.mark.rules("INP-C1")
@pytest.mark.parametrize(("name", "offset"), [("stem.b", 2), ("stem.m", 1), ("lr", -4), ("stem.w", -1), ("no.such", 0)])
def test_offsets(name, offset):
    graph, _ = step(Session(tiny_model.model(), FULL))
    with pytest.raises(ConstraintError) as caught:
        check_placement(graph, {name: offset})
    assert caught.value.rule == "INP-C1"
    assert name in caught.value.fault
    check_placement(graph, {"stem.w": 1, "stem.mask": 4099})
