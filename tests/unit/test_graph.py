"""Validity of graphs, differentiation's refusals, dead code, feeds (specs/training.md), and graphs as text."""

from dataclasses import replace

import numpy as np
import pytest

from goldgrad import ConstraintError
from goldgrad.autodiff import differentiate
from goldgrad.graph import Builder, Graph, Node, Tensor, validate
from goldgrad.graph_text import parse_graph, print_graph
from goldgrad.interpreter import reference, run
from goldgrad.ops import Type
from goldgrad.optimizers import OPTIMIZERS
from goldgrad.passes.dce import eliminate_dead_code
from goldgrad.sparse import BIAS_ONLY, apply
from networks import small_graph, small_model

GRAPH = small_graph()
TRAINING = differentiate(GRAPH, "loss")


def with_tensor(graph: Graph, name: str, /, **changes: object) -> Graph:
    return replace(graph, tensors={**graph.tensors, name: replace(graph[name], **changes)})


def with_node(graph: Graph, index: int, **changes: object) -> Graph:
    nodes = list(graph.nodes)
    nodes[index] = replace(nodes[index], **changes)
    return replace(graph, nodes=tuple(nodes))


def attributes(index: int, **changes: object) -> Graph:
    given = {**GRAPH.nodes[index].attributes, **changes}
    return with_node(GRAPH, index, attributes={k: v for k, v in given.items() if v is not None})


def add_tensor(name: str, shape: tuple[int, ...] = (1,), dtype: str = "float32", role: str = "constant") -> Graph:
    return replace(GRAPH, tensors={**GRAPH.tensors, name: Tensor(name, Type(shape, dtype), role)})


