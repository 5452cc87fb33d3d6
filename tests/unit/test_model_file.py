"""Models and their files (specs/model-format.md)."""

import hashlib
import io
import json
import math
import os
import shutil
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from goldgrad import ConstraintError
from goldgrad.graph_text import parse_graph
from goldgrad.interpreter import run
from goldgrad.model import (
    Model,
    accumulator_range,
    bias_limit,
    fold_degenerate_channels,
    forward_constants,
    qas_bias,
    qas_weight,
    trainable_channels,
)
from goldgrad.model_check import check_model
from goldgrad.model_file import ARRAY_BYTES, JSON_BYTES, decode, encode, load, save
from goldgrad.models._network import Network
from networks import small_model, with_parameters

MODEL = small_model()
DOCUMENT, ARCHIVE = encode(MODEL)


def same_model(a: Model, b: Model) -> bool:
    def same(x, y):
        return x.keys() == y.keys() and all(
            x[k].dtype == y[k].dtype and x[k].tobytes() == y[k].tobytes() and x[k].shape == y[k].shape for k in x
        )

    return a.graph == b.graph and same(a.arrays, b.arrays) and same(a.scales, b.scales)


def document() -> dict:
    return json.loads(DOCUMENT)


def arrays() -> dict:
    return {**MODEL.arrays, **{f"{name}.scale": scale for name, scale in MODEL.scales.items()}}


def npz(content: dict, write=np.savez) -> bytes:
    buffer = io.BytesIO()
    write(buffer, **content)
    return buffer.getvalue()


def declare(content: dict, archive: bytes) -> bytes:
    """The document, with the size and the digest of the archive."""
    content["arrays"] = {"bytes": len(archive), "sha256": hashlib.sha256(archive).hexdigest()}
    return json.dumps(content).encode()


def read(changed_document=None, changed_arrays=None, archive=None):
    """Decode the good model with another document, other arrays, or another archive."""
    archive = archive or (ARCHIVE if changed_arrays is None else npz({**arrays(), **changed_arrays}))
    return decode(declare(changed_document or document(), archive), archive)


def refused(rule: str, message: str, call, *args, **kwargs) -> None:
    with pytest.raises(ConstraintError) as caught:
        call(*args, **kwargs)
    text = str(caught.value)
    assert caught.value.rule == rule, text
    assert message in text
    assert "\n" not in text
    assert len(text) < 600


# --- round trip --------------------------------------------------------------------------------------------------


@pytest.mark.rules("MODEL-S3", "MODEL-S4")
def test_saving_what_was_loaded_gives_the_same_bytes(tmp_path):
    save(MODEL, tmp_path / "a.json")
    loaded = load(tmp_path / "a.json")
    assert same_model(loaded, MODEL)
    save(loaded, str(tmp_path / "b.json"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.npz", "b.json", "b.npz"]
    for ending in (".json", ".npz"):
        assert (tmp_path / f"a{ending}").read_bytes() == (tmp_path / f"b{ending}").read_bytes()


@pytest.mark.rules("MODEL-S4")
def test_the_bytes_are_these():
    """They change with the format alone: not with the machine, nor with the versions of Python and NumPy."""
    digest = hashlib.sha256(DOCUMENT + ARCHIVE).hexdigest()
    assert digest == "e0f8769a7a6eb475ec2c2924e413a4a286c77a4859ef73a086eca7c1b8c44c97"


@pytest.mark.rules("MODEL-S4")
def test_the_order_of_a_models_arrays_changes_no_byte():
    shuffled = Model(MODEL.graph, dict(reversed(MODEL.arrays.items())), dict(reversed(MODEL.scales.items())))
    assert encode(shuffled) == (DOCUMENT, ARCHIVE)


@pytest.mark.rules("MODEL-S3")
@pytest.mark.parametrize("scale", [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, 2.0**-60, 1e22, 123456789.125])
def test_scales_are_exact(scale):
    content = document()
    tensor = next(t for t in content["tensors"] if t["name"] == "image")
    tensor["scale"] = scale
    try:
        model = read(content)
    except ConstraintError as error:
        assert error.rule == "MODEL-C5"  # the multiplier is no normal float32, but the scale was read
        assert not 1e-37 < scale < 1e37
    else:
        assert model.graph["image"].scale == scale
        assert repr(scale).encode() in encode(model)[0]


def test_numpy_reads_the_archive_and_writes_one_that_is_read(tmp_path):
    with np.load(io.BytesIO(ARCHIVE)) as content:
        assert sorted(content.files) == sorted(arrays())
        for name, array in arrays().items():
            np.testing.assert_array_equal(content[name], array)
            assert content[name].dtype == array.dtype
    assert same_model(read(archive=npz(arrays())), MODEL)


@pytest.mark.rules("MODEL-S5")
def test_a_model_says_what_its_file_said():
    content = json.loads(DOCUMENT)
    content["tensors"][0]["scale"] = 1  # an integer is a number, too
    archive = npz(arrays())
    again, _ = encode(decode(declare(content, archive), archive))
    again = json.loads(again)
    assert again.pop("arrays") != content.pop("arrays")
    assert again == content


@pytest.mark.rules("MODEL-F2")
def test_loading_writes_nothing_and_needs_no_right_to_write(tmp_path):
    save(MODEL, tmp_path / "a.json")
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()}
    tmp_path.chmod(0o500)
    try:
        load(tmp_path / "a.json")
    finally:
        tmp_path.chmod(0o700)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()} == before


def test_arrays_that_were_loaded_may_be_changed(tmp_path):
    model = read()
    for array in (*model.arrays.values(), *model.scales.values()):
        assert array.flags.writeable
        assert array.flags.aligned
        assert array.flags.c_contiguous


# --- saving ------------------------------------------------------------------------------------------------------


