"""The networks, their seeded parameters, and published weights (specs/model-format.md)."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldgrad import GoldgradError, kernels
from goldgrad.interpreter import reference, run
from goldgrad.model import (
    INT32_MAX,
    INT32_MIN,
    accumulator_range,
    forward_constants,
    layer_name,
    qas_bias,
    qas_weight,
    trainable_channels,
)
from goldgrad.models import MODELS, architecture
from goldgrad.models._bottlenecks import Bottleneck
from goldgrad.models.published import load_weights
from goldgrad.models.synthetic import samples, synthetic
from goldgrad.numerics import same_bits
from goldgrad.ops.mask import unpack
from goldgrad.random import Stream
from goldgrad.schemes import named, names
from goldgrad.sparse import FULL
from goldgrad.training import Session
from published_weights import REAL, archive, members, network

LARGE = [name for name in MODELS if name != "digits"]
MACS = {"mcunet-5fps": 22.46e6, "mobilenet-v2-w0.35": 16.65e6, "proxyless-nas-w0.3": 18.62e6}
NEVER = {"mcunet-5fps": 52, "mobilenet-v2-w0.35": 0, "proxyless-nas-w0.3": 22}
"""Biases at an end of int32 in the published weights."""


def real(name):
    if not REAL[name].exists():
        pytest.skip(f"the published weights are not there: {REAL[name]}")
    return architecture(name).model(REAL[name])


# --- networks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LARGE)
def test_a_network_has_the_published_number_of_multiply_accumulates(name):
    graph = architecture(name).build({}, 1)
    macs = 0
    for node in graph.nodes:
        w = node.operand("w") if "w" in node.definition.inputs else None
        if w is not None:
            macs += math.prod(graph[w].type.shape) * math.prod(graph[node.results[0]].type.shape[1:3])
    assert macs == pytest.approx(MACS[name], rel=1e-3)


@pytest.mark.parametrize("name", LARGE)
def test_a_network_is_the_published_table_of_layers(name):
    table = REAL[name].with_suffix(".json")
    if not table.exists():
        pytest.skip(f"the table of layers is not there: {table}")
    published = json.loads(table.read_text())
    graph = architecture(name).build({}, 1)
    layers = {layer_name(node): node for node in graph.nodes if "w" in node.definition.inputs}
    blocks = {layer["block"]: layer["name"] for layer in published["layers"] if layer["role"] == "pointwise2"}
    assert len(layers) == len(published["layers"])
    for layer, (called, node) in zip(published["layers"], layers.items(), strict=True):
        side, inputs, outputs = layer["kernel"], layer["in_channels"], layer["out_channels"]
        shape = graph[node.operand("w")].type.shape
        if layer["role"] == "classifier":
            assert called == "classifier" and shape == (10, inputs)
            continue
        assert called == layer["name"]
        assert shape == ((side, side, outputs) if layer["role"] == "depthwise" else (outputs, side, side, inputs))
        assert node.attributes["stride"] == (layer["stride"],) * 2
        assert node.attributes["pad"] == (layer["pad"],) * 4
    sums = {node.operand("x2"): node for node in graph.nodes if node.function == "add.forward"}
    assert list(sums) == [f"{blocks[entry['block']]}.y" for entry in published["residual_add"]]


def test_a_model_that_there_is_not_and_weights_that_it_does_not_take(tmp_path):
    with pytest.raises(GoldgradError, match=r"no model 'resnet'; use one of digits, mobilenet-v2-w0.35"):
        architecture("resnet")
    with pytest.raises(GoldgradError, match="digits takes no weights file"):
        architecture("digits").model(tmp_path / "some.npz")
    assert architecture("digits").model().graph.name == "digits"


# --- seeded parameters ---------------------------------------------------------------------------------------------


def values(model, sample, roles):
    """Every tensor of these roles that the forward graph computes for a sample."""
    wanted = tuple(tensor.name for tensor in model.graph.tensors.values() if tensor.role in roles)
    constants = forward_constants(model)
    feeds = {**model.arrays, **constants, **sample}
    return run(replace(model.graph, outputs=wanted), feeds, kernels.run)


@pytest.mark.parametrize("name", LARGE)
def test_seeded_activations_use_their_range_and_masks_are_mixed(name):
    began = time.process_time()
    model = synthetic.__wrapped__(architecture(name).build)
    assert time.process_time() - began < 20
    seen = values(model, samples(model.graph, 1, Stream(1)), ("activation", "mask"))
    for tensor, value in seen.items():
        if model.graph[tensor].role == "activation":
            if tensor not in ("x", "classifier.y", "pool.y"):
                assert int(value.max()) - int(value.min()) >= 160, tensor
            continue
        node = next(node for node in model.graph.nodes if tensor in node.results)
        inside = unpack(value, model.graph[node.results[0]].type.shape[3] if value.ndim == 4 else 10)
        if tensor not in ("classifier.mask", "pool.mask"):
            assert 0 < np.mean(inside) < 1, tensor


def test_a_seed_gives_the_same_model_again_and_another_seed_another():
    model, again, other = synthetic(network), synthetic.__wrapped__(network), synthetic(network, 3)
    assert model.graph == again.graph != other.graph
    for name, array in model.arrays.items():
        assert same_bits(array, again.arrays[name]).all()
    assert not same_bits(model.arrays["conv00.w"], other.arrays["conv00.w"]).all()
    assert synthetic(network) is model


def test_nothing_expands_where_the_channels_are_there():
    graph = network({})
    assert Bottleneck(16, 6, stride=2).kernel == 3
    assert [node.function.partition(".")[0] for node in graph.nodes] == [
        *("quantize_input", "conv2d", "depthwise_conv2d", "conv2d", "conv2d", "depthwise_conv2d", "conv2d"),
        *("add", "avg_pool2d", "fully_connected", "softmax_cross_entropy"),
    ]


# --- published weights ---------------------------------------------------------------------------------------------

SMALL = synthetic(network)
MEMBERS = members(SMALL)


def load(tmp_path, content, packed=True):
    path = tmp_path / "weights.npz"
    path.write_bytes(content if isinstance(content, bytes) else archive(content, packed))
    return load_weights(path, network)


@pytest.mark.rules("MODEL-I9", "MODEL-S7")
@pytest.mark.parametrize("packed", [True, False])
def test_published_weights_make_the_model_but_for_its_classifier(tmp_path, packed):
    model = load(tmp_path, MEMBERS, packed)
    for name, array in SMALL.arrays.items():
        assert same_bits(model.arrays[name], array).all() == (name != "classifier.w")
    for name, scales in SMALL.scales.items():
        assert same_bits(model.scales[name], scales).all() == (name != "classifier.w")
    for name, tensor in SMALL.graph.tensors.items():
        same = (model.graph[name].scale, model.graph[name].zero_point) == (tensor.scale, tensor.zero_point)
        assert same or name == "classifier.y"
    head = model.graph["classifier.y"]
    assert (head.scale, head.zero_point) == (model.graph["pool.y"].scale, 0)
    variance = np.var(model.arrays["classifier.w"] * model.scales["classifier.w"][:, None])
    assert variance == pytest.approx(1 / 6, rel=0.4)
    assert not model.arrays["classifier.b"].any()


@pytest.mark.rules("MODEL-I9")
def test_members_that_are_not_read_may_be_absent(tmp_path):
    unread = ("meta", "conv06.weight_oihw", "conv06.bias", "conv06.w_scale")
    model = load(tmp_path, {name: value for name, value in MEMBERS.items() if name not in unread})
    assert same_bits(model.arrays["conv05.w"], SMALL.arrays["conv05.w"]).all()


HALF = np.full(6, 20.5 / 2**31 * MEMBERS["conv02.y_scale"] / MEMBERS["conv02.x_scale"], np.float32)
"""Scales that put the largest accumulator between two codes."""
FAULTS = [
    ("missing", {"conv03.bias": None}, "MODEL-I9: weights.npz: the member conv03.bias.npy is missing"),
    ("foreign", {"conv07.bias": np.int32(0)}, "MODEL-I9: .*'conv07.bias.npy' belongs to no layer"),
    ("type", {"conv03.bias": np.zeros(9, np.int64)}, "conv03.bias.npy has the npy header"),
    ("shape", {"conv03.bias": np.zeros(8, np.int32)}, "conv03.bias.npy has the npy header"),
    ("object", {"conv03.y_zero": np.array(object())}, "conv03.y_zero.npy has the npy header"),
    ("large", {"conv03.bias": np.zeros(9999, np.int32)}, "MODEL-I9: .*conv03.bias.npy has 40124 bytes"),
    ("weight", {"conv02.weight_oihw": np.full((6, 16, 1, 1), -128, np.int8)}, r"conv02.w\[0, 0, 0, 0\] is -128"),
    ("scale", {"conv02.w_scale": np.full(6, np.nan, np.float32)}, "MODEL-C10: .*conv02.w, output channel 0, is nan"),
    ("no scale", {"conv05.y_scale": np.float64(0)}, "MODEL-C2: .*conv05.y is 0.0"),
    ("minus", {"conv00.x_scale": np.float64(-1)}, r"MODEL-C2: .*scale of x is -1.0"),
    ("zero", {"conv05.y_zero": np.int32(300)}, r"y_zero"),
    ("multiplier", {"conv00.w_scale": np.full(16, 1e-45, np.float32)}, r"MODEL-C5: .*multiplier conv00.m\[0\]"),
    (
        "overflow",
        {"conv02.bias": np.full(6, 2**31 - 1, np.int32), "conv02.w_scale": HALF},
        "MODEL-C6: .*channel 0 of c",
    ),
    ("neighbour", {"conv04.x_scale": np.float64(0.5)}, "MODEL-C12: .*conv03.y has the scale .*conv04 reads"),
    ("mean", {"conv06.x_zero": np.int32(-99)}, None),
    ("mean of a layer", {"conv06.x_zero": np.int32(-99), "conv05.y_zero": np.int32(-99)}, None),
]


@pytest.mark.rules("MODEL-I9", "MODEL-C12", "MODEL-C6", "MODEL-C10")
@pytest.mark.parametrize(("changes", "message"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS])
def test_a_bad_weights_file_is_one_line_that_names_the_thing(tmp_path, changes, message):
    content = {name: value for name, value in {**MEMBERS, **changes}.items() if value is not None}
    if message is None:
        load(tmp_path, content)  # a sum and a mean have the zero point that their reader says
        return
    with pytest.raises(GoldgradError, match=message) as caught:
        load(tmp_path, content)
    assert "weights.npz: " in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.rules("MODEL-I9")
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"weights", archive(MEMBERS)[:-30]])
def test_a_file_that_is_no_archive(tmp_path, content):
    with pytest.raises(GoldgradError, match=r"MODEL-I9: weights.npz: the archive is broken \(.*\); give the published"):
        load(tmp_path, content)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(GoldgradError, match=r"MODEL-I1: none.npz: there is no such file"):
        load_weights(tmp_path / "none.npz", network)


@pytest.mark.rules("MODEL-I9")
@given(st.data())
def test_a_damaged_archive_is_read_or_refused_in_one_line(tmp_path_factory, data):
    good = PACKED if data.draw(st.booleans()) else PLAIN
    content = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    path.write_bytes(bytes(content[: data.draw(st.integers(0, len(content))) or None]))
    try:
        load_weights(path, network)
    except GoldgradError as error:
        assert "\n" not in str(error)


PACKED, PLAIN = archive(MEMBERS), archive(MEMBERS, packed=False)


# --- real weights --------------------------------------------------------------------------------------------------


@pytest.mark.rules("TRAIN-S11", "MODEL-S7")
@pytest.mark.parametrize("name", LARGE)
def test_real_weights_train_and_degenerate_channels_stay(name):
    model = real(name)
    session = Session(model, FULL, kernels.run)
    before = {parameter: np.array(value) for parameter, value in session.parameters.items()}
    outputs = session.step(samples(model.graph, 1, Stream(2)), 2.0**-10)
    assert np.isfinite(outputs["loss"]).all() and outputs["loss"] > 0
    changed, never = 0, 0
    for node in session.model.layers():
        w, b, trains = node.operand("w"), node.operand("b"), trainable_channels(session.model, node)
        depthwise = node.function.startswith("depthwise")
        same_w = session.parameters[w] == before[w]
        same_w = same_w.all(axis=(0, 1)) if depthwise else same_w.reshape(len(same_w), -1).all(axis=1)
        same_b = session.parameters[b] == before[b]
        assert same_w[~trains].all() and same_b[~trains].all()
        assert not qas_weight(session.model, w)[~trains].any() and not qas_bias(session.model, b)[~trains].any()
        never += int((~trains).sum())
        changed += int((~(same_w & same_b)).sum())
    assert never == NEVER[name]
    assert changed > 1000


@pytest.mark.parametrize("name", LARGE)
def test_reference_and_c_take_the_same_step_with_real_weights(name):
    model = real(name)
    scheme = named(model, names(name)[-1])
    ours, theirs = (Session(model, scheme, provider) for provider in (reference, kernels.run))
    sample = samples(model.graph, 1, Stream(5))
    outputs, expected = theirs.step(sample, 2.0**-10), ours.step(sample, 2.0**-10)
    for mine, other in ((outputs, expected), (theirs.parameters, ours.parameters)):
        for tensor, value in mine.items():
            assert same_bits(value, other[tensor]).all(), tensor


@pytest.mark.rules("MODEL-S2", "MODEL-C6")
@pytest.mark.parametrize("name", LARGE)
def test_folded_channels_of_real_weights_are_constant(name):
    """Each by exact fractions: the ends of the range before folding give the one output and mask that stay."""
    model = real(name)
    with np.load(REAL[name]) as file:
        published = {f"conv{i:02}": file[f"conv{i:02}.weight_oihw"] for i in range(len(model.convolutions()))}
    constants, folded = forward_constants(model), 0
    for node in model.convolutions():
        raw = published[layer_name(node)]
        w = node.operand("w")
        raw = raw[:, 0].transpose(1, 2, 0) if node.function.startswith("depthwise") else np.moveaxis(raw, 1, 3)
        low, high = accumulator_range(replace(model, arrays={**model.arrays, w: raw}), node)
        axes = (0, 1) if raw.ndim == 3 else (1, 2, 3)
        for channel in np.flatnonzero((low < INT32_MIN) | (high > INT32_MAX)):
            folded += 1
            m = Fraction(float(constants[node.operand("m")][channel]))
            zero, bias = node.attributes["y_zero"], int(model.arrays[node.operand("b")][channel])
            codes = [round(end * m) + zero for end in (int(low[channel]), int(high[channel]), bias)]
            kept = {(min(max(code, -128), 127), -128 <= code <= 127) for code in codes}
            assert len(kept) == 1, (w, channel, codes)
            assert not np.take(model.arrays[w], channel, axis=-1 if raw.ndim == 3 else 0).any()
        changed = (raw != model.arrays[w]).any(axis=axes)
        assert not changed[(low >= INT32_MIN) & (high <= INT32_MAX)].any()
    assert folded == {"mcunet-5fps": 11, "mobilenet-v2-w0.35": 0, "proxyless-nas-w0.3": 8}[name]
