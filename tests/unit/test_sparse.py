"""Update schemes (specs/scheme.md) and what they leave of a training graph (TRAIN-S7)."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from goldgrad import ConstraintError, GoldgradError
from goldgrad.autodiff import differentiate
from goldgrad.graph import validate
from goldgrad.model import Model
from goldgrad.models._network import Network
from goldgrad.numerics import same_bits
from goldgrad.optimizers import OPTIMIZERS
from goldgrad.sparse import (
    BIAS_ONLY,
    FULL,
    HEAD,
    Scheme,
    Split,
    apply,
    channel_count,
    check_scheme,
    chosen_channels,
    first_k,
    largest_norm,
    load_scheme,
    parse_scheme,
    split_weights,
)
from goldgrad.training import Session
from networks import small_model, with_parameters

MODEL = small_model()
TRAINING = differentiate(MODEL.graph, "loss")
LAYERS = {name.removesuffix(".w"): MODEL.layer_of(name) for name in MODEL.scales}


def sample(seed=0):
    image = np.random.default_rng(seed).integers(0, 17, (1, 6, 5, 1)).astype(np.uint8)
    return {"image": image, "target": np.int32([seed % 3])}


# --- files -------------------------------------------------------------------------------------------------------


def scheme_file(folder: Path, content: str | bytes, name: str = "mine.toml") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_scheme_is_read(tmp_path):
    text = """