@pytest.mark.rules("MODEL-F1")
def test_what_cannot_be_written_leaves_nothing_behind(tmp_path):
    (tmp_path / "file").write_text("")
    for target in (tmp_path / "none" / "a.json", tmp_path / "file" / "a.json"):
        refused("MODEL-F1", "cannot write", save, MODEL, target)
    (tmp_path / "a.json").mkdir()
    refused("MODEL-F1", "a.json is a directory; give the name of a file", save, MODEL, tmp_path / "a.json")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.json", "file"]


@pytest.mark.rules("MODEL-F1")
@pytest.mark.parametrize("fails", ["write_bytes", "replace"])
def test_a_failure_in_the_midst_leaves_the_old_files(tmp_path, monkeypatch, fails):
    save(MODEL, tmp_path / "a.json")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    other = small_model(seed=1)

    def full(self, *args):
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, fails, full)
    refused("MODEL-F1", "No space left on device", save, other, tmp_path / "a.json")
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.rules("MODEL-F1", "MODEL-I6")
def test_half_a_save_shows_when_it_is_loaded(tmp_path):
    save(MODEL, tmp_path / "a.json")
    save(small_model(seed=1), tmp_path / "b.json")
    (tmp_path / "b.npz").replace(tmp_path / "a.npz")
    refused("MODEL-I6", "a.npz: its sha256 is", load, tmp_path / "a.json")


@pytest.mark.rules("MODEL-S3")
def test_what_could_not_be_loaded_is_not_written(tmp_path):
    named = replace(MODEL.graph, outputs=("none",))
    refused("TRAIN-C4", "output 'none' is no tensor", save, replace(MODEL, graph=named), tmp_path / "a.json")
    reserved = parse_graph(str(MODEL.graph).replace("loss.s", "loss.q"))
    refused("MODEL-C11", "a tensor is named 'loss.q'", save, replace(MODEL, graph=reserved), tmp_path / "a.json")
    refused("MODEL-I1", "is no model file; give the name of its .json file", save, MODEL, tmp_path / "a.npz")
    refused("MODEL-I1", "is no model file", save, MODEL, tmp_path / "a\n.json")
    assert list(tmp_path.iterdir()) == []


# --- files -------------------------------------------------------------------------------------------------------


@pytest.mark.rules("MODEL-I1")
def test_files_that_are_not_there(tmp_path):
    refused("MODEL-I1", "a.json: there is no such file; give a model's .json", load, tmp_path / "a.json")
    refused("MODEL-I1", "is no model file; give the name of its .json file", load, tmp_path / "a.npz")
    refused("MODEL-I1", "is no model file", load, tmp_path)
    refused("MODEL-I1", "is no model file", load, "a\0.json")
    (tmp_path / "d.json").mkdir()
    refused("MODEL-I1", "d.json: there is no such file", load, tmp_path / "d.json")
    (tmp_path / "a.json").write_bytes(DOCUMENT)
    refused("MODEL-I1", "a.npz: there is no such file", load, tmp_path / "a.json")


@pytest.mark.rules("MODEL-I1")
def test_a_file_that_may_not_be_read(tmp_path):
    save(MODEL, tmp_path / "a.json")
    (tmp_path / "a.npz").chmod(0)
    if os.access(tmp_path / "a.npz", os.R_OK):
        pytest.skip("this user may read everything")
    refused("MODEL-I1", "a.npz: it cannot be read (Permission denied)", load, tmp_path / "a.json")


@pytest.mark.rules("MODEL-I2", "MODEL-I6")
def test_every_truncation_is_refused(tmp_path):
    for end in range(0, len(DOCUMENT) - 1, 7):  # the last byte is the newline at the end
        with pytest.raises(ConstraintError):
            decode(DOCUMENT[:end], ARCHIVE)
    for end in range(0, len(ARCHIVE), 11):
        with pytest.raises(ConstraintError, match=f"MODEL-I6: it has {end} bytes, {len(ARCHIVE)} are declared; copy"):
            decode(DOCUMENT, ARCHIVE[:end])
    save(MODEL, tmp_path / "a.json")
    (tmp_path / "a.npz").write_bytes(ARCHIVE[:100])
    refused("MODEL-I6", "a.npz: it has 100 bytes, ", load, tmp_path / "a.json")
    (tmp_path / "a.json").write_bytes(DOCUMENT[:100])
    refused("MODEL-I2", "a.json: line ", load, tmp_path / "a.json")


@pytest.mark.rules("MODEL-I6")
def test_every_truncation_of_an_archive_is_refused_whatever_is_declared():
    for end in range(0, len(ARCHIVE), 11):
        with pytest.raises(ConstraintError):
            read(archive=ARCHIVE[:end] or b"\0")


@pytest.mark.rules("MODEL-I5", "MODEL-I6")
def test_larger_than_declared(tmp_path):
    save(MODEL, tmp_path / "a.json")
    with (tmp_path / "a.npz").open("ab") as file:
        file.write(b"\0")
    refused("MODEL-I5", f"a.npz: it is larger than {len(ARCHIVE)} bytes; give the file that was saved", load,
            tmp_path / "a.json")  # fmt: skip
    refused("MODEL-I6", f"it has {len(ARCHIVE) + 1} bytes, {len(ARCHIVE)} are declared", decode, DOCUMENT,
            ARCHIVE + b"\0")  # fmt: skip
    (tmp_path / "a.json").write_bytes(b" " * (JSON_BYTES + 1))
    refused("MODEL-I5", f"a.json: it is larger than {JSON_BYTES} bytes", load, tmp_path / "a.json")


@pytest.mark.rules("MODEL-I6")
@pytest.mark.parametrize("nbytes", [0, -1, 10**9, 10**15, 2**63, 300])
def test_a_declared_size_that_the_arrays_cannot_have(nbytes):
    content = document()
    content["arrays"]["bytes"] = nbytes
    refused("MODEL-I6", f"the archive is declared to have {nbytes} bytes, its arrays have ", decode,
            json.dumps(content).encode(), ARCHIVE)  # fmt: skip


