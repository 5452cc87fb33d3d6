"""specs/training.md on a small residual network: graphs, differentiation, updates, sparse update."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import tiny_model
from goldgrad import autodiff, ops
from goldgrad.autodiff import differentiate
from goldgrad.errors import ConstraintError
from goldgrad.graph import Graph, Node, Tensor, validate
from goldgrad.interpreter import reference, run
from goldgrad.model_check import check_roles
from goldgrad.numerics import INT32_MAX, same_bits
from goldgrad.ops import Type
from goldgrad.optimizers import OPTIMIZERS
from goldgrad.sparse import FULL, Scheme
from goldgrad.training import Session

LAYERS = ("stem", "block.expand", "block.depthwise", "block.project", "classifier")
SPARSE = Scheme("s", biases=2, weights={"block.expand": (1, 3), "block.depthwise": 0.5}, head="bias")


def feeds(session, sample, rate=0.01):
    """All that the session's graph wants for one step."""
    scalars = {"lr": np.float32([rate]), "mu": np.float32([0.9]), "step": np.zeros(1, np.int32)}
    everything = {**session.constants, **session.parameters, **sample, **scalars}
    return {tensor.name: everything[tensor.name] for tensor in session.graph.outside()}


def seen(session, sample, *names):
    """Run a step of the session's graph and look at tensors inside it."""
    graph = replace(session.graph, outputs=(*session.graph.outputs, *names))
    return run(graph, feeds(session, sample))


def equal(a, b):
    return same_bits(np.asarray(a), np.asarray(b)).all()


# --- graphs --------------------------------------------------------------------------------------------------------


def damaged(graph: Graph, index: int = -1, **changes) -> Graph:
    nodes = list(graph.nodes)
    nodes[index] = replace(nodes[index], **changes)
    return replace(graph, nodes=tuple(nodes))


def renamed(graph):
    return replace(graph, tensors={**graph.tensors, "x": replace(graph["x"], name="other")})


def unknown_role(graph):
    return replace(graph, tensors={**graph.tensors, "x": replace(graph["x"], role="spare")})


def wrong_type(graph):
    wrong = Tensor("pool.y", Type((1, 1, 1, 6), "int8"), "activation", 0.1, 3)
    return replace(graph, tensors={**graph.tensors, "pool.y": wrong})


def next_value_of_another_type(graph):
    return replace(graph, updates={"stem.w": "stem.y"})


FAULTS = [
    pytest.param(renamed, "TRAIN-C1", "other", marks=pytest.mark.rules("TRAIN-C1")),
    pytest.param(unknown_role, "TRAIN-C1", "spare", marks=pytest.mark.rules("TRAIN-C1")),
    pytest.param(lambda g: damaged(g, function="no.such"), "TRAIN-C2", "no.such", marks=pytest.mark.rules("TRAIN-C2")),
    pytest.param(lambda g: damaged(g, inputs=("pool.y",)), "TRAIN-C2", "node 8", marks=pytest.mark.rules("TRAIN-C2")),
    pytest.param(wrong_type, "TRAIN-C2", "pool.y", marks=pytest.mark.rules("TRAIN-C2")),
    pytest.param(
        lambda g: damaged(g, 1, inputs=("stem.y", *g.nodes[1].inputs[1:])),
        "TRAIN-C3",
        "stem.y",
        marks=pytest.mark.rules("TRAIN-C3"),
    ),
    pytest.param(
        lambda g: damaged(g, 2, outputs=("stem.y", "stem.mask")),
        ("TRAIN-C2", "TRAIN-C3"),
        "stem.y",
        marks=pytest.mark.rules("TRAIN-C3"),
    ),
    pytest.param(
        lambda g: replace(g, outputs=("nothing",)), "TRAIN-C4", "nothing", marks=pytest.mark.rules("TRAIN-C4")
    ),
    pytest.param(next_value_of_another_type, "TRAIN-C4", "stem.w", marks=pytest.mark.rules("TRAIN-C4")),
]


@pytest.mark.parametrize(("damage", "rule", "named"), FAULTS)
def test_fault_in_a_graph(damage, rule, named):
    graph = tiny_model.graph()
    assert validate(graph) is graph
    with pytest.raises(ConstraintError) as caught:
        validate(damage(graph))
    assert caught.value.rule in rule
    assert named in str(caught.value)