biases = 2
selector = "first-k"
head = "bias"
[weights]
stem = 1
"block.expand" = 0.25
"block.project" = [0, 3]
"block.depthwise" = { ratio = 0.5, axis = "channel" }
"""
    assert load_scheme(scheme_file(tmp_path, text)) == Scheme(
        "mine",
        2,
        {"stem": 1, "block.expand": 0.25, "block.project": (0, 3), "block.depthwise": 0.5},
        "first-k",
        "bias",
        {"block.depthwise": "channel"},
    )
    assert load_scheme(scheme_file(tmp_path, "")) == Scheme("mine", 0, {}, "largest-norm", "train")
    assert load_scheme(str(scheme_file(tmp_path, 'name = "x"\nbiases = "all"\nweights = "all"'))) == Scheme(
        "x", None, None
    )


@pytest.mark.rules("SCHEME-I1")
@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b'name = "\xff"', "byte 8 of mine.toml is not UTF-8"),
        ("biases = ", "mine.toml is no TOML ('"),
        ("biases = 1\nbiases = 2", "mine.toml is no TOML ('"),
        ("biases = " + "9" * 5000, "mine.toml is no TOML ('"),
        ("biases = " + "[" * 100_000, "mine.toml is nested too deep"),
        ("#" * 2**20 + "\n", "mine.toml is larger than 1048576 bytes"),
    ],
)
def test_unreadable_files(tmp_path, content, fault):
    with pytest.raises(ConstraintError) as caught:
        load_scheme(scheme_file(tmp_path, content))
    assert fault in str(caught.value)
    assert str(caught.value).endswith("; give a TOML file as specs/scheme.md says")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


@pytest.mark.rules("SCHEME-I1")
def test_files_that_are_not_there(tmp_path):
    for path in (tmp_path / "none.toml", tmp_path, tmp_path / "a" / "b.toml", tmp_path / "x\ny.toml"):
        with pytest.raises(ConstraintError, match=r"^SCHEME-I1: there is no file '.*'; give a TOML file as [^\n]*$"):
            load_scheme(path)


FAULTS = [
    ("SCHEME-I2", "bias = 1", "the scheme has the key 'bias'; use name, biases, weights, selector, head"),
    ("SCHEME-I2", "weights = 3", 'weights is 3; give a table from layers to ratios or channels, or "all"'),
    ("SCHEME-I2", "[weights]\nblock.expand = 0.5", "'block' has the key 'expand'; use axis, and ratio or channels; a"),
    ("SCHEME-I2", "[weights]\nstem = {}", "'stem' has the keys []; give either ratio or channels"),
    ("SCHEME-I2", "[weights]\nstem = { ratio = 1, channels = [0] }", "'stem' has the keys ['ratio', 'channels']"),
    ("SCHEME-I2", "[weights]\nstem = { channels = 0 }", "the channels of 'stem' are 0; give a list"),
    ("SCHEME-C1", "biases = -1", 'biases is -1; give a number of convolutions, counted from the last, or "all"'),
    ("SCHEME-C1", "biases = true", "biases is True; give a number"),
    ("SCHEME-C1", "biases = 1.0", "biases is 1.0; give a number"),
    ("SCHEME-C1", "name = 3", "name is 3; give a line of at most 100 characters"),
    ("SCHEME-C1", 'name = "a\\nb"', "name is 'a\\nb'; give a line"),
    ("SCHEME-C1", 'head = "body"', "head is 'body'; use one of train, bias, frozen"),
    ("SCHEME-C1", "head = [1]", "head is [1]; use one of train, bias, frozen"),
    ("SCHEME-C1", 'selector = "best"', "selector is 'best'; use one of first-k, largest-norm"),
    ("SCHEME-C2", "[weights]\nstem = 0", "the ratio of 'stem' is 0; give a number above 0 and at most 1, or a list"),
    ("SCHEME-C2", "[weights]\nstem = 1.0000001", "the ratio of 'stem' is 1.0000001; give a number above 0"),
    ("SCHEME-C2", "[weights]\nstem = -0.5", "the ratio of 'stem' is -0.5; give a number above 0"),
    ("SCHEME-C2", "[weights]\nstem = nan", "the ratio of 'stem' is nan; give a number above 0"),
    ("SCHEME-C2", "[weights]\nstem = inf", "the ratio of 'stem' is inf; give a number above 0"),
    ("SCHEME-C2", "[weights]\nstem = true", "the ratio of 'stem' is True; give a number above 0"),
    ("SCHEME-C2", '[weights]\nstem = "half"', "the ratio of 'stem' is 'half'; give a number above 0"),
    ("SCHEME-C2", "[weights]\nstem = 1979-05-27", "the ratio of 'stem' is datetime.date"),
    ("SCHEME-C2", "[weights]\nstem = 0x" + "f" * 9000, "the ratio of 'stem' is an integer of 36000 bits; give a"),
    ("SCHEME-C3", "[weights]\nstem = []", "the channels of 'stem' are []; give at least one, each once"),
    ("SCHEME-C3", "[weights]\nstem = [1, 0]", "the channels of 'stem' are [1, 0]; give at least one, each once"),
    ("SCHEME-C3", "[weights]\nstem = [0, 0]", "the channels of 'stem' are [0, 0]; give at least one, each once"),
    ("SCHEME-C3", "[weights]\nstem = [-1]", "the channels of 'stem' are [-1]; give at least one"),
    ("SCHEME-C3", "[weights]\nstem = [0.5]", "the channels of 'stem' are [0.5]; give at least one"),
    ("SCHEME-C3", "[weights]\nstem = [true]", "the channels of 'stem' are [True]; give at least one"),
    (
        "SCHEME-C3",
        "[weights]\nstem = [1]",
        "the channels of 'stem' are [1]; give at least one, each once, in ascending",
    ),
    ("SCHEME-C3", "[weights]\nstem = [99999999999999999999]", "the channels of 'stem' are [99999999999999999999]"),
    ("SCHEME-C4", "biases = 5", "scheme mine trains the biases of 5 convolutions; small has 4"),
    ("SCHEME-C4", "[weights]\nstm = 1", "scheme mine names the layer 'stm', which small does not have; it has stem"),
    ("SCHEME-C4", "[weights]\nclassifier = 1", "the layer 'classifier', which small does not have; it has "),
    ("SCHEME-C5", "[weights]\nstem = { ratio = 1, axis = 3 }", "'stem' is to be sliced along 3; slice along one of"),
    ("SCHEME-C5", '[weights]\nstem = { ratio = 1, axis = "output" }', "'stem' is to be sliced along 'output'; slice"),
    (
        "SCHEME-C5",
        '[weights]\nstem = { ratio = 1, axis = "channel" }',
        "'stem' is to be sliced along 'channel', and it is a conv2d; slice along 'input'",
    ),
    (
        "SCHEME-C5",
        '[weights]\n"block.depthwise" = { ratio = 1, axis = "input" }',
        "'block.depthwise' is to be sliced along 'input', and it is a depthwise_conv2d; slice along 'channel'",
    ),
]


@pytest.mark.rules("SCHEME-I2", "SCHEME-C1", "SCHEME-C2", "SCHEME-C3", "SCHEME-C4", "SCHEME-C5")
@pytest.mark.parametrize(("rule", "text", "message"), FAULTS, ids=[fault[1][-40:] for fault in FAULTS])
def test_each_fault_is_named_with_its_remedy(tmp_path, rule, text, message):
    path = scheme_file(tmp_path, text)
    with pytest.raises(ConstraintError) as caught:
        apply(MODEL, TRAINING, load_scheme(path))
    assert caught.value.rule == rule
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.rules("SCHEME-C2", "SCHEME-C3", "SCHEME-C5")
@pytest.mark.parametrize(
    "wrong",
    [{"weights": {"stem": 1.5}}, {"weights": {"stem": [0]}}, {"weights": {"stem": ()}}, {"axes": {"stem": "output"}}],
)
def test_a_scheme_made_in_python_is_checked_as_well(wrong):
    with pytest.raises(ConstraintError):
        Scheme("mine", **wrong)


@pytest.mark.rules("SCHEME-C5")
def test_an_axis_of_a_layer_that_has_no_ratio():
    with pytest.raises(ConstraintError, match="'none' is to be sliced along 'input', and it is no convolution; name a"):
        check_scheme(MODEL, Scheme("mine", axes={"none": "input"}))


@pytest.mark.rules("SCHEME-C5")
def test_a_layer_that_flattens_a_map_trains_in_full():
    n = Network("flat", {})
    x = n.conv("stem", n.image((1, 4, 4, 1), 1.0, 0), 2, kernel=3, stride=2)
    n._layer("fully_connected.forward", "hidden", x, n.builder.tensors[x].type.__class__((6, 8), "int8"), 6, relu=True)
    model = with_parameters(n.loss(n.classifier("hidden.y", 3)))
    training = differentiate(model.graph, "loss")
    apply(model, training, Scheme("mine", weights={"hidden": 1.0}))
    with pytest.raises(ConstraintError, match=r"SCHEME-C5: hidden flattens stem.y, a map, and has no axis to slice"):
        apply(model, training, Scheme("mine", weights={"hidden": 0.25}))


@pytest.mark.rules("SCHEME-C4")
def test_a_layer_that_has_no_part_in_the_loss():
    n = Network("branch", {})
    x = n.conv("stem", n.image((1, 4, 4, 1), 1.0, 0), 4)
    n.conv("aside", x, 4)
    model = with_parameters(n.loss(n.classifier(x, 3)))
    training = differentiate(model.graph, "loss")
    for choice in (1.0, 0.25):
        with pytest.raises(
            ConstraintError, match=r"SCHEME-C4: .* the layer aside, on which the loss does not depend; rem"
        ):
            apply(model, training, Scheme("mine", weights={"aside": choice}))
    assert not [name for name in apply(model, training, FULL)[0].updates if name.startswith("aside")]


# --- choosing channels -------------------------------------------------------------------------------------------


@pytest.mark.rules("SCHEME-S1")
@pytest.mark.parametrize(
    ("ratio", "channels", "count"),
    [
        (0.5, 8, 4),
        (0.5, 5, 2),  # 2.5
        (0.5, 7, 4),  # 3.5
        (0.25, 10, 2),  # 2.5
        (0.25, 6, 2),  # 1.5
        (0.75, 6, 4),  # 4.5
        (0.5, 1, 1),  # 0.5 rounds to 0
        (1e-300, 1000, 1),
        (1.0, 1, 1),
        (1, 960, 960),
        (0.125, 12, 2),  # 1.5
        (0.1, 25, 3),  # the float64 of 0.1 is above 0.1, so the product is above 2.5
        (0.7, 15, 10),  # that of 0.7 is below: below 10.5
        (np.nextafter(0.5, 0), 5, 2),
        (np.nextafter(0.5, 1), 5, 3),
        (np.nextafter(0.5, 0), 7, 3),
    ],
)
def test_ratios_round_to_the_nearest_channel(ratio, channels, count):
    assert channel_count(ratio, channels) == count


@pytest.mark.rules("SCHEME-S2")
def test_first_k():
    assert first_k(np.zeros((3, 5), np.float32), 3).tolist() == [0, 1, 2]


@pytest.mark.rules("SCHEME-S3")
def test_largest_norm_and_its_ties():
    weight = np.float32([[1, -3, 0, 3, 2], [1, 0, 3, 0, 2]])  # squares: 2, 9, 9, 9, 8
    assert largest_norm(weight, 1).tolist() == [1]
    assert largest_norm(weight, 2).tolist() == [1, 2]
    assert largest_norm(weight, 4).tolist() == [1, 2, 3, 4]
    assert largest_norm(weight[:, ::-1], 2).tolist() == [1, 2]
    assert largest_norm(np.zeros((2, 4), np.float32), 3).tolist() == [0, 1, 2]
    assert largest_norm(weight, 2).dtype == np.int32


@pytest.mark.rules("SCHEME-S3")
def test_a_norm_is_a_chain_in_raster_order():
    # 1 + 2^-24 + 2^-24: each small square vanishes beside 1 if 1 comes first, and both together do not.
    large_first, large_last = [1, 2**-12, 2**-12], [2**-12, 2**-12, 1]
    weight = np.float32([large_first, large_last]).T
    assert largest_norm(weight, 1).tolist() == [1]
    assert largest_norm(weight[:, ::-1], 1).tolist() == [0]


@pytest.mark.rules("SCHEME-S3")
def test_norms_are_of_real_weights_not_of_codes():
    arrays, scales = dict(MODEL.arrays), dict(MODEL.scales)
    arrays["block.expand.w"] = np.zeros((6, 1, 1, 4), np.int8)
    arrays["block.expand.w"][0, 0, 0] = [100, 0, 0, 0]
    arrays["block.expand.w"][1, 0, 0] = [0, 10, 0, 0]
    scales["block.expand.w"] = np.float32([0.001, 0.1, 1, 1, 1, 1])
    arrays["block.depthwise.w"] = np.ones((3, 3, 6), np.int8)
    scales["block.depthwise.w"] = np.float32([0.1, 0.2, 0.6, 0.5, 0.4, 0.3])
    model = Model(MODEL.graph, arrays, scales)
    expand = chosen_channels(model, Scheme("mine", weights={"block.expand": 0.25}), LAYERS["block.expand"])
    assert expand.tolist() == [1]
    depthwise = chosen_channels(model, Scheme("mine", weights={"block.depthwise": 0.5}), LAYERS["block.depthwise"])
    assert depthwise.tolist() == [2, 3, 4]


# --- applying a scheme -------------------------------------------------------------------------------------------

SPARSE = Scheme("sparse", 2, {"block.expand": 0.5, "block.depthwise": (1, 4), "stem": 1.0})


@pytest.mark.rules("SCHEME-S4")
@pytest.mark.parametrize(
    ("scheme", "parameters"),
    [
        (Scheme("mine", head="frozen"), ""),
        (Scheme("mine", head="bias"), "classifier.b"),
        (HEAD, "classifier.w classifier.b"),
        (Scheme("mine", 1, head="frozen"), "block.project.b"),
        (Scheme("mine", 4, head="frozen"), "stem.b block.expand.b block.depthwise.b block.project.b"),
        (Scheme("mine", 0, {"stem": 1.0}, head="frozen"), "stem.w"),
        (
            BIAS_ONLY,
            "stem.b block.expand.b block.depthwise.b block.project.b classifier.w classifier.b",
        ),
        (
            SPARSE,
            "stem.w block.expand.trained block.depthwise.trained block.depthwise.b block.project.b "
            "classifier.w classifier.b",
        ),
    ],
)
def test_which_parameters_get_a_next_value(scheme, parameters):
    graph, _ = apply(MODEL, TRAINING, scheme)
    assert list(graph.updates) == parameters.split()


@pytest.mark.rules("SCHEME-S4")
def test_the_full_scheme_leaves_the_graph_as_it_is():
    graph, lists = apply(MODEL, TRAINING, FULL)
    assert (graph, lists) == (TRAINING, {})


@pytest.mark.rules("TRAIN-S7", "TRAIN-S8", "TRAIN-S13")
def test_a_slice_is_a_parameter_of_its_own_and_saves_its_channels_only():
    graph, lists = apply(MODEL, TRAINING, SPARSE)
    assert validate(graph) is graph
    assert {name: channels.tolist() for name, channels in lists.items()}.keys() == {
        "block.expand.channels",
        "block.depthwise.channels",
    }
    assert lists["block.depthwise.channels"].tolist() == [1, 4]
    assert graph["block.expand.saved"].type.shape == (1, 3, 3, 2)
    assert graph["block.expand.saved"].scale == graph["stem.y"].scale
    for name in ("block.expand.trained", "block.expand.trained.grad", "block.expand.trained.new"):
        assert graph[name].type.shape == (6, 1, 1, 2)
    assert graph["block.depthwise.trained.grad"].type.shape == (3, 3, 2)
    assert graph["block.expand.trained.q"].type.shape == (6,)
    assert graph["block.depthwise.trained.q"].type.shape == (2,)
    assert {graph[name].role for name in ("block.expand.w", "block.expand.trained")} == {"weight"}
    backward = graph.nodes[next(i for i, node in enumerate(graph.nodes) if "loss" in node.results) + 1 :]
    read = {name for node in backward for name in node.operands}
    assert {"block.expand.saved", "block.depthwise.saved", "pool.y", "x"} <= read
    assert {"stem.y", "block.expand.y", "block.depthwise.y"}.isdisjoint(read), "whole activations are not kept"


@pytest.mark.rules("TRAIN-S13")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_reader_of_a_split_weight_gets_its_parts(optimizer):
    graph, _ = apply(MODEL, differentiate(MODEL.graph, "loss", optimizer), SPARSE)
    splits = split_weights(graph)
    layers = ("block.expand", "block.depthwise")
    assert splits == {f"{layer}.trained": Split(f"{layer}.w", f"{layer}.channels") for layer in layers}
    for trained, split in splits.items():
        forward, *vjp_x = graph.users(split.whole)
        assert [node.function.partition(".")[2] for node in (forward, *vjp_x)] == ["forward", "vjp_x"]
        for node in (forward, *vjp_x):
            assert (node.operand("trained"), node.operand("channels")) == (trained, split.listed)
        (update,) = (node for node in graph.users(trained) if "update" in node.function)
        assert (update.operand("w"), update.results[0]) == (trained, graph.updates[trained])
        by_element = optimizer == "stochastic"
        assert update.operand("channels") == (split.listed if by_element else None)
        assert update.attributes == ({"dense_channels": graph[split.whole].type.shape[-1]} if by_element else {})
        names = {name for name in graph.tensors if name.startswith(f"{split.whole}.")}
        assert not names, "nothing is left of the whole weight's update"
    whole = {node.operand("trained") for node in MODEL.layers()}
    assert whole == {None}, "the model's own nodes are left alone"


@pytest.mark.rules("TRAIN-S13")
def test_names_that_a_split_weight_needs_must_be_free():
    n = Network("taken", {})
    x = n.conv("stem", n.image((1, 4, 4, 1), 1.0, 0), 4, kernel=3)
    x = n.conv("other", x, 4, kernel=1)
    n.builder.nodes[-1] = replace(n.builder.nodes[-1], outputs=("other.trained", "other.mask"))
    n.builder.tensors["other.trained"] = replace(n.builder.tensors.pop("other.y"), name="other.trained")
    model = with_parameters(n.loss(n.classifier(n.global_average("other.trained"), 3)))
    with pytest.raises(ConstraintError, match=r"TRAIN-C3: two tensors are named other.trained; give each a name"):
        apply(model, differentiate(model.graph, "loss"), Scheme("mine", weights={"other": 0.5}))


def trains(session: Session) -> dict[str, np.ndarray]:
    """Of each array of the model, which elements the session's scheme trains."""
    masks = {name: np.full(array.shape, name in session.graph.updates) for name, array in MODEL.arrays.items()}
    for node in MODEL.layers():
        channels = chosen_channels(MODEL, session.scheme, node)
        if channels is not None:
            masks[node.operand("w")][..., channels] = True
    return masks