# --- the document ------------------------------------------------------------------------------------------------


@pytest.mark.rules("MODEL-I2")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"\xff{}", "byte 0 is not UTF-8; save the model again"),
        (b"\xef\xbb\xbf{}", "line 1, column 1 is not JSON"),
        (b"", "line 1, column 1 is not JSON (Expecting value); save the model again"),
        (b'{"a": 1,\n "b" 2}', "line 2, column 6 is not JSON"),
        (b"[" * 200_000, "the JSON is nested too deep"),
        (b'{"a":' * 200_000, "the JSON is nested too deep"),
        (b'{"version": 1, "version": 1}', "an object has the key 'version' twice; keep one"),
        (b'{"a": NaN}', "a number is NaN; use finite numbers"),
        (b'{"a": -Infinity}', "a number is -Infinity; use finite numbers"),
        (b'{"a": 1e999}', "a number is 1e999; use finite numbers"),
        (b'{"a": ' + b"9" * 100_000 + b"}", "a number has 100000 digits; use at most 19"),
        (b"{} {}", "is not JSON"),
        (b'{"a": "\x00"}', "is not JSON"),
    ],
)
def test_what_is_no_json(text, message):
    refused("MODEL-I2", message, decode, text, ARCHIVE)


@pytest.mark.rules("MODEL-I3")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "onnx"}, "the format is 'onnx'; give a file of the format 'goldgrad model'"),
        ({"format": None}, "the format is None; give a file"),
        ({"version": 2}, "the version is 2; this goldgrad reads version 1; save the model with it"),
        ({"version": 1.0}, "the version is 1.0; this goldgrad reads version 1"),
        ({"version": True}, "the version is True; this goldgrad"),
        ({"version": "1"}, "the version is '1'; this goldgrad"),
        ({"version": 2, "more": 1, "tensors": {}}, "the version is 2; this goldgrad reads version 1"),
    ],
)
def test_formats_and_versions(changes, message):
    refused("MODEL-I3", message, read, {**document(), **changes})


@pytest.mark.rules("MODEL-I3")
@pytest.mark.parametrize("text", ["[]", "3", '"goldgrad model"', "null", "true"])
def test_documents_that_are_no_objects(text):
    refused("MODEL-I3", "the document is ", decode, text.encode(), ARCHIVE)


REMOVE = object()


def at(*path, value):
    """The document with a value put at, or removed from, a place."""
    content = document()
    place = content
    for key in path[:-1]:
        place = place[key]
    if value is REMOVE:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return content