STEM = GRAPH.nodes[1]  # conv2d.forward
FAULTS = [
    ("TRAIN-C1", replace(GRAPH, name="two words"), "the graph is named 'two words'; use at most 100 letters"),
    ("TRAIN-C1", add_tensor("a b"), "a tensor is named 'a b'; use at most 100 letters"),
    ("TRAIN-C1", add_tensor("x" * 101), "use at most 100 letters"),
    ("TRAIN-C1", add_tensor("_"), "a letter first"),
    ("TRAIN-C1", with_tensor(GRAPH, "stem.w", name="other"), "tensor 'other' is listed as stem.w; use its name"),
    ("TRAIN-C1", with_tensor(GRAPH, "stem.w", role="wight"), "tensor stem.w has the role 'wight'; use one of input"),
    ("TRAIN-C1", add_tensor("z", shape=(2, 0)), "tensor z has the type 'float32' (2, 0); give int8"),
    ("TRAIN-C1", add_tensor("z", shape=()), "tensor z has the type 'float32' (); give int8"),
    ("TRAIN-C1", add_tensor("z", shape=(True,)), "sizes of at least 1"),
    ("TRAIN-C1", add_tensor("z", dtype="float64"), "tensor z has the type 'float64' (1,); give int8, uint8"),
    ("TRAIN-C2", with_node(GRAPH, 1, function="conv3d.forward"), "node 1 ('conv3d.forward') is no known function"),
    (
        "TRAIN-C2",
        with_node(GRAPH, 1, inputs=STEM.inputs[:3]),
        "has 3 operands and 2 results; give x, w, b, m, trained?, channels? -> y, mask?",
    ),
    ("TRAIN-C2", with_node(GRAPH, 1, outputs=("stem.y",)), "has 4 operands and 1 results; give x, w, b, m, trained?, "),
    ("TRAIN-C2", with_node(GRAPH, 1, inputs=("x", "stem.w", None, "stem.m")), "node 1 (conv2d.forward) lacks b"),
    ("TRAIN-C2", with_node(GRAPH, 1, outputs=(None, "stem.mask")), "node 1 (conv2d.forward) lacks y"),
    ("TRAIN-C2", attributes(1, strides=(2, 2)), "has the attribute 'strides'; give x_zero, y_zero, lo, hi, stride"),
    ("TRAIN-C2", attributes(1, stride=2), "node 1 (conv2d.forward) has stride = 2; give 2 integers"),
    ("TRAIN-C2", attributes(1, stride=(2, 2, 2)), "has stride = (2, 2, 2); give 2 integers"),
    ("TRAIN-C2", attributes(1, lo=0.5), "has lo = 0.5; give an integer"),
    ("TRAIN-C2", attributes(1, lo=True), "has lo = True; give an integer"),
    ("TRAIN-C2", attributes(1, x_zero=None), "node 1 (conv2d.forward) lacks x_zero; give an integer"),
    ("TRAIN-C2", attributes(1, pad=(1, 1, 1, 2**31)), "has pad = (1, 1, 1, 2147483648); give 4 integers"),
    ("TRAIN-C2", with_tensor(GRAPH, "stem.y", type=Type((1, 3, 3, 5), "int8")), "gives int8[1, 3, 3, 4] for stem.y"),
    ("TRAIN-C3", with_node(GRAPH, 1, inputs=("x", "no.w", "stem.b", "stem.m")), "names 'no.w', which is no tensor"),
    ("TRAIN-C3", replace(GRAPH, nodes=GRAPH.nodes[1:]), "reads x, which nothing before it computes; declare it"),
    ("TRAIN-C3", replace(GRAPH, nodes=(*GRAPH.nodes[:2], STEM)), "node 2 (conv2d.forward) computes stem.y a second"),
    ("TRAIN-C3", with_node(GRAPH, 0, outputs=("stem.w",)), "node 0 (quantize_input.from_uint8) computes stem.w a"),
    ("TRAIN-C4", replace(GRAPH, outputs=("nothing",)), "output 'nothing' is no tensor; remove it"),
    ("TRAIN-C4", replace(GRAPH, outputs=("loss", "loss")), "output loss is listed twice; list it once"),
    ("TRAIN-C4", add_tensor("z", role="activation"), "z is computed by no node; remove it or add the node"),
    ("TRAIN-C4", replace(GRAPH, updates={"stem.w": "stem.y"}), "'stem.y' cannot be the next value of 'stem.w'"),
    ("TRAIN-C4", replace(TRAINING, updates={"stem.w": "stem.b.new"}), "'stem.b.new' cannot be the next value of"),
    ("TRAIN-C4", replace(TRAINING, updates={"lr": "stem.b.new"}), "update a weight, bias or state with a parameter"),
    ("TRAIN-C4", replace(TRAINING, updates={"none": "no"}), "'no' cannot be the next value of 'none'"),
    (
        "TRAIN-C4",
        replace(TRAINING, updates={"stem.b": "stem.b.new", "block.project.b": "stem.b.new"}),
        "one tensor is the next value of two parameters",
    ),
    (
        "CONV-C2",
        with_tensor(GRAPH, "stem.w", type=Type((4, 3, 3, 2), "int8")),
        "node 1 (conv2d.forward): w has 2 input",
    ),
    ("CONV-C4", attributes(1, lo=-129), "node 1 (conv2d.forward): lo is -129; give a code from -128 to 127"),
]


@pytest.mark.rules("TRAIN-C1", "TRAIN-C2", "TRAIN-C3", "TRAIN-C4")
@pytest.mark.parametrize(("rule", "graph", "message"), FAULTS, ids=[fault[2][:40] for fault in FAULTS])
def test_each_fault_is_named_with_its_remedy(rule, graph, message):
    with pytest.raises(ConstraintError) as caught:
        validate(graph)
    assert caught.value.rule == rule
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.rules("TRAIN-C1", "TRAIN-C2", "TRAIN-C3", "TRAIN-C4")
def test_good_graphs_are_given_back():
    assert validate(GRAPH) is GRAPH
    assert validate(TRAINING) is TRAINING


@pytest.mark.rules("TRAIN-C4")
def test_the_loss_must_be_an_output():
    for name in ("los", "classifier.y"):
        with pytest.raises(
            ConstraintError, match=f"^TRAIN-C4: {name} is no loss that small gives; name an output of a"
        ):
            differentiate(GRAPH, name)


@pytest.mark.rules("TRAIN-C5")
def test_a_function_without_a_vjp_rule_is_named():
    b = Builder()
    x = b.outside("x", Type((1, 2, 2, 3), "int8"), "input", 0.1, 0)
    operands = [
        b.outside("c.w", Type((4, 1, 1, 3), "int8"), "weight"),
        b.outside("c.b", Type((4,), "int32"), "bias"),
        b.outside("c.m", Type((4,), "float32"), "constant"),
    ]
    b.emit("conv2d.forward", (x, *operands), ("y", "mask"), ("activation", "mask"), (0.1, 0), x_zero=0, y_zero=0)
    b.emit("save_channels.forward", ("y", b.outside("k", Type((2,), "int32"), "constant")), ("loss",), ("loss",))
    with pytest.raises(ConstraintError, match=r"TRAIN-C5: save_channels.forward has no vjp rule; add one to"):
        differentiate(b.build(("loss",)), "loss")


