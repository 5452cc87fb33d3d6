"""Whatever a model file, a scheme or a graph's text says: it is read for what it says, or refused in one line.

The mutations start from good files, so that most of what they hold is right and the checks are reached that lie deep.
"""

import copy
import hashlib
import io
import json
import math
import resource
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from goldgrad import GoldgradError
from goldgrad.autodiff import differentiate
from goldgrad.graph import Graph, validate
from goldgrad.graph_text import parse_graph, print_graph
from goldgrad.interpreter import run
from goldgrad.model import Model, fold_degenerate_channels, forward_constants
from goldgrad.model_file import encode, load
from goldgrad.models._network import Network
from goldgrad.ops import FUNCTIONS
from goldgrad.optimizers import OPTIMIZERS
from goldgrad.sparse import FULL, Scheme, apply, load_scheme, parse_scheme
from goldgrad.training import Session
from networks import small_model

MODEL = small_model()
DOCUMENT, ARCHIVE = encode(MODEL)
CONTENT = json.loads(DOCUMENT)
ARRAYS = {**MODEL.arrays, **{f"{name}.scale": scale for name, scale in MODEL.scales.items()}}
SECONDS, MEGABYTES = 5, 400
"""The most that one refusal may take: far more than it does, on any machine."""
MORE = 10 if settings().max_examples > 1000 else 1  # make deep