INDEX = {tensor["name"]: position for position, tensor in enumerate(document()["tensors"])}
W, X = INDEX["stem.w"], INDEX["stem.y"]
DEEP = [[[[[[[[1]]]]]]]]
DOCUMENTS = [
    ("MODEL-I4", ("nodes",), REMOVE, "the document lacks nodes; give format version name arrays tensors nodes"),
    ("MODEL-I4", ("more",), 1, "the document has the key 'more'; give format version name"),
    ("MODEL-I4", ("name",), 3, "name is 3; give text"),
    ("TRAIN-C1", ("name",), "two words", "the graph is named 'two words'; use at most 100 letters"),
    ("MODEL-I4", ("tensors",), {}, "tensors is {}; give a list"),
    ("MODEL-I4", ("nodes",), None, "nodes is None; give a list"),
    ("MODEL-I4", ("outputs",), "loss", "outputs is 'loss'; give a list"),
    ("MODEL-I4", ("outputs", 0), 1, "an output is 1; give text"),
    ("MODEL-I4", ("tensors", 0), 7, "tensor 0 is 7; give an object with name dtype shape role scale zero_point"),
    ("MODEL-I4", ("tensors", W, "name"), REMOVE, f"tensor {W} lacks name; give name dtype"),
    ("MODEL-I4", ("tensors", W, "colour"), 1, f"tensor {W} has the key 'colour'; give name dtype"),
    ("MODEL-I4", ("tensors", W, "name"), 5, f"name of tensor {W} (5) is 5; give text"),
    ("TRAIN-C1", ("tensors", W, "name"), "a/b", "a tensor is named 'a/b'; use at most 100 letters"),
    ("TRAIN-C1", ("tensors", W, "name"), "\ud800\n" * 400, "a tensor is named '\\ud800\\n"),
    ("MODEL-I4", ("tensors", W, "dtype"), "int16", "dtype of tensor 3 ('stem.w') is 'int16'; give int8, uint8"),
    ("MODEL-I4", ("tensors", W, "dtype"), ["int8"], "is ['int8']; give int8"),
    ("MODEL-I4", ("tensors", W, "shape"), 4, "shape of tensor 3 ('stem.w') is 4; give one to four sizes"),
    ("MODEL-I4", ("tensors", W, "shape"), [], "shape of tensor 3 ('stem.w') is []; give one to four sizes"),
    ("MODEL-I4", ("tensors", W, "shape"), [4, 3, 0, 1], "is [4, 3, 0, 1]; give one to four sizes of at least 1"),
    ("MODEL-I4", ("tensors", W, "shape"), [4, 3, -3, 1], "is [4, 3, -3, 1]; give one to four sizes of at least 1"),
    ("MODEL-I4", ("tensors", W, "shape"), [4, 3, 3.0, 1], "is [4, 3, 3.0, 1]; give one to four sizes"),
    ("MODEL-I4", ("tensors", W, "shape"), [4, 3, True, 1], "is [4, 3, True, 1]; give one to four sizes"),
    ("MODEL-I4", ("tensors", W, "shape"), [1] * 5, "is [1, 1, 1, 1, 1]; give one to four sizes"),
    ("MODEL-I4", ("tensors", W, "shape"), [10**19] * 4, "give one to four sizes"),
    ("MODEL-I4", ("tensors", W, "shape"), DEEP, "give one to four sizes"),
    ("MODEL-I5", ("tensors", W, "shape"), [2**13, 2**13, 2], "has 134217728 bytes; give at most 67108864"),
    ("MODEL-I5", ("tensors", W, "shape"), [ARRAY_BYTES] * 4, "('stem.w') has 20282409603651670423947251286016 bytes"),
    ("MODEL-I4", ("tensors", W, "role"), 3, "role of tensor 3 ('stem.w') is 3; give text"),
    ("TRAIN-C1", ("tensors", W, "role"), "weights", "tensor stem.w has the role 'weights'; use one of input, rate"),
    ("MODEL-I4", ("tensors", X, "scale"), "0.1", "('stem.y') is '0.1'; give a number or null"),
    ("MODEL-I4", ("tensors", X, "scale"), True, "('stem.y') is True; give a number or null"),
    ("MODEL-I4", ("tensors", X, "scale"), 2**60 + 1, "is 1152921504606846977; give a number or null"),
    ("MODEL-C2", ("tensors", X, "scale"), 0, "the scale of stem.y is 0.0; give a positive finite number"),
    ("MODEL-C2", ("tensors", X, "scale"), -0.5, "the scale of stem.y is -0.5; give a positive finite number"),
    ("MODEL-C4", ("tensors", X, "scale"), None, "stem.y has no scale; give every quantized tensor one"),
    ("MODEL-C4", ("tensors", W, "scale"), 0.5, "stem.w has a scale or a zero point, as weight of int8; remove them"),
    ("MODEL-C4", ("tensors", W, "zero_point"), 0, "stem.w has a scale or a zero point, as weight of int8"),
    ("MODEL-I4", ("tensors", X, "zero_point"), 1.5, "zero_point of tensor 6 ('stem.y') is 1.5; give an integer or"),
    ("MODEL-C2", ("tensors", X, "zero_point"), None, "the zero point of stem.y is None; give an integer from -128"),
    ("MODEL-C2", ("tensors", X, "zero_point"), 128, "the zero point of stem.y is 128; give an integer from -128 to"),
    ("MODEL-C2", ("tensors", 0, "zero_point"), -1, "the zero point of image is -1; give an integer from 0 to 255"),
    ("MODEL-C2", ("tensors", 0, "zero_point"), 10**18, "the zero point of image is 1000000000000000000; give an int"),
    ("MODEL-C3", ("tensors", X, "zero_point"), 1, "node 1 (conv2d.forward) has y_zero = 0, and stem.y has the zero"),
    (
        "MODEL-C3",
        ("nodes", 1, "attributes", "x_zero"),
        9,
        "has x_zero = 9, and x has the zero point -3; make them equal",
    ),
    ("MODEL-C5", ("tensors", X, "scale"), 1e300, "multiplier stem.m[0] is np.float32(0.0); choose scales whose"),
    ("MODEL-C5", ("tensors", X, "scale"), 1e-300, "multiplier stem.m[0] is np.float32(inf); choose scales whose"),
    ("MODEL-C5", ("tensors", INDEX["classifier.y"], "scale"), 1e-45, "; choose scales whose quotient is a normal"),
    ("MODEL-C11", ("tensors", W, "name"), "stem.y", "two tensors are named 'stem.y'; give each a name of its own"),
    ("MODEL-C11", ("tensors", W, "name"), "lr", "a tensor is named 'lr'; keep lr, mu, step, .new, .q, .limit"),
    ("MODEL-C11", ("tensors", W, "name"), "stem.b.scale", "a tensor is named 'stem.b.scale'; keep lr"),
    ("MODEL-I4", ("nodes", 0), [], "node 0 is []; give an object with function inputs outputs attributes"),
    ("MODEL-I4", ("nodes", 0, "function"), "conv9d.forward", "function of node 0 is 'conv9d.forward'; see `goldgrad"),
    ("MODEL-I4", ("nodes", 0, "function"), [], "function of node 0 is []; see `goldgrad spec`"),
    ("MODEL-I4", ("nodes", 1, "inputs"), "x", "inputs of node 1 is 'x'; give a list of tensor names"),
    ("MODEL-I4", ("nodes", 1, "inputs", 0), 3, "inputs of node 1 is [3, 'stem.w', 'stem.b', 'stem.m']; give a list"),
    ("TRAIN-C2", ("nodes", 1, "inputs", 0), None, "node 1 (conv2d.forward) lacks x; only optional operands"),
    ("TRAIN-C3", ("nodes", 1, "inputs", 0), "nothing", "node 1 (conv2d.forward) names 'nothing', which is no tensor"),
    ("TRAIN-C3", ("nodes", 1, "inputs", 0), "pool.y", "node 1 (conv2d.forward) reads pool.y, which nothing before"),
    ("TRAIN-C2", ("nodes", 1, "outputs"), [], "node 1 (conv2d.forward) has 4 operands and 0 results"),
    ("MODEL-I4", ("nodes", 1, "attributes"), [], "attributes of node 1 is []; give an object"),
    ("MODEL-I4", ("nodes", 1, "attributes", "lo"), "0", "attribute 'lo' of node 1 is '0'; give an integer or a list"),
    ("MODEL-I4", ("nodes", 1, "attributes", "lo"), 0.0, "attribute 'lo' of node 1 is 0.0; give an integer or a list"),
    ("MODEL-I4", ("nodes", 1, "attributes", "lo"), False, "attribute 'lo' of node 1 is False; give an integer or"),
    ("MODEL-I4", ("nodes", 1, "attributes", "lo"), 2**16, "attribute 'lo' of node 1 is 65536; give an integer"),
    ("MODEL-I4", ("nodes", 1, "attributes", "pad"), DEEP, "attribute 'pad' of node 1 is [[[[[[[...]]]]]]]; give an i"),
    ("TRAIN-C2", ("nodes", 1, "attributes", "lo"), [0], "node 1 (conv2d.forward) has lo = (0,); give an integer"),
    ("TRAIN-C2", ("nodes", 1, "attributes", "axis"), 0, "node 1 (conv2d.forward) has the attribute 'axis'; give x_z"),
    ("TRAIN-C2", ("nodes", 1, "attributes", "x_zero"), REMOVE, "node 1 (conv2d.forward) lacks x_zero; give an int"),
    ("CONV-C4", ("nodes", 1, "attributes", "hi"), 128, "node 1 (conv2d.forward): hi is 128; give a code from -128"),
    ("WIN-C1", ("nodes", 1, "attributes", "stride"), [0, 1], "node 1 (conv2d.forward): stride is (0, 1); give two"),
    ("TRAIN-C4", ("outputs", 0), "nothing", "output 'nothing' is no tensor; remove it or add the node"),
    ("TRAIN-C4", ("outputs", 0), "loss", "output loss is listed twice; list it once"),
    ("MODEL-C1", ("tensors", W, "role"), "bias", "w of node 1 (conv2d.forward) is stem.w, whose role is bias; give"),
    ("MODEL-C1", ("tensors", X, "role"), "mask", "y of node 1 (conv2d.forward) is stem.y, whose role is mask; give"),
    ("MODEL-C1", ("tensors", INDEX["stem.m"], "role"), "input", "m of node 1 (conv2d.forward) is stem.m, whose role"),
    ("MODEL-C1", ("tensors", INDEX["target"], "role"), "state", "target of node 8 (softmax_cross_entropy.forward) is"),
    ("MODEL-I4", ("arrays",), 3, "arrays is 3; give an object with bytes sha256"),
    ("MODEL-I4", ("arrays", "sha256"), 3, "sha256 is 3; give text"),
    ("MODEL-I4", ("arrays", "bytes"), 4000.0, "bytes of arrays is 4000.0; give an integer"),
    ("MODEL-I4", ("arrays", "file"), "x", "arrays has the key 'file'; give bytes sha256"),
    ("MODEL-I6", ("arrays", "sha256"), "0" * 64, f"its sha256 is {hashlib.sha256(ARCHIVE).hexdigest()}, not the"),
    ("MODEL-I5", ("outputs",), ["loss"] * 10_001, "outputs has 10001 entries; give at most 10000"),
]