@pytest.mark.rules("TRAIN-C3")
def test_a_builder_refuses_a_second_tensor_of_one_name():
    b = Builder(GRAPH)
    with pytest.raises(ConstraintError, match=r"TRAIN-C3: two tensors are named stem.w; give each a name of its own"):
        b.outside("stem.w", Type((1,), "int8"), "weight")
    with pytest.raises(ConstraintError, match=r"TRAIN-C3: two tensors are named stem.y"):
        b.emit("quantize_input.from_uint8", ("image", "image.m"), ("stem.y",), ("activation",), x_zero=0, y_zero=0)


def test_a_layer_without_a_mask_is_named_when_it_is_to_train():
    blind = with_node(GRAPH, 2, outputs=("block.expand.y", None))
    blind = blind.with_nodes(blind.nodes)
    with pytest.raises(ConstraintError, match=r"block\.expand\.y\.acc = mask_scale\.forward: mask is None; give uint8"):
        differentiate(validate(blind), "loss")


@pytest.mark.rules("TRAIN-S8")
def test_dead_code_is_removed_and_nothing_else():
    assert eliminate_dead_code(TRAINING) == TRAINING
    frozen = eliminate_dead_code(replace(TRAINING, updates={}))
    masks = {"stem.mask", "block.add.mask", "classifier.mask"}
    assert [node.function for node in frozen.nodes] == [node.function for node in GRAPH.nodes]
    assert masks <= set(GRAPH.tensors)
    assert masks.isdisjoint(frozen.tensors)
    assert frozen.nodes[1].outputs == ("stem.y", None)
    assert not {name for name in frozen.tensors if name.endswith((".q", ".new", ".acc")) or name == "lr"}
    head = eliminate_dead_code(replace(TRAINING, updates={"classifier.b": "classifier.b.new"}))
    assert [node.function for node in head.nodes[len(GRAPH.nodes) :]] == [
        "mask_scale.forward",
        "bias_gradient.forward",
        "sgd_update_bias.update",
    ]


def feeds():
    given = {tensor.name: np.zeros(tensor.type.shape, tensor.type.dtype) for tensor in GRAPH.outside()}
    return {**given, "loss.s": np.float32([1]), "pool.m": np.float32([1])}


@pytest.mark.rules("TRAIN-I1")
def test_what_is_not_fed_or_has_another_type_is_named():
    missing = feeds()
    del missing["stem.w"]
    with pytest.raises(ConstraintError, match=r"^TRAIN-I1: stem.w is not fed; feed int8\[4, 3, 3, 1\]$"):
        run(GRAPH, missing)
    with pytest.raises(ConstraintError, match=r"^TRAIN-I1: target is fed int64\[1\]; feed int32\[1\]$"):
        run(GRAPH, {**feeds(), "target": np.zeros(1, np.int64)})
    with pytest.raises(ConstraintError, match=r"^TRAIN-I1: image is fed uint8\[6, 5\]; feed uint8\[1, 6, 5, 1\]$"):
        run(GRAPH, {**feeds(), "image": np.zeros((6, 5), np.uint8)})


@pytest.mark.rules("TRAIN-I2")
def test_a_providers_result_of_another_type_is_refused():
    def wide(function, *operands, **attributes):
        results = reference(function, *operands, **attributes)
        return (results[0].astype(np.int16), *results[1:]) if function == "add.forward" else results

    with pytest.raises(ConstraintError, match=r"TRAIN-I2: .*add.forward gives int16\[1, 3, 3, 4\] for block.add.y"):
        run(GRAPH, feeds(), wide)
    run(GRAPH, feeds())


# --- graphs as text ----------------------------------------------------------------------------------------------

GRAPHS = [GRAPH, *(differentiate(GRAPH, "loss", optimizer) for optimizer in OPTIMIZERS)]