def mutations(count: int) -> settings:
    return settings(max_examples=count * MORE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("models")


def load_bytes(folder: Path, document: bytes, archive: bytes) -> Model | None:
    """The model in a pair of files, or None if it is refused as it should be; nothing else may happen."""
    files = {"m.json": document, "m.npz": archive}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    start = time.perf_counter()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        return load(folder / "m.json")
    except GoldgradError as error:
        check_message(error)
        assert str(error).split(": ")[1] in files, "it says in which file"
        event(getattr(error, "rule", "no rule"))
        return None
    finally:
        assert time.perf_counter() - start < SECONDS
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < MEGABYTES * 1024
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == files, "nothing is written"


def check_message(error: GoldgradError) -> None:
    """One line, not endless, with a fault and a remedy."""
    text = str(error)
    assert len(text.splitlines()) == 1
    assert len(text) < 700
    fault, _, remedy = text.partition("; ")
    assert fault
    assert remedy


def declare(content: dict, archive: bytes) -> bytes:
    declared = {**content, "arrays": {"bytes": len(archive), "sha256": hashlib.sha256(archive).hexdigest()}}
    return json.dumps(declared).encode()


def says(model: Model) -> dict:
    """What a model's file would say, without the digest."""
    return {key: value for key, value in json.loads(encode(model)[0]).items() if key != "arrays"}


def check_meaning(model: Model, document: bytes, archive: bytes) -> None:
    """The model is what the files say (numpy's reader and json agree), and it can be used."""
    content = json.loads(document)
    content.pop("arrays")
    assert says(model) == content
    with np.load(io.BytesIO(archive), allow_pickle=False) as arrays:
        named = {name: arrays[name] for name in arrays.files}
    scales = {name.removesuffix(".scale"): array for name, array in named.items() if name.endswith(".scale")}
    parameters = {name: array for name, array in named.items() if not name.endswith(".scale")}
    expected = fold_degenerate_channels(Model(model.graph, parameters, scales))
    for ours, theirs in ((model.arrays, expected.arrays), (model.scales, expected.scales)):
        assert ours.keys() == theirs.keys()
        for name, array in theirs.items():
            np.testing.assert_array_equal(ours[name], array, strict=True)
    check_use(model)


def check_use(model: Model) -> None:
    """It runs on any sample, and trains or says why not."""
    if sum(tensor.nbytes for tensor in model.graph.tensors.values()) > 2**18:
        return
    samples = {t.name: np.zeros(t.type.shape, t.type.dtype) for t in model.graph.outside() if t.role == "input"}
    run(model.graph, {**forward_constants(model), **model.arrays, **samples})
    try:
        Session(model, FULL).step(samples, 0.01)
    except GoldgradError as error:
        check_message(error)


# --- bytes -------------------------------------------------------------------------------------------------------


@st.composite
def byte_changes(draw, content: bytes) -> bytes:
    """The content with one to three flips, cuts, insertions or repetitions."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(changed) - 1, 0)))
        length = draw(st.integers(1, 40))
        match draw(st.sampled_from(["flip", "set", "cut", "insert", "repeat", "truncate", "exchange"])):
            case "flip" if changed:
                changed[at] ^= 1 << draw(st.integers(0, 7))
            case "set" if changed:
                changed[at] = draw(st.sampled_from([*range(256), *b'0123456789-.eE"[]{}:,']))
            case "cut":
                del changed[at : at + length]
            case "insert":
                changed[at:at] = draw(st.binary(min_size=1, max_size=20))
            case "repeat":
                changed[at:at] = changed[at : at + length]
            case "truncate":
                del changed[at:]
            case "exchange" if changed:
                other = draw(st.integers(0, len(changed) - 1))
                changed[at], changed[other] = changed[other], changed[at]
    return bytes(changed)


@pytest.mark.rules("MODEL-I1", "MODEL-I2", "MODEL-I6", "MODEL-S5", "MODEL-F2")
@mutations(500)
@given(document=byte_changes(DOCUMENT))
def test_bytes_of_the_document(folder, document):
    model = load_bytes(folder, document, ARCHIVE)
    if model is not None:
        check_meaning(model, document, ARCHIVE)


@pytest.mark.rules("MODEL-I6", "MODEL-I7", "MODEL-S5", "MODEL-F2")
@mutations(500)
@given(archive=byte_changes(ARCHIVE), declared=st.sampled_from(["no", "yes", "yes", "size"]))
def test_bytes_of_the_archive(folder, archive, declared):
    document = DOCUMENT if declared == "no" else declare(CONTENT, archive)
    if declared == "size":
        document = document.replace(b'"sha256": "', b'"sha256": "0', 1)
    model = load_bytes(folder, document, archive)
    if model is not None:
        check_meaning(model, document, archive)
        assert archive == ARCHIVE or declared == "yes"


# --- structure ---------------------------------------------------------------------------------------------------


def places(content: object, path: tuple = ()) -> list[tuple]:
    """The path of every value in a document."""
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [path, *(found for key, value in inner for found in places(value, (*path, key)))]


PLACES = [path for path in places(CONTENT) if path]
NUMBERS = [0, -0.0, 1, -1, 2, 3, 127, 128, -128, -129, 255, 256, 2**15, 2**16, 2**26, 2**31 - 1, 2**31, -(2**31), 2**63,
           10**18, 0.5, 1.5, 1e-45, 1e-38, 1e-300, 5e-324, 1e38, 1e300, math.pi]  # fmt: skip
NAMES = [*(tensor["name"] for tensor in CONTENT["tensors"]), "none", "", "lr", "w", "x.new", "../x", "a\nb", "\ud800"]
TEXTS = [*NAMES, *FUNCTIONS, "int8", "uint8", "int32", "float32", "float64", "weight", "bias", "input", "constant",
         "activation", "mask", "saved", "gradient", "loss", "state", "rate", "parameter"]  # fmt: skip
KEYS = ["name", "dtype", "shape", "role", "scale", "zero_point", "inputs", "attributes", "x_zero", "stride", "more", ""]
ODD = st.one_of(
    st.sampled_from(NUMBERS),
    st.sampled_from(TEXTS),
    st.sampled_from([None, True, False, [], {}, [[]], [None], {"a": 1}, [1, 2], [1, 1, 1, 1], "x" * 5000]),
    st.integers(-(10**25), 10**25),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
)
HOW = [
    "near",
    "near",
    "near",
    "everywhere",
    "everywhere",
    "odd",
    "other",
    "drop",
    "repeat",
    "rename",
    "wrap",
    "exchange",
]
NEAR = {int: st.integers(-5, 5), float: st.floats(0.25, 4)}
"""How far a number is moved, or by what it is multiplied, to stay near what it was."""


def change(draw, content: dict) -> None:  # noqa: PLR0912
    """One change of a document's structure, in place."""
    path = draw(st.sampled_from([path for path in places(content) if path]))
    place = content
    for key in path[:-1]:
        place = place[key]
    key, value = path[-1], place[path[-1]]
    match draw(
        st.sampled_from(["near", "near", "odd", "odd", "other", "drop", "repeat", "rename", "wrap", "exchange"])
    ):
        case "near" if type(value) in NEAR:
            by = draw(NEAR[type(value)])
            place[key] = value + by if isinstance(value, int) else value * by
        case "near" if isinstance(value, str):
            same = [
                other for other in TEXTS if type(other) is str and other.partition(".")[0] == value.partition(".")[0]
            ]
            place[key] = draw(st.sampled_from(same or TEXTS))
        case "near" | "odd":
            place[key] = draw(ODD)
        case "everywhere" if isinstance(value, str | int | float):
            new = draw(st.sampled_from(NAMES)) if isinstance(value, str) else draw(st.sampled_from(NUMBERS))
            text = json.dumps(content).replace(json.dumps(value), json.dumps(new))
            try:
                changed = json.loads(text)
            except json.JSONDecodeError:
                return
            content.clear()
            content.update(changed)
        case "other":
            other = content
            for step in draw(st.sampled_from(PLACES)):
                try:
                    other = other[step]
                except (KeyError, IndexError, TypeError):
                    return
            place[key] = copy.deepcopy(other)
        case "drop":
            del place[key]
        case "repeat" if isinstance(place, list):
            place.insert(draw(st.integers(0, len(place))), copy.deepcopy(value))
        case "repeat" | "rename" if isinstance(place, dict):
            place[draw(st.sampled_from(KEYS))] = copy.deepcopy(value)
            if draw(st.booleans()):
                place.pop(key)
        case "wrap":
            place[key] = draw(st.sampled_from([[value], {"value": value}, [value, value], str(value)]))
        case "exchange" if isinstance(place, list):
            other = draw(st.integers(0, len(place) - 1))
            place[key], place[other] = place[other], place[key]


@st.composite
def documents(draw) -> dict:
    content = copy.deepcopy(CONTENT)
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        if content:
            change(draw, content)
    return content


@pytest.mark.rules("MODEL-I3", "MODEL-I4", "MODEL-I5", "MODEL-S5", "MODEL-C1", "MODEL-C2", "MODEL-C3", "MODEL-C11")
@mutations(1000)
@given(content=documents())
def test_structure_of_the_document(folder, content):
    document = json.dumps(content).encode()
    model = load_bytes(folder, document, ARCHIVE)
    if model is not None:
        check_meaning(model, document, ARCHIVE)


# --- arrays ------------------------------------------------------------------------------------------------------

VALUES = {
    np.dtype("int8"): [-128, -127, -1, 0, 1, 127],
    np.dtype("int32"): [-(2**31), 2**31 - 1, -(2**31) + 10**6, 2**31 - 10**6, 0, 10**6],
    np.dtype("float32"): [np.nan, np.inf, -np.inf, 0, -0.0, -1, 1e-45, 1e-38, 1e-20, 1e-12, 1e20, 3e38, 0.01, 1],
}


DTYPES = ["int8", "uint8", "int16", "int32", ">i4", "int64", "float32", "float64", ">f4", "bool", "U4", "O"]


@st.composite
def archives(draw) -> bytes:
    """An archive with one or two arrays that have another value, type, shape, layout or place."""
    arrays = {name: array.copy() for name, array in ARRAYS.items()}
    for _ in range(draw(st.integers(1, 2))):
        name = draw(st.sampled_from(sorted(arrays)))
        array = arrays[name]
        match draw(
            st.sampled_from(["value", "value", "value", "value", "all", "dtype", "shape", "order", "drop", "add"])
        ):
            case "value" if array.dtype in VALUES and array.size:
                index = draw(st.integers(0, array.size - 1))
                array.reshape(-1)[index] = draw(st.sampled_from(VALUES[array.dtype]))
            case "all" if array.dtype in VALUES:
                array[...] = draw(st.sampled_from(VALUES[array.dtype]))
            case "dtype":
                arrays[name] = ARRAYS[name].astype(draw(st.sampled_from(DTYPES)))
            case "shape":
                shapes = [(-1,), (1, -1), (-1, 1), array.shape[::-1], (*array.shape, 1), (array.size, 1, 1, 1)]
                arrays[name] = array.reshape(draw(st.sampled_from(shapes)))
                if draw(st.booleans()):
                    arrays[name] = arrays[name][1:]
            case "order":
                arrays[name] = np.asfortranarray(array)
            case "drop":
                del arrays[name]
            case "add":
                arrays[draw(st.sampled_from([f"{name}.scale", f"{name}.more", "x", "../x", "a b"]))] = array
    buffer = io.BytesIO()
    np.savez(buffer, **arrays) if draw(st.integers(0, 9)) else np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


@pytest.mark.rules("MODEL-I7", "MODEL-C5", "MODEL-C6", "MODEL-C9", "MODEL-C10", "MODEL-S2")
@mutations(300)
@given(archive=archives())
def test_arrays(folder, archive):
    document = declare(CONTENT, archive)
    model = load_bytes(folder, document, archive)
    if model is not None:
        check_meaning(model, document, archive)


@pytest.mark.rules("MODEL-I7")
@mutations(50)
@given(data=st.data())
def test_members_that_lie_about_themselves(folder, data):
    """Directory entries of the archive with other sizes, offsets, flags and methods than are true."""
    archive = bytearray(ARCHIVE)
    entries = [at for at in range(len(ARCHIVE) - 3) if ARCHIVE[at : at + 4] in (b"PK\1\2", b"PK\3\4", b"PK\5\6")]
    at = data.draw(st.sampled_from(entries)) + data.draw(st.integers(4, 45))
    value = data.draw(st.sampled_from([0, 1, 8, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, len(ARCHIVE), 2**20]))
    archive[at : at + 4] = value.to_bytes(4, "little")
    archive = bytes(archive[: len(ARCHIVE)])
    document = declare(CONTENT, archive)
    model = load_bytes(folder, document, archive)
    if model is not None:
        check_meaning(model, document, archive)


def test_the_good_files_pass_the_same_checks(folder):
    model = load_bytes(folder, DOCUMENT, ARCHIVE)
    assert model is not None
    check_meaning(model, DOCUMENT, ARCHIVE)
    assert zipfile.ZipFile(io.BytesIO(ARCHIVE)).testzip() is None


# --- schemes -----------------------------------------------------------------------------------------------------

TRAINING = differentiate(MODEL.graph, "loss")
GOOD_SCHEME = b"""biases = 3
selector = "first-k"
head = "bias"
[weights]
stem = 1.0
"block.expand" = 0.5
"block.project" = [0, 3]
"block.depthwise" = { ratio = 0.25, axis = "channel" }
"""
LAYERS = ["stem", "block.expand", "block.depthwise", "block.project", "classifier", "none", ""]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 8),
    st.integers(),
    st.floats(),
    st.sampled_from(["all", "train", "bias", "first-k", "largest-norm", "input", "channel", "x\ny"]),
)
LISTS = st.lists(st.integers(0, 5), min_size=1, max_size=4, unique=True).map(sorted)
RATIOS = st.floats(0, 1, exclude_min=True)
AXES = st.sampled_from(["input", "channel"])
CHOICES = st.one_of(
    RATIOS,
    LISTS,
    st.fixed_dictionaries({"ratio": RATIOS}, optional={"axis": AXES}),
    st.fixed_dictionaries({"channels": LISTS}, optional={"axis": AXES}),
)
ODD_CHOICES = st.one_of(
    SCALARS,
    st.lists(st.one_of(st.integers(-1, 8), SCALARS), max_size=4),
    st.dictionaries(st.sampled_from(["axis", "ratio", "channels", "more"]), st.one_of(SCALARS, LISTS), max_size=3),
)
GOOD = {
    "name": st.just("mine"),
    "biases": st.one_of(st.integers(0, 4), st.just("all")),
    "selector": st.sampled_from(["first-k", "largest-norm"]),
    "head": st.sampled_from(["train", "bias", "frozen"]),
    "weights": st.one_of(st.just("all"), st.dictionaries(st.sampled_from(LAYERS[:4]), CHOICES, max_size=4)),
}
ODD_PARTS = st.one_of(
    st.fixed_dictionaries({"weights": st.dictionaries(st.sampled_from(LAYERS), ODD_CHOICES, min_size=1, max_size=2)}),
    st.dictionaries(st.sampled_from([*GOOD, "more"]), SCALARS, min_size=1, max_size=1),
)
SCHEMES = st.one_of(
    st.fixed_dictionaries({}, optional=GOOD),
    st.tuples(st.fixed_dictionaries({}, optional=GOOD), ODD_PARTS).map(lambda parts: {**parts[0], **parts[1]}),
)