@pytest.mark.rules("TRAIN-C2")
def test_constraint_of_a_function_is_reported_with_its_node():
    graph = tiny_model.graph()
    attributes = {**graph.nodes[1].attributes, "lo": 5, "hi": 4}
    with pytest.raises(ConstraintError, match=r"CONV-C4: node 1 \(conv2d.forward\)"):
        validate(damaged(graph, 1, attributes=attributes))


@pytest.mark.rules("TRAIN-C5", "TRAIN-S13")
@pytest.mark.parametrize("layer", ["stem", "block.depthwise", "classifier"])
def test_a_weight_is_split_after_differentiation(layer):
    graph = tiny_model.graph()
    w = graph[f"{layer}.w"].type
    parts = (
        Tensor("part", replace(w, shape=(*w.shape[:-1], 1)), "weight"),
        Tensor("list", Type((1,), "int32"), "constant"),
    )
    index = next(i for i, node in enumerate(graph.nodes) if f"{layer}.w" in node.operands)
    nodes = damaged(graph, index, inputs=(*graph.nodes[index].inputs, "part", "list")).nodes
    split = validate(graph.with_nodes(nodes, parts))
    with pytest.raises(ConstraintError, match=f"TRAIN-C5: {layer}.w is split already; differentiate the whole weight"):
        differentiate(split, "loss")
    with pytest.raises(ConstraintError, match=rf"MODEL-C1: node {index} \(.*\) has a split weight; give the whole"):
        check_roles(split)


@pytest.mark.rules("TRAIN-C5")
def test_function_without_a_vjp_rule(monkeypatch):
    monkeypatch.delitem(autodiff.VJP_RULES, "add.forward")
    with pytest.raises(ConstraintError, match=r"TRAIN-C5: add\.forward has no vjp rule"):
        differentiate(tiny_model.graph(), "loss")


@pytest.mark.rules("TRAIN-I1")
def test_feeds_are_complete_and_of_their_type():
    session = Session(tiny_model.model(), FULL)
    given = feeds(session, tiny_model.sample())
    with pytest.raises(ConstraintError, match="TRAIN-I1: image is not fed; feed uint8"):
        run(session.graph, {name: array for name, array in given.items() if name != "image"})
    with pytest.raises(ConstraintError, match=r"TRAIN-I1: image is fed int8\[1, 4, 4, 1\]; feed uint8"):
        run(session.graph, {**given, "image": given["image"].astype(np.int8)})


@pytest.mark.rules("TRAIN-I2")
def test_provider_gives_the_declared_types():
    session = Session(tiny_model.model(), FULL)

    def provider(function, *arrays, **attributes):
        results = reference(function, *arrays, **attributes)
        return (results[0].astype(np.float64),) if function == "add.vjp_x" else results

    with pytest.raises(ConstraintError, match=r"TRAIN-I2: add\.vjp_x gives float64"):
        run(session.graph, feeds(session, tiny_model.sample()), provider)


# --- backward ------------------------------------------------------------------------------------------------------


@pytest.mark.rules("TRAIN-S1", "TRAIN-S2", "TRAIN-S3")
def test_gradient_of_a_tensor_with_two_readers_is_one_chain_from_the_last_reader():
    session = Session(tiny_model.model(), FULL)
    names = ("block.add.y.grad", "block.add.mask", "block.depthwise.mask", "block.depthwise.y.grad")
    names += ("block.expand.mask", "block.expand.y.grad", "stem.y.grad.2")
    t = {**feeds(session, tiny_model.sample()), **seen(session, tiny_model.sample(), *names)}
    skip = ops.add.vjp_x(t["block.add.y.grad"], t["block.add.mask"], t["block.add.m1"])
    g = ops.mask_scale.forward(t["block.expand.y.grad"], t["block.expand.mask"], t["block.expand.m"])
    both = ops.conv2d.vjp_x(g, t["block.expand.w"], skip, in_hw=(4, 4))
    assert equal(t["stem.y.grad.2"], both)
    lost = ops.conv2d.vjp_x(g, t["block.expand.w"], in_hw=(4, 4))
    assert not equal(both, lost)