@pytest.mark.rules("MODEL-S6")
@pytest.mark.parametrize("graph", GRAPHS, ids=["forward", *OPTIMIZERS])
def test_parsing_the_text_gives_the_graph(graph):
    text = print_graph(graph)
    assert parse_graph(text) == graph
    assert print_graph(parse_graph(text)) == text == str(graph)
    assert list(parse_graph(text).outside()) == list(graph.outside())


@pytest.mark.rules("MODEL-S6")
def test_absent_operands_and_results():
    sparse, _ = apply(small_model(), TRAINING, BIAS_ONLY)
    nodes = [replace(n, inputs=(*n.inputs, None)) if n.function == "bias_gradient.forward" else n for n in sparse.nodes]
    graph = validate(replace(sparse, nodes=tuple(nodes)))
    assert "bias_gradient.forward(stem.y.acc, _)" in str(graph)
    assert parse_graph(str(graph)) == graph


@pytest.mark.rules("MODEL-S6")
def test_blank_space_around_signs_means_nothing():
    loose = str(GRAPH).replace(" = ", "   =   ").replace(" : ", "  : ").replace("\n", "\n\n")
    assert parse_graph(loose) == GRAPH


TINY = """graph tiny
x : int8[1, 2] input scale=0.5 zero=3
y = save_channels.forward(x, k) lo=1 pad=(1, 2) : int8[1, 1] saved
outputs y
update w <- w.new
"""


def test_the_text_can_be_written_by_hand():
    graph = parse_graph(TINY)
    assert graph.tensors == {
        "x": Tensor("x", Type((1, 2), "int8"), "input", 0.5, 3),
        "y": Tensor("y", Type((1, 1), "int8"), "saved"),
    }
    assert graph.nodes == (Node("save_channels.forward", ("x", "k"), ("y",), {"lo": 1, "pad": (1, 2)}),)
    assert (graph.name, graph.outputs, graph.updates) == ("tiny", ("y",), {"w": "w.new"})


@pytest.mark.rules("MODEL-I8")
@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("graph tiny", "graph two words", "line 1 has the name 'two words'; use at most 100"),
        ("graph tiny\n", "", "the text has no graph or no outputs line; give one of each"),
        ("outputs y\n", "", "the text has no graph or no outputs line"),
        ("outputs y", "outputs y\noutputs y", "line 5 is 'outputs y'; write one of: graph, NAME : TENSOR"),
        ("outputs y", "outputs y z", "line 4 has the name 'y z'"),
        ("outputs y", "outputs _", "line 4 has the name '_'"),
        ("x : int8", "_ : int8", "line 2 has the name '_'"),
        ("int8[1, 2]", "int8[1; 2]", "line 2 has the tensor 'int8[1; 2] input"),
        ("scale=0.5", "scale=half", "write it as: int8[1, 8] activation scale=0.5 zero=-3"),
        ("zero=3", "zero=" + "9" * 19, "line 2 has the tensor"),
        ("x : ", "x ", "line 2 is 'x int8[1, 2] input scale=0.5 zero=3'"),
        ("(x, k)", "(x k)", "line 3 has the name 'x k'"),
        ("save_channels.forward", "save channels", "line 3 has the call 'save channels(x, k)"),
        ("pad=(1, 2)", "lo=2", "line 3 has the attribute 'lo=2'; write each once"),
        ("pad=(1, 2)", "pad=[1]", "line 3 has the attribute 'pad=[1]'"),
        ("pad=(1, 2)", "pad=()", "line 3 has the attribute 'pad=()'"),
        (" : int8[1, 1] saved", "", "line 3 has the call"),
        ("saved\n", "saved, int8[1, 1] saved\n", "line 3 has 1 results and 2 types; give one type a result"),
        ("y = save", "x = save", "line 3 declares x a second time; give it a name of its own"),
        ("update w", "update w <- v\nupdate w", "line 6 updates w a second time; give each parameter one"),
        ("update w", "updat w", "line 5 is 'updat w <- w.new'"),
    ],
)
def test_each_fault_of_a_text_is_named(old, new, fault):
    assert old in TINY
    with pytest.raises(ConstraintError) as caught:
        parse_graph(TINY.replace(old, new, 1))
    assert caught.value.rule == "MODEL-I8"
    assert fault in str(caught.value)
    assert "\n" not in str(caught.value)