@pytest.mark.rules("TRAIN-S7", "TRAIN-S13", "SCHEME-S4", "UPS-S6")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_equals_that_of_dense_weights_whose_steps_are_masked(optimizer):
    sparse, dense = (Session(MODEL, scheme, optimizer=optimizer, mu=0.5) for scheme in (SPARSE, FULL))
    if optimizer == "stochastic":  # a seed belongs to a weight's place among those that train
        for name, value in sparse.constants.items():
            dense.constants[name.replace(".trained.seed", ".w.seed")] = value
    masks, frozen = trains(sparse), {name: array.copy() for name, array in MODEL.arrays.items()}
    for step in range(4):
        outputs, expected = sparse.step(sample(step), 0.002), dense.step(sample(step), 0.002)
        for name, value in outputs.items():
            assert same_bits(value, expected[name]).all()
        for name, mask in masks.items():
            dense.parameters[name] = np.where(mask, dense.parameters[name], frozen[name])
            assert same_bits(sparse.weights()[name], dense.parameters[name]).all(), f"{name}, step {step}"
    for name, mask in masks.items():
        assert (sparse.weights()[name] != frozen[name])[mask].any() == mask.any()
    for trained, split in split_weights(sparse.graph).items():
        np.testing.assert_array_equal(sparse.parameters[split.whole], MODEL.arrays[split.whole])
        for kind in ("master", "velocity"):
            if f"{trained}.{kind}" in sparse.parameters:
                part = dense.parameters[f"{split.whole}.{kind}"][..., sparse.constants[split.listed]]
                assert same_bits(sparse.parameters[f"{trained}.{kind}"], part).all()


@pytest.mark.rules("TRAIN-S13")
def test_a_session_predicts_with_its_split_weights_and_counts_them():
    session = Session(MODEL, SPARSE)
    sizes = [6 * 2, 9 * 2, 4 * 9, 4 * 3, 6 * 4, 4 * 4, 3 * 4]  # expand, depthwise, stem, classifier; three biases
    assert session.trained_bytes == sum(sizes)
    assert Session(MODEL, SPARSE, optimizer="master").trained_bytes == sum(sizes)
    for step in range(3):
        session.step(sample(step), 0.002)
    now = replace(MODEL, arrays=session.weights())
    expected = Session(now, FULL).predict(sample(5))
    for name, value in session.predict(sample(5)).items():
        assert same_bits(value, expected[name]).all()
    assert session.weights().keys() == MODEL.arrays.keys()


def test_faults_are_goldgrad_errors():
    assert issubclass(ConstraintError, GoldgradError)
    with pytest.raises(GoldgradError):
        parse_scheme({"weights": {"stem": 2}}, "mine")