@pytest.mark.rules(
    "MODEL-I4", "MODEL-I5", "MODEL-I6", "MODEL-C1", "MODEL-C2", "MODEL-C3", "MODEL-C4", "MODEL-C5", "MODEL-C11"
)
@pytest.mark.parametrize(
    ("rule", "path", "value", "message"),
    DOCUMENTS,
    ids=[fault[3][:50] for fault in DOCUMENTS],
)
def test_each_fault_of_a_document_is_named_with_its_remedy(rule, path, value, message):
    refused(rule, message, decode, json.dumps(at(*path, value=value)).encode(), ARCHIVE)


def renamed(old: str, new: str) -> bytes:
    return DOCUMENT.replace(f'"{old}"'.encode(), f'"{new}"'.encode())


@pytest.mark.rules("MODEL-C8")
def test_layers_need_names_of_their_own():
    refused("MODEL-C8", "the weight of node 1 (conv2d.forward) is w; name it LAYER.w", decode, renamed("stem.w", "w"),
            ARCHIVE)  # fmt: skip
    refused("MODEL-C8", "the weight of node 2 (conv2d.forward) is stem.v; name it LAYER.w, with a LAYER of its own",
            decode, renamed("block.expand.w", "stem.v"), ARCHIVE)  # fmt: skip


@pytest.mark.rules("MODEL-C1")
def test_what_is_no_forward_model():
    content = document()
    content["nodes"][6] = {
        "function": "mask_scale.forward",
        "inputs": ["a", "b", "c"],
        "outputs": ["d"],
        "attributes": {},
    }
    with pytest.raises(ConstraintError, match=r"TRAIN-C3: node 6 .mask_scale.forward. names 'a'"):
        read(content)
    b = Network("odd", {})
    x = b.image((1, 2, 2, 1), 1.0, 0)
    graph = b.builder.build((x,))
    refused("MODEL-C1", "odd has no layer with weights; give it a classifier", check_model, Model(graph, {}, {}))
    updated = replace(MODEL.graph, updates={"stem.w": "stem.w"})
    with pytest.raises(ConstraintError, match="TRAIN-C4"):
        check_model(replace(MODEL, graph=updated))


@pytest.mark.rules("MODEL-C1")
def test_backward_functions_and_shared_parameters_are_refused():
    n = Network("odd", {})
    x = n.conv("stem", n.image((1, 2, 2, 1), 1.0, 0), 2)
    channels = n.builder.outside("k", n.builder.tensors["stem.b"].type, "constant")
    n.builder.emit("save_channels.forward", (x, channels), ("kept",), ("saved",))
    refused("MODEL-C1", "node 2 (save_channels.forward) is no part of a model; give a forward graph of conv2d.forward",
            check_model, with_parameters(n.builder.build(("kept",))))  # fmt: skip
    n = Network("odd", {})
    x = n.conv("stem", n.image((1, 2, 2, 1), 1.0, 0), 1)
    stem = n.builder.nodes[-1]
    n.builder.emit(stem.function, (x, *stem.inputs[1:3], n.builder.outside("m2", n.builder.tensors["stem.m"].type,
                   "constant")), ("y2", None), ("activation", "mask"), (0.05, 0),
                   **{**stem.attributes, "x_zero": 0, "y_zero": 0})  # fmt: skip
    with pytest.raises(ConstraintError, match=r"MODEL-C8: the weight of node 2 .* is stem.w"):
        check_model(with_parameters(n.builder.build(("y2",))))
    shared = [
        replace(node, inputs=(*node.inputs[:3], "stem.m")) if "block.project.m" in node.inputs else node
        for node in MODEL.graph.nodes
    ]
    graph = MODEL.graph.with_nodes(shared)
    refused("MODEL-C1", "constant stem.m is read 2 times; have one node read it", check_model,
            replace(MODEL, graph=graph))  # fmt: skip
    unread = {**MODEL.graph.tensors, "more": replace(MODEL.graph["target"], name="more")}
    refused("MODEL-C1", "input more is read 0 times; remove it", check_model,
            replace(MODEL, graph=replace(MODEL.graph, tensors=unread)))  # fmt: skip