@pytest.mark.rules("TRAIN-S2")
def test_node_that_reads_a_tensor_twice_contributes_twice():
    n = tiny_model.Network("twice", {}, default=(0.1, 3))
    x = n.conv("stem", n.image((1, 4, 4, 1), 1 / 16, 0), 5)
    graph = differentiate(n.loss(n.classifier(n.global_average(n.add("double", x, x)), 3)), "loss")
    first, second = (node for node in graph.nodes if node.function == "add.vjp_x")
    assert (first.operands[2], first.operand("dx0")) == ("double.m1", None)
    assert (second.operands[2], second.operand("dx0")) == ("double.m2", first.results[0])


@pytest.mark.rules("TRAIN-S1")
def test_no_node_adds_gradients():
    graph = differentiate(tiny_model.graph(), "loss")
    starts = {"dx0", "dw0", "db0"}
    for node in graph.nodes:
        if node.function.endswith(".update") or "grad" not in " ".join(node.results):
            continue
        read = [
            name
            for name, tensor in zip(node.definition.inputs, node.inputs, strict=False)
            if tensor in graph.tensors and graph[tensor].role == "gradient" and name not in starts
        ]
        assert len(read) <= 1, f"{node.function} reads two gradients besides where its chain starts"


@pytest.mark.rules("TRAIN-S3")
def test_every_gradient_of_a_layer_reads_its_masked_and_scaled_gradient():
    session = Session(tiny_model.model(), FULL)
    for layer in LAYERS:
        (scaled,) = (node for node in session.graph.nodes if node.results == (f"{layer}.y.acc",))
        assert scaled.function == "mask_scale.forward"
        assert scaled.operands[1:] == (f"{layer}.mask", f"{layer}.m")
        readers = {node.results[0].rpartition(".")[0] for node in session.graph.users(f"{layer}.y.acc")}
        assert {f"{layer}.w", f"{layer}.b"} <= readers


@pytest.mark.rules("TRAIN-S4")
def test_nobody_reads_a_next_value_in_its_own_step():
    for optimizer in OPTIMIZERS:
        graph = differentiate(tiny_model.graph(), "loss", optimizer)
        next_values = set(graph.updates.values())
        assert all(next_values.isdisjoint(node.operands) for node in graph.nodes)


@pytest.mark.rules("TRAIN-S4", "TRAIN-S6")
def test_order_of_the_nodes_changes_no_bit():
    session = Session(tiny_model.model(), FULL)
    given = feeds(session, tiny_model.sample(), rate=0.5)
    expected = run(session.graph, given)
    assert not equal(expected["classifier.w.new"], given["classifier.w"])
    for seed in range(5):
        order = np.random.default_rng(seed)
        ready = {tensor.name for tensor in session.graph.outside()}
        waiting: list[Node] = list(session.graph.nodes)
        nodes = []
        while waiting:
            runnable = [node for node in waiting if ready.issuperset(node.operands)]
            updates = [node for node in runnable if node.function.endswith(".update")]
            node = (updates or runnable)[0] if seed == 0 else runnable[order.integers(len(runnable))]
            waiting.remove(node)
            nodes.append(node)
            ready.update(node.results)
        results = run(validate(replace(session.graph, nodes=tuple(nodes))), given)
        assert all(equal(expected[name], results[name]) for name in expected)


@pytest.mark.rules("TRAIN-S5")
def test_batch_continues_the_chain_over_its_samples():
    model = tiny_model.model()
    session = Session(replace(model, graph=tiny_model.graph(batch=3)), FULL)
    batch = tiny_model.sample(batch=3)
    names = ("block.project.y.acc", "block.depthwise.y", "block.project.w.grad", "block.project.b.grad")
    whole = seen(session, batch, *names)
    single = Session(model, FULL)
    dw = db = None
    for n in range(3):
        alone = seen(single, {name: array[n : n + 1] for name, array in batch.items()}, *names)
        assert equal(alone["block.project.y.acc"], whole["block.project.y.acc"][n : n + 1])
        g, x = alone["block.project.y.acc"], alone["block.depthwise.y"]
        dw = ops.conv2d.vjp_w(g, x, dw, x_zero=3, kernel=(1, 1))
        db = ops.conv2d.vjp_b(g, db)
    assert equal(whole["block.project.w.grad"], dw)
    assert equal(whole["block.project.b.grad"], db)