def apply_or_refuse(make) -> None:
    """A scheme makes a valid training graph or is refused in one line."""
    try:
        scheme = make()
        assert isinstance(scheme, Scheme)
        graph, lists = apply(MODEL, TRAINING, scheme)
    except GoldgradError as error:
        check_message(error)
        event(getattr(error, "rule", "no rule"))
        return
    assert validate(graph) is graph
    for name, channels in lists.items():
        assert graph[name].type.shape == channels.shape
        assert (np.diff(channels) > 0).all()


@pytest.mark.rules("SCHEME-I2", "SCHEME-C1", "SCHEME-C2", "SCHEME-C3", "SCHEME-C4", "SCHEME-C5")
@mutations(300)
@given(document=SCHEMES)
def test_schemes(document):
    apply_or_refuse(lambda: parse_scheme(document, "mine"))


@pytest.mark.rules("SCHEME-I1")
@mutations(200)
@given(content=st.one_of(byte_changes(GOOD_SCHEME), st.binary(max_size=60), st.text(max_size=60).map(str.encode)))
def test_bytes_of_schemes(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "mine.toml"
    path.write_bytes(content)
    apply_or_refuse(lambda: load_scheme(path))
    assert path.read_bytes() == content


# --- graphs as text ----------------------------------------------------------------------------------------------


@st.composite
def graphs(draw) -> Graph:
    """A network of random layers, forward or with its backward pass and updates."""
    n = Network(draw(st.from_regex(r"[a-z][a-z0-9_.-]{0,5}", fullmatch=True)), {})
    n.default = (draw(st.floats(1e-6, 1e6)), draw(st.integers(-128, 127)))
    x = n.image((draw(st.integers(1, 2)), draw(st.integers(3, 6)), draw(st.integers(3, 6)), 2), 0.5, 3)
    for index in range(draw(st.integers(0, 3))):
        match draw(st.sampled_from(["conv", "depthwise", "block"])):
            case "conv":
                x = n.conv(
                    f"l{index}", x, draw(st.integers(1, 9)), draw(st.sampled_from([1, 3])), relu=draw(st.booleans())
                )
            case "depthwise":
                x = n.depthwise(f"l{index}", x, 3, draw(st.integers(1, 2)))
            case "block":
                x = n.inverted_bottleneck(f"l{index}", x, 3, n.shape(x)[3], 3)
    graph = n.loss(n.classifier(n.global_average(x), 2))
    return differentiate(graph, "loss", draw(st.sampled_from(sorted(OPTIMIZERS)))) if draw(st.booleans()) else graph


@pytest.mark.rules("MODEL-S6")
@mutations(100)
@given(graph=graphs(), scale=st.floats(min_value=5e-324, allow_nan=False))
def test_a_graph_survives_its_text(graph, scale):
    name = next(iter(graph.tensors))
    graph = replace(graph, tensors={**graph.tensors, name: replace(graph[name], scale=scale)})
    text = print_graph(graph)
    assert parse_graph(text) == graph
    assert print_graph(parse_graph(text)) == text


@pytest.mark.rules("MODEL-I8")
@mutations(300)
@given(text=byte_changes(print_graph(TRAINING).encode()))
def test_bytes_of_texts(text):
    try:
        graph = parse_graph(text.decode("utf-8", "replace"))
        assert parse_graph(print_graph(graph)) == graph
        assert validate(graph) is graph
    except GoldgradError as error:
        check_message(error)