@pytest.mark.rules("MODEL-C3")
def test_a_maximum_pool_keeps_scale_and_zero_point():
    def pooled(scale, zero):
        n = Network("pooled", {})
        x = n.conv("stem", n.image((1, 4, 4, 1), 1.0, 0), 2)
        n.builder.emit("max_pool2d.forward", (x,), ("pool.y", "pool.mask", "pool.index"),
                       ("activation", "mask", "saved"), (scale, zero), kernel=(2, 2), stride=(2, 2))  # fmt: skip
        return with_parameters(n.loss(n.classifier("pool.y", 3)))

    good = pooled(0.05, 0)
    assert same_model(decode(*encode(good)), good)
    for scale, zero in ((0.06, 0), (0.05, 1)):
        refused("MODEL-C3", "max_pool2d.forward) reads stem.y at scale 0.05 and gives pool.y at scale", check_model,
                pooled(scale, zero))  # fmt: skip


# --- the archive -------------------------------------------------------------------------------------------------


@pytest.mark.rules("MODEL-I7")
def test_members_that_should_not_be_there_or_are_missing():
    fewer = {name: array for name, array in arrays().items() if name != "stem.b"}
    refused("MODEL-I7", "the member stem.b.npy is missing; save the model again", read, archive=npz(fewer))
    refused("MODEL-I7", "the member 'more.npy' is no declared array; remove it", read,
            archive=npz({**arrays(), "more": np.zeros(1)}))  # fmt: skip


@pytest.mark.rules("MODEL-I7")
def test_what_stands_before_the_archive():
    refused("MODEL-I7", "it does not begin as a zip archive; save the model again", read, archive=b"#!\n" + ARCHIVE)


@pytest.mark.rules("MODEL-I7")
def test_members_that_collide():
    buffer = io.BytesIO(npz(arrays()))
    with zipfile.ZipFile(buffer, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("stem.b.npy", b"\0" * 144)
    refused("MODEL-I7", "the member 'stem.b.npy' is there twice; keep one", read, archive=buffer.getvalue())


@pytest.mark.rules("MODEL-I7")
def test_compressed_members():
    refused("MODEL-I7", "is compressed; store it (numpy.savez, not numpy.savez_compressed)", read,
            archive=npz(arrays(), np.savez_compressed))  # fmt: skip


@pytest.mark.rules("MODEL-I7")
@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4,), np.int64),
        np.zeros((4,), ">i4"),
        np.zeros((4, 1), np.int32),
        np.zeros((2, 2), np.int32),
        np.zeros((5,), np.int32),
        np.asfortranarray(np.zeros((2, 2), np.int32)),
        np.array([None] * 4),
        np.zeros(4, [("a", "i4")]),
    ],
)
def test_arrays_of_another_type(array):
    refused("MODEL-I7", "the array stem.b has the npy header", read, None, {"stem.b": array})
    refused("MODEL-I7", "store int32[4]: {'descr': '<i4', 'fortran_order': False, 'shape': (4,), }", read, None,
            {"stem.b": array})  # fmt: skip


def rezip(change) -> bytes:
    """The archive with the members that ``change`` gives for each name and content."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(ARCHIVE)) as old, zipfile.ZipFile(buffer, "w") as new:
        for info in old.infolist():
            new.writestr(info.filename, change(info.filename, old.read(info)))
    return buffer.getvalue()


@pytest.mark.rules("MODEL-I7")
def test_members_that_are_cut_or_too_long():
    def of_bias(change):
        return rezip(lambda name, content: change(content) if name == "stem.b.npy" else content)

    refused("MODEL-I7", "the array stem.b has 15 bytes, int32[4] has 16", read, archive=of_bias(lambda c: c[:-1]))
    refused("MODEL-I7", "the array stem.b has 17 bytes, int32[4] has 16", read, archive=of_bias(lambda c: c + b"\0"))
    refused("MODEL-I7", "the member 'stem.b.npy' has 1144 bytes, int32[4] has 16; store the declared array", read,
            archive=of_bias(lambda c: c + bytes(1000)))  # fmt: skip
    for content in (b"", b"\x93NUM", b"\x93NUMPY\x01\x00", b"\x93NUMPY\x02\x00" + bytes(200)):
        refused("MODEL-I7", "the array stem.b has the npy header", read, archive=of_bias(lambda _, new=content: new))


@pytest.mark.rules("MODEL-I7")
def test_a_changed_byte_of_an_array_is_noticed():
    position = ARCHIVE.index(MODEL.arrays["stem.w"].tobytes())
    archive = ARCHIVE[:position] + bytes([ARCHIVE[position] ^ 1]) + ARCHIVE[position + 1 :]
    refused("MODEL-I7", "the archive is broken (", read, archive=archive)
    refused("MODEL-I6", "its sha256 is", decode, DOCUMENT, archive)


@pytest.mark.rules("MODEL-I5", "MODEL-I7")
def test_little_files_cannot_ask_for_much_memory():
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("stem.b.npy", bytes(2**24))
    content = at("tensors", W, "shape", value=[2**12, 2**12, 1, 1])
    large = at("tensors", INDEX["image"], "shape", value=[1, 2**12, 2**12, 1])
    tracemalloc.start()
    for call in (
        lambda: read(archive=bomb.getvalue()),
        lambda: read(content),
        lambda: read(large),
        lambda: decode(b'{"tensors": [' + b'"",' * 100_000 + b'""]}', ARCHIVE),
    ):
        with pytest.raises(ConstraintError):
            call()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**24


# --- parameters --------------------------------------------------------------------------------------------------


def parameters(**changes):
    """The model with arrays exchanged; a name that ends in __scale is that of a weight's scales."""
    named = {name.replace("__", "."): array for name, array in changes.items()}
    scales = {name.removesuffix(".scale"): array for name, array in named.items() if name.endswith(".scale")}
    return replace(
        MODEL,
        arrays={**MODEL.arrays, **{name: array for name, array in named.items() if not name.endswith(".scale")}},
        scales={**MODEL.scales, **scales},
    )