# --- updates -------------------------------------------------------------------------------------------------------


@pytest.mark.rules("TRAIN-S6")
def test_each_parameter_has_one_update():
    graph = differentiate(tiny_model.graph(), "loss")
    assert set(graph.updates) == {f"{layer}.{kind}" for layer in LAYERS for kind in "wb"}
    for parameter, new in graph.updates.items():
        (update,) = (node for node in graph.nodes if new in node.results)
        (also,) = (node for node in graph.users(parameter) if node.function.endswith(".update"))
        assert update is also
        assert update.operand("lr") == "lr"
        last = max(i for i, node in enumerate(graph.nodes) if node.results == (f"{parameter}.grad",))
        assert graph.nodes.index(update) > last


@pytest.mark.rules("TRAIN-S9")
def test_factors_of_quantization_aware_scaling():
    model = tiny_model.model()
    session = Session(model, FULL)
    for layer in LAYERS:
        s_w = model.scales[f"{layer}.w"].astype(np.float64)
        s_x = session.graph[model.layer_of(f"{layer}.w").inputs[0]].scale
        assert equal(session.constants[f"{layer}.w.q"], (1 / (s_w * s_w)).astype(np.float32))
        s_b = s_w * s_x
        assert equal(session.constants[f"{layer}.b.q"], (1 / (s_b * s_b)).astype(np.float32))
    without = Session(model, FULL, qas=False)
    assert without.graph == session.graph
    for layer in LAYERS:
        assert (without.constants[f"{layer}.w.q"] == 1).all()
        assert (without.constants[f"{layer}.b.q"] == 1).all()


@pytest.mark.rules("TRAIN-S10")
@pytest.mark.parametrize(
    ("layer", "products"),
    [("stem", 9), ("block.expand", 5), ("block.depthwise", 9), ("block.project", 7), ("classifier", 5)],
)
def test_limit_of_a_bias(layer, products):
    session = Session(tiny_model.model(), FULL)
    x_zero = session.model.layer_of(f"{layer}.w").attributes["x_zero"]
    limit = 2**31 - 1 - 127 * max(127 - x_zero, 128 + x_zero) * products
    assert session.constants[f"{layer}.b.limit"].tolist() == [limit]


@pytest.mark.rules("TRAIN-S11")
@pytest.mark.parametrize("folded", [False, True])
def test_channel_beyond_its_limit_never_trains(folded):
    model = tiny_model.model()
    limit = 2**31 - 1 - 127 * 131 * 9
    bias = model.arrays["stem.b"].copy()
    bias[2] = INT32_MAX if folded else limit + 1
    session = Session(replace(model, arrays={**model.arrays, "stem.b": bias}), FULL)
    before = {name: session.parameters[name].copy() for name in ("stem.w", "stem.b")}
    assert (before["stem.w"][2] == 0).all() == folded
    assert session.constants["stem.w.q"][2] == session.constants["stem.b.q"][2] == 0
    assert session.constants["stem.b.limit"].tolist() == [limit]
    for seed in range(3):
        session.step(tiny_model.sample(seed), 1.0)
    assert equal(session.parameters["stem.w"][2], before["stem.w"][2])
    assert session.parameters["stem.b"][2] == bias[2]
    assert not equal(session.parameters["stem.w"], before["stem.w"])


UPDATES = {
    "sgd": "sgd_update_weight.update",
    "master": "sgd_update_weight_master.update",
    "momentum": "sgd_update_weight_momentum.update",
    "stochastic": "sgd_update_weight_stochastic.update",
}