@pytest.mark.rules("MODEL-C9")
def test_arrays_are_complete():
    def without(mapping, name):
        return {key: value for key, value in mapping.items() if key != name}

    less = replace(MODEL, arrays=without(MODEL.arrays, "stem.b"))
    refused("MODEL-C9", "stem.b has no array; give int32[4]", check_model, less)
    more = replace(MODEL, arrays={**MODEL.arrays, "x": np.zeros(1)})
    refused("MODEL-C9", "the array 'x' belongs to no weight or bias; remove it", check_model, more)
    refused("MODEL-C9", "the array of stem.b is int64[4]; give int32[4]", check_model,
            parameters(stem__b=np.zeros(4, np.int64)))  # fmt: skip
    less = replace(MODEL, scales=without(MODEL.scales, "stem.w"))
    refused("MODEL-C9", "stem.w has no scales; give float32[4]", check_model, less)
    more = replace(MODEL, scales={**MODEL.scales, "stem.b": np.ones(4, np.float32)})
    refused("MODEL-C9", "there are scales for 'stem.b', which is no weight; remove them", check_model, more)
    refused("MODEL-C9", "the scales of stem.w are float32[3]; give float32[4]", check_model,
            parameters(stem__w__scale=np.ones(3, np.float32)))  # fmt: skip
    refused("MODEL-C9", "the scales of block.depthwise.w are float32[3]; give float32[6]", check_model,
            parameters(block__depthwise__w__scale=np.ones(3, np.float32)))  # fmt: skip


@pytest.mark.rules("MODEL-C10")
@pytest.mark.parametrize("scale", [math.nan, 0.0, -0.0, -1.0, math.inf, -math.inf])
def test_scales_of_weights_are_positive_and_finite(scale):
    scales = MODEL.scales["stem.w"].copy()
    scales[2] = scale
    wanted = f"the scale of stem.w, output channel 2, is {scale}; give a positive finite number"
    refused("MODEL-C10", wanted, check_model, parameters(stem__w__scale=scales))
    refused("MODEL-C10", wanted, read, None, {"stem.w.scale": scales})


@pytest.mark.rules("MODEL-C10")
def test_no_weight_is_minus_128():
    weights = MODEL.arrays["stem.w"].copy()
    weights[3, 1, 2, 0] = -128
    refused("MODEL-C10", "stem.w[3, 1, 2, 0] is -128; use weights from -127 to 127", read, None, {"stem.w": weights})


@pytest.mark.rules("MODEL-S1", "MODEL-C5")
def test_multipliers_follow_from_scales():
    graph, constants = MODEL.graph, forward_constants(MODEL)
    assert set(constants) == {tensor.name for tensor in graph.outside() if tensor.role == "constant"}
    for name, value in constants.items():
        assert (value.dtype, value.shape) == (np.float32, graph[name].type.shape)

    def scale(name):
        return graph[name].scale

    for channel, s_w in enumerate(MODEL.scales["stem.w"]):
        exact = scale("x") * float(s_w) / scale("stem.y")
        assert constants["stem.m"][channel] == np.float32(exact)
    assert constants["block.add.m1"] == np.float32(scale("stem.y") / scale("block.add.y"))
    assert constants["block.add.m2"] == np.float32(scale("block.project.y") / scale("block.add.y"))
    assert constants["pool.m"] == np.float32(scale("block.add.y") / scale("pool.y"))
    assert constants["image.m"] == np.float32(scale("image") / scale("x"))
    assert constants["loss.s"] == np.float32(scale("classifier.y"))


@pytest.mark.rules("MODEL-S1")
def test_the_multiplier_of_a_float_image():
    n = Network("floats", {})
    types = n.builder.tensors
    n.image((1, 2, 2, 1), 1.0, 0)
    types["image"] = replace(types["image"], type=replace(types["image"].type, dtype="float32"), scale=None,
                             zero_point=None)  # fmt: skip
    node = n.builder.nodes[0]
    n.builder.nodes[0] = replace(node, function="quantize_input.from_float32", attributes={"y_zero": 0})
    model = with_parameters(n.loss(n.classifier("x", 3)))
    assert forward_constants(model)["image.m"] == np.float32(1 / 0.05)
    assert same_model(decode(*encode(model)), model)


# --- accumulators ------------------------------------------------------------------------------------------------


def biased(value: int, channel: int = 1, scale: float | None = None) -> Model:
    bias, scales = MODEL.arrays["stem.b"].copy(), MODEL.scales["stem.w"].copy()
    bias[channel] = value
    if scale:
        scales[channel] = scale
    return parameters(stem__b=bias, stem__w__scale=scales)


@pytest.mark.rules("MODEL-C6")
@pytest.mark.parametrize("name", ["stem", "block.depthwise", "classifier"])
def test_the_range_of_an_accumulator_is_exact(name):
    node = MODEL.layer_of(f"{name}.w")
    low, high = accumulator_range(MODEL, node)
    weights, bias = MODEL.arrays[f"{name}.w"], MODEL.arrays[f"{name}.b"]
    zero = node.attributes["x_zero"]
    for channel in range(len(bias)):
        mine = weights[..., channel] if "depthwise" in name else weights[channel]
        products = [sorted((int(w) * (-128 - zero), int(w) * (127 - zero))) for w in mine.ravel()]
        assert low[channel] == int(bias[channel]) + sum(least for least, _ in products)
        assert high[channel] == int(bias[channel]) + sum(most for _, most in products)


@pytest.mark.rules("MODEL-C6")
@pytest.mark.parametrize("sign", [1, -1])
def test_the_last_bias_that_cannot_overflow(sign):
    node = MODEL.layer_of("classifier.b")
    low, high = accumulator_range(MODEL, node)
    old = MODEL.arrays["classifier.b"]
    last = 2**31 - 1 - (int(high[1]) - int(old[1])) if sign > 0 else -(2**31) - (int(low[1]) - int(old[1]))

    def biased(bias: int, code: float) -> Model:
        """Channel 1 with a bias, and a scale at which the middle of its range is ``code``."""
        biases, scales = old.copy(), MODEL.scales["classifier.w"].copy()
        biases[1] = bias
        x, y = (MODEL.graph[name].scale for name in ("pool.y", "classifier.y"))
        scales[1] = code / (bias + (int(low[1]) + int(high[1])) / 2 - int(old[1])) * y / x
        return parameters(classifier__b=biases, classifier__w__scale=scales)

    halfway = sign * 100.5  # so the codes at the ends of the range differ
    assert same_model(fold_degenerate_channels(biased(last, halfway)), biased(last, halfway))
    refused("MODEL-C6", "output channel 1 of classifier can reach ", check_model, biased(last + sign, halfway))
    refused("MODEL-C6", "outside an int32 accumulator; reduce its bias or its weights", check_model,
            biased(last + sign, halfway))  # fmt: skip
    constant = fold_degenerate_channels(biased(last + sign, sign * 100.25))
    assert not constant.arrays["classifier.w"][1].any()


@pytest.mark.rules("MODEL-C6", "MODEL-S2")
@pytest.mark.parametrize("bias", [2**31 - 1, -(2**31)])
def test_a_constant_channel_is_folded_and_computes_what_it_did(bias):
    model = biased(bias, scale=1e-3)
    folded = fold_degenerate_channels(model)
    assert not folded.arrays["stem.w"][1].any()
    untouched = [0, 2, 3]
    np.testing.assert_array_equal(folded.arrays["stem.w"][untouched], model.arrays["stem.w"][untouched])
    assert folded.arrays["stem.b"][1] == bias
    assert same_model(fold_degenerate_channels(folded), folded), "folding is idempotent"
    assert same_model(decode(*encode(model)), folded)
    assert encode(model) == encode(folded)
    graph = replace(model.graph, outputs=("stem.y", "stem.mask", "loss"))
    for seed in range(3):
        image = np.random.default_rng(seed).integers(0, 256, (1, 6, 5, 1)).astype(np.uint8)
        given = {**forward_constants(model), "image": image, "target": np.int32([0])}
        before = run(graph, {**given, **model.arrays})
        after = run(graph, {**given, **folded.arrays})
        for name in graph.outputs:
            assert before[name].tobytes() == after[name].tobytes()
    node = folded.layer_of("stem.w")
    assert trainable_channels(folded, node).tolist() == [True, False, True, True]
    assert qas_weight(folded, "stem.w")[1] == 0
    assert qas_bias(folded, "stem.b")[1] == 0


@pytest.mark.rules("MODEL-S2")
def test_a_constant_depthwise_channel_is_folded():
    bias = MODEL.arrays["block.depthwise.b"].copy()
    bias[5] = 2**31 - 1
    folded = fold_degenerate_channels(parameters(block__depthwise__b=bias))
    assert not folded.arrays["block.depthwise.w"][..., 5].any()
    np.testing.assert_array_equal(
        folded.arrays["block.depthwise.w"][..., :5], MODEL.arrays["block.depthwise.w"][..., :5]
    )


@pytest.mark.rules("MODEL-C6")
def test_a_layer_of_too_many_products_cannot_train():
    model = replace(MODEL, arrays={**MODEL.arrays, "classifier.w": np.zeros((3, 140_000), np.int8)})
    refused("MODEL-C6", "classifier adds 140000 products and could overflow an int32 accumulator with some weights",
            bias_limit, model, model.layer_of("classifier.w"))  # fmt: skip


@pytest.mark.rules("MODEL-C7")
def test_factors_of_the_update_are_normal():
    tiny = biased(0, scale=1e-21)
    refused("MODEL-C7", "channel 1 of stem.w has the scale 9.99", qas_weight, tiny, "stem.w")
    refused("MODEL-C7", "channel 1 of stem.b has the scale ", qas_bias, tiny, "stem.b")
    refused("MODEL-C7", "; choose a scale between 2^-63 and 2^62", qas_bias, biased(0, scale=1e25), "stem.b")
    assert (qas_weight(tiny, "stem.w", qas=False) == 1).all()
    np.testing.assert_array_equal(
        qas_weight(MODEL, "stem.w"), (1 / MODEL.scales["stem.w"].astype(np.float64) ** 2).astype(np.float32)
    )


def test_a_pair_of_files_may_be_renamed_together(tmp_path):
    save(MODEL, tmp_path / "a.json")
    for ending in (".json", ".npz"):
        shutil.move(tmp_path / f"a{ending}", tmp_path / f"b{ending}")
    assert same_model(load(tmp_path / "b.json"), MODEL)