@pytest.mark.rules("TRAIN-S12")
@pytest.mark.parametrize("optimizer", UPDATES)
def test_optimizers_by_name(optimizer):
    model = tiny_model.model()
    session = Session(model, SPARSE, optimizer=optimizer, seed=2**31 - 1)
    functions = {node.function for node in session.graph.nodes if node.function.endswith(".update")}
    assert functions == {UPDATES[optimizer], "sgd_update_bias.update"}
    trained = {"block.expand": [1, 3], "block.depthwise": session.constants["block.depthwise.channels"]}
    states = {t.name: t for t in session.graph.outside() if t.role == "state"}
    kind = {"master": "master", "momentum": "velocity"}.get(optimizer)
    assert set(states) == ({f"{layer}.trained.{kind}" for layer in trained} if kind else set())
    for name in states:
        layer = name.removesuffix(f".trained.{kind}")
        part = model.arrays[f"{layer}.w"][..., trained[layer]].astype(np.float32)
        assert equal(session.parameters[name], part if optimizer == "master" else np.zeros_like(part))
        assert name in session.graph.updates
    if optimizer == "stochastic":
        assert session.constants["block.expand.trained.seed"].tolist() == [2**31 - 1]
        assert session.constants["block.depthwise.trained.seed"].tolist() == [0]
    before = session.steps
    session.step(tiny_model.sample(), 0.1)
    assert session.steps == before + 1


@pytest.mark.rules("TRAIN-S12")
def test_first_step_of_master_and_momentum_is_that_of_sgd():
    sessions = [Session(tiny_model.model(), FULL, optimizer=name, mu=0.5) for name in ("sgd", "master", "momentum")]
    for session in sessions:
        session.step(tiny_model.sample(), 0.1)
    for layer in LAYERS:
        for other in sessions[1:]:
            assert equal(sessions[0].parameters[f"{layer}.w"], other.parameters[f"{layer}.w"])
            assert equal(sessions[0].parameters[f"{layer}.b"], other.parameters[f"{layer}.b"])


# --- sparse update -------------------------------------------------------------------------------------------------


@pytest.mark.rules("TRAIN-S7")
@pytest.mark.parametrize("optimizer", UPDATES)
def test_sparse_step_is_the_full_step_on_what_trains_and_nothing_elsewhere(optimizer):
    model = tiny_model.model()
    full, sparse = (Session(model, scheme, optimizer=optimizer) for scheme in (FULL, SPARSE))
    before = {name: array.copy() for name, array in model.arrays.items()}
    if optimizer == "stochastic":  # a seed belongs to a weight's place among those that train
        for layer in ("block.expand", "block.depthwise"):
            full.constants[f"{layer}.w.seed"] = sparse.constants[f"{layer}.trained.seed"]
    for session in (full, sparse):
        session.step(tiny_model.sample(), 0.1)
    channels = {"block.expand.w": [1, 3], "block.depthwise.w": sparse.constants["block.depthwise.channels"]}
    whole = {"block.depthwise.b", "block.project.b", "classifier.b"}
    after = sparse.weights()
    for name in model.arrays:
        if name in whole:
            assert equal(after[name], full.parameters[name])
            assert not equal(after[name], before[name])
        else:
            expected = before[name].copy()
            chosen = channels.get(name, [])
            expected[..., chosen] = full.parameters[name][..., chosen]
            assert equal(after[name], expected)


@pytest.mark.rules("TRAIN-S8")
def test_nothing_is_kept_that_nobody_needs():
    graph = Session(tiny_model.model(), Scheme("head")).graph
    functions = {node.function for node in graph.nodes}
    assert not any(".vjp_x" in function for function in functions)
    masks = {name for node in graph.nodes for name in node.results if name.endswith(".mask")}
    assert masks == {"classifier.mask"}
    for scheme in (FULL, SPARSE):
        graph = Session(tiny_model.model(), scheme).graph
        read = {name for node in graph.nodes for name in node.operands}
        for node in graph.nodes:
            unread = set(node.results) - read - set(graph.kept)
            assert unread < set(node.results), f"nobody needs {node.function}"
            assert not any(
                node.result(name) in unread for name in node.definition.outputs if name in node.definition.optional
            )


@pytest.mark.rules("TRAIN-S8")
def test_only_the_chosen_channels_of_an_input_are_saved():
    graph = Session(tiny_model.model(), SPARSE).graph
    assert graph["block.expand.saved"].type == Type((1, 4, 4, 2), "int8")
    (gradient,) = (node for node in graph.nodes if node.results == ("block.expand.trained.grad",))
    assert gradient.operand("x") == "block.expand.saved"
    backward = [node for node in graph.nodes if "vjp" in node.function or node.function.endswith(".update")]
    assert not any("stem.y" in node.operands or "block.expand.y" in node.operands for node in backward)
