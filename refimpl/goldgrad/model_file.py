"""goldgrad's own model format: NAME.json says what the model is, NAME.npz holds its arrays (specs/model-format.md).

A file is believed in nothing: every size is checked against what is declared before memory is taken for it, and
every fault is one :class:`~goldgrad.errors.ConstraintError` that names the thing and the remedy.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .errors import ConstraintError, require, show
from .graph import DTYPES, Graph, Node, Tensor, validate
from .model import Model
from .model_check import check_model, check_roles, scale_types
from .numerics import Array
from .ops import FUNCTIONS, Type
from .rules import rule

FORMAT, VERSION = "goldgrad model", 1
JSON_BYTES = 2**22
"""Most bytes of NAME.json."""
ARRAY_BYTES = 2**26
"""Most bytes of all arrays together, and of any one tensor."""
ITEMS = 10_000
"""Most tensors, and most nodes."""
MEMBER_BYTES = 1024
"""Most bytes that an archive spends on a member besides its array: zip headers, name, npy header."""
LARGEST = 2**16 - 1
"""Largest number in a node's attributes, either sign."""
RESERVED = ("new", "q", "limit", "saved", "channels", "scale", "master", "velocity", "seed")
"""Last words of the names that differentiation, update schemes and the archive give ..."""
RESERVED_WHOLE = ("lr", "mu", "step")
"""... and whole names."""


@rule("MODEL-S3", "MODEL-F1")
def save(model: Model, path: str | Path) -> None:
    """Write ``path`` (NAME.json) and NAME.npz beside it; the same model gives the same bytes.

    Raises :class:`~goldgrad.errors.ConstraintError` and writes nothing if the model could not be loaded again.
    """
    path = _json_path(path)
    document, archive = encode(model)
    decode(document, archive)  # what is written can be read
    _write({path.with_suffix(".npz"): archive, path: document})


@rule("MODEL-S5", "MODEL-F2")
def load(path: str | Path) -> Model:
    """Read the model in ``path`` (NAME.json) and NAME.npz beside it: checked, with degenerate channels folded.

    Raises :class:`~goldgrad.errors.ConstraintError` naming the first fault; writes nothing.
    """
    path = _json_path(path)
    arrays = path.with_suffix(".npz")
    with naming(path):
        declared = _declare(read_bytes(path, JSON_BYTES))
    with naming(arrays):
        content = _extract(read_bytes(arrays, declared.nbytes), declared)
    with naming(path):
        return _model(declared, content)


def encode(model: Model) -> tuple[bytes, bytes]:
    """The bytes of NAME.json and NAME.npz; degenerate channels are folded first."""
    model = check_model(model)
    archive = _zip(_arrays(model))
    document = {
        "format": FORMAT,
        "version": VERSION,
        "name": model.graph.name,
        "arrays": {"bytes": len(archive), "sha256": hashlib.sha256(archive).hexdigest()},
        "tensors": [_tensor_entry(tensor) for tensor in model.graph.tensors.values()],
        "nodes": [_node_entry(node) for node in model.graph.nodes],
        "outputs": list(model.graph.outputs),
    }
    return _json(document), archive


def decode(document: bytes, archive: bytes) -> Model:
    """The model that the bytes of NAME.json and NAME.npz hold; every fault is a ConstraintError."""
    declared = _declare(document)
    return _model(declared, _extract(archive, declared))


# --- writing -----------------------------------------------------------------------------------------------------


def _json(document: Mapping[str, Any]) -> bytes:
    """JSON with sorted keys, one entry of a list a line; numbers as ``repr`` writes them, which is exact."""

    def line(value: Any) -> str:
        return json.dumps(value, sort_keys=True, allow_nan=False)

    def block(value: Any) -> str:
        return "[\n  " + ",\n  ".join(map(line, value)) + "\n ]" if isinstance(value, list) and value else line(value)

    return ("{\n " + ",\n ".join(f"{line(key)}: {block(document[key])}" for key in sorted(document)) + "\n}\n").encode()


def _tensor_entry(tensor: Tensor) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "dtype": tensor.type.dtype,
        "shape": list(tensor.type.shape),
        "role": tensor.role,
        "scale": None if tensor.scale is None else float(tensor.scale),
        "zero_point": tensor.zero_point,
    }


def _node_entry(node: Node) -> dict[str, Any]:
    return {
        "function": node.function,
        "inputs": list(node.inputs),
        "outputs": list(node.outputs),
        "attributes": {k: list(v) if isinstance(v, tuple) else v for k, v in node.attributes.items()},
    }


def _arrays(model: Model) -> dict[str, Array]:
    """Parameters by name, scales by ``<weight>.scale``."""
    return {**model.arrays, **{f"{weight}.scale": scales for weight, scales in model.scales.items()}}


@rule("MODEL-S4")
def _zip(arrays: Mapping[str, Array]) -> bytes:
    """An npz archive whose bytes depend on the arrays alone: members stored, in order of name, with one date."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            member.create_system, member.external_attr = 3, 0o644 << 16
            archive.writestr(member, _npy(np.ascontiguousarray(arrays[name])))
    return buffer.getvalue()


NPY = b"\x93NUMPY\x01\x00"
"""How an npy file of version 1.0 begins; two bytes follow that say how long its header is, and the header."""


def _npy(array: Array) -> bytes:
    header = _npy_header(Type.of(array))
    header += " " * (-(len(NPY) + 3 + len(header)) % 64) + "\n"
    content = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return NPY + len(header).to_bytes(2, "little") + header.encode() + content.tobytes()


def _npy_header(type_: Type) -> str:
    """The text of an npy header, without the blanks at its end."""
    descr = np.dtype(type_.dtype).newbyteorder("<").str
    return str({"descr": descr, "fortran_order": False, "shape": type_.shape})[:-1] + ", }"


def _write(files: Mapping[Path, bytes]) -> None:
    """Write every file beside its place, then move all into place; on an error nothing is left behind."""
    beside = {path: path.with_name(f".{path.name}.{os.getpid()}.part") for path in files}
    try:
        for path, content in files.items():
            require(not path.is_dir(), "MODEL-F1", f"{path} is a directory", "give the name of a file")
            beside[path].write_bytes(content)
        for path, part in beside.items():
            part.replace(path)
    except OSError as error:
        raise ConstraintError(
            "MODEL-F1", f"cannot write {error.filename} ({error.strerror})", "give a place that can be written"
        ) from None
    finally:
        for part in beside.values():
            with suppress(OSError):
                part.unlink(missing_ok=True)


# --- reading: files ----------------------------------------------------------------------------------------------


def _json_path(path: str | Path) -> Path:
    path = Path(path)
    require(
        path.suffix == ".json" and str(path).isprintable(),
        "MODEL-I1",
        f"{show(str(path))} is no model file",
        "give the name of its .json file",
    )
    return path


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Say in which file a fault is."""
    try:
        yield
    except ConstraintError as error:
        raise ConstraintError(error.rule, f"{path.name}: {error.fault}", error.remedy) from None


@rule("MODEL-I1", "MODEL-I5")
def read_bytes(path: Path, limit: int) -> bytes:
    """The bytes of a file; one byte past ``limit`` is enough to refuse it."""
    try:
        require(path.is_file(), "MODEL-I1", "there is no such file", "give a model's .json, with its .npz beside it")
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise ConstraintError("MODEL-I1", f"it cannot be read ({error.strerror})", "see its permissions") from None
    require(
        len(content) <= limit,
        "MODEL-I5",
        f"it is larger than {limit} bytes",
        "give the file that was saved, and see the limits in specs/model-format.md",
    )
    return content


# --- reading: the document ---------------------------------------------------------------------------------------

SAVE_AGAIN = "save the model again"


@dataclass(frozen=True)
class _Declared:
    """What NAME.json says: the graph, and of the archive its size, its digest, and the type of each array."""

    graph: Graph
    nbytes: int
    sha256: str
    arrays: Mapping[str, Type]


def _declare(document: bytes) -> _Declared:
    content = _parse(document)
    _check_version(content)
    _check_keys("the document", content, "format version name arrays tensors nodes outputs")
    tensors = [_tensor(position, entry) for position, entry in enumerate(_items(content, "tensors"))]
    _check_names([tensor.name for tensor in tensors])
    graph = Graph(
        _text("name", content["name"]),
        {tensor.name: tensor for tensor in tensors},
        tuple(_node(position, entry) for position, entry in enumerate(_items(content, "nodes"))),
        tuple(_text("an output", name) for name in _items(content, "outputs")),
    )
    check_roles(validate(graph))
    archive = content["arrays"]
    _check_keys("arrays", archive, "bytes sha256")
    declared = _Declared(graph, archive["bytes"], _text("sha256", archive["sha256"]), _declared_arrays(graph))
    _check_size(declared)
    return declared


@rule("MODEL-I2")
def _parse(document: bytes) -> Any:
    """The JSON document: UTF-8, no key twice, no NaN or infinity, no endless nesting or numbers."""
    require(len(document) <= JSON_BYTES, "MODEL-I5", f"the JSON is larger than {JSON_BYTES} bytes", "split the model")
    try:
        return json.loads(
            document.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_float,
            parse_float=_float,
            parse_int=_integer,
        )
    except UnicodeDecodeError as error:
        raise ConstraintError("MODEL-I2", f"byte {error.start} is not UTF-8", SAVE_AGAIN) from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ConstraintError("MODEL-I2", f"{where} is not JSON ({error.msg})", SAVE_AGAIN) from None
    except RecursionError:
        raise ConstraintError("MODEL-I2", "the JSON is nested too deep", SAVE_AGAIN) from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        twice = next(key for position, (key, _) in enumerate(pairs) if key in dict(pairs[:position]))
        raise ConstraintError("MODEL-I2", f"an object has the key {show(twice)} twice", "keep one")
    return content


def _integer(digits: str) -> int:
    require(len(digits) <= 20, "MODEL-I2", f"a number has {len(digits)} digits", "use at most 19")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    require(math.isfinite(value), "MODEL-I2", f"a number is {digits[:20]}", "use finite numbers")
    return value


@rule("MODEL-I3")
def _check_version(content: Any) -> None:
    require(isinstance(content, dict), "MODEL-I3", f"the document is {show(content)}", "give a goldgrad model")
    format_ = content.get("format")
    require(format_ == FORMAT, "MODEL-I3", f"the format is {show(format_)}", f"give a file of the format {FORMAT!r}")
    version = content.get("version")
    require(
        type(version) is int and version == VERSION,
        "MODEL-I3",
        f"the version is {show(version)}",
        f"this goldgrad reads version {VERSION}; save the model with it",
    )


@rule("MODEL-I4")
def _check_keys(what: str, entry: Any, keys: str) -> None:
    """``entry`` is an object with exactly the keys that ``keys`` lists."""
    wanted = keys.split()
    _check(isinstance(entry, dict), what, entry, f"give an object with {keys}")
    for key in wanted:
        require(key in entry, "MODEL-I4", f"{what} lacks {key}", f"give {keys}")
    for key in set(entry) - set(wanted):
        raise ConstraintError("MODEL-I4", f"{what} has the key {show(key)}", f"give {keys}")


def _check(holds: bool, what: str, value: Any, remedy: str) -> None:
    if not holds:
        raise ConstraintError("MODEL-I4", f"{what} is {show(value)}", remedy)


def _items(content: Mapping[str, Any], key: str) -> list[Any]:
    items = content[key]
    _check(isinstance(items, list), key, items, "give a list")
    require(len(items) <= ITEMS, "MODEL-I5", f"{key} has {len(items)} entries", f"give at most {ITEMS}")
    return list(items)


def _text(what: str, value: Any) -> str:
    _check(isinstance(value, str), what, value, "give text")
    return str(value)


def _tensor(position: int, entry: Any) -> Tensor:
    what = f"tensor {position}"
    _check_keys(what, entry, "name dtype shape role scale zero_point")
    what = f"{what} ({show(entry['name'])})"
    shape, scale, zero = entry["shape"], entry["scale"], entry["zero_point"]
    _check(entry["dtype"] in DTYPES, f"dtype of {what}", entry["dtype"], f"give {', '.join(DTYPES)}")
    _check(
        isinstance(shape, list)
        and 1 <= len(shape) <= 4
        and all(type(n) is int and 1 <= n <= ARRAY_BYTES for n in shape),
        f"shape of {what}",
        shape,
        "give one to four sizes of at least 1",
    )
    nbytes = math.prod(shape) * np.dtype(entry["dtype"]).itemsize
    require(nbytes <= ARRAY_BYTES, "MODEL-I5", f"{what} has {nbytes} bytes", f"give at most {ARRAY_BYTES}")
    number = scale is None or (type(scale) in (int, float) and float(scale) == scale)
    _check(number, f"scale of {what}", scale, "give a number or null")
    _check(zero is None or type(zero) is int, f"zero_point of {what}", zero, "give an integer or null")
    return Tensor(
        _text(f"name of {what}", entry["name"]),
        Type(tuple(shape), entry["dtype"]),
        _text(f"role of {what}", entry["role"]),
        None if scale is None else float(scale),
        zero,
    )


@rule("MODEL-C11")
def _check_names(names: list[str]) -> None:
    """Names are words, no two are equal, and none is one that differentiation or the archive gives."""
    seen: set[str] = set()
    for name in names:
        require(name not in seen, "MODEL-C11", f"two tensors are named {show(name)}", "give each a name of its own")
        seen.add(name)
        require(
            name not in RESERVED_WHOLE and name.rpartition(".")[2] not in RESERVED,
            "MODEL-C11",
            f"a tensor is named {show(name)}",
            f"keep {', '.join(RESERVED_WHOLE)}, .{', .'.join(RESERVED)} free for training",
        )


def _node(position: int, entry: Any) -> Node:
    what = f"node {position}"
    _check_keys(what, entry, "function inputs outputs attributes")
    function, attributes = entry["function"], entry["attributes"]
    _check(isinstance(function, str) and function in FUNCTIONS, f"function of {what}", function, "see `goldgrad spec`")
    for key in ("inputs", "outputs"):
        names = entry[key]
        _check(
            isinstance(names, list) and all(name is None or isinstance(name, str) for name in names),
            f"{key} of {what}",
            names,
            "give a list of tensor names",
        )
    _check(isinstance(attributes, dict), f"attributes of {what}", attributes, "give an object")
    for name, value in attributes.items():
        values = value if isinstance(value, list) else [value]
        _check(
            all(type(number) is int and abs(number) <= LARGEST for number in values),
            f"attribute {show(name)} of {what}",
            value,
            f"give an integer or a list of integers, none beyond {LARGEST}",
        )
    return Node(
        function,
        tuple(entry["inputs"]),
        tuple(entry["outputs"]),
        {name: tuple(value) if isinstance(value, list) else value for name, value in attributes.items()},
    )


def _declared_arrays(graph: Graph) -> dict[str, Type]:
    """The arrays that the archive must hold: every weight and bias, and the scales of every weight."""
    parameters = {t.name: t.type for t in graph.tensors.values() if t.role in ("weight", "bias")}
    return {**parameters, **scale_types(graph)}


@rule("MODEL-I5", "MODEL-I6")
def _check_size(declared: _Declared) -> None:
    """The declared arrays are within the limit, and the declared archive is no larger than they can make it."""
    content = sum(type_.nbytes for type_ in declared.arrays.values())
    require(content <= ARRAY_BYTES, "MODEL-I5", f"the arrays have {content} bytes", f"give at most {ARRAY_BYTES}")
    least, most = content, content + MEMBER_BYTES * (len(declared.arrays) + 1)
    _check(type(declared.nbytes) is int, "bytes of arrays", declared.nbytes, "give an integer")
    require(
        least <= declared.nbytes <= most,
        "MODEL-I6",
        f"the archive is declared to have {declared.nbytes} bytes, its arrays have {content}",
        SAVE_AGAIN,
    )


# --- reading: the archive ----------------------------------------------------------------------------------------


@rule("MODEL-I6", "MODEL-I7")
def _extract(archive: bytes, declared: _Declared) -> dict[str, Array]:
    """The arrays of an archive: exactly those declared, each with its declared type."""
    size, digest = len(archive), hashlib.sha256(archive).hexdigest()
    require(
        size == declared.nbytes,
        "MODEL-I6",
        f"it has {size} bytes, {declared.nbytes} are declared",
        "copy both files again, or save the model again",
    )
    require(
        digest == declared.sha256,
        "MODEL-I6",
        f"its sha256 is {digest}, not the declared {show(declared.sha256)}",
        "copy both files again, or save the model again",
    )
    require(archive[:4] == b"PK\3\4", "MODEL-I7", "it does not begin as a zip archive", SAVE_AGAIN)
    members = {f"{name}.npy": name for name in declared.arrays}
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as file:
            _check_members(file.infolist(), members, declared)
            content = {members[info.filename]: file.read(info) for info in file.infolist()}
    except ConstraintError:
        raise
    except Exception as error:  # zipfile answers broken archives with a dozen kinds, down to OverflowError
        raise ConstraintError("MODEL-I7", f"the archive is broken ({show(str(error))})", SAVE_AGAIN) from None
    return {name: npy_array(name, content[name], type_) for name, type_ in declared.arrays.items()}


def _check_members(infos: list[zipfile.ZipInfo], members: Mapping[str, str], declared: _Declared) -> None:
    """Before anything is read: each member is declared, there once, not packed, and no larger than its array needs."""
    seen: set[str] = set()
    for info in infos:
        name = show(info.filename)
        require(info.filename in members, "MODEL-I7", f"the member {name} is no declared array", "remove it")
        require(info.filename not in seen, "MODEL-I7", f"the member {name} is there twice", "keep one")
        seen.add(info.filename)
        require(
            info.compress_type == zipfile.ZIP_STORED and info.compress_size == info.file_size,
            "MODEL-I7",
            f"the member {name} is compressed",
            "store it (numpy.savez, not numpy.savez_compressed)",
        )
        type_ = declared.arrays[members[info.filename]]
        require(
            info.file_size <= type_.nbytes + MEMBER_BYTES,
            "MODEL-I7",
            f"the member {name} has {info.file_size} bytes, {type_} has {type_.nbytes}",
            "store the declared array",
        )
    for filename in members:
        require(filename in seen, "MODEL-I7", f"the member {filename} is missing", SAVE_AGAIN)


def npy_array(name: str, content: bytes, type_: Type) -> Array:
    """One array from an npy file of version 1.0, whose header must be the one of the declared type."""
    start = 10 + int.from_bytes(content[8:10], "little")
    header = content[10:start].decode("latin-1").rstrip()
    wanted = _npy_header(type_)
    require(
        content[:8] == NPY and header == wanted,
        "MODEL-I7",
        f"the array {name} has the npy header {show(content[:8])} {show(header)}",
        f"store {type_}: {wanted}",
    )
    size = len(content) - start
    require(
        size == type_.nbytes, "MODEL-I7", f"the array {name} has {size} bytes, {type_} has {type_.nbytes}", SAVE_AGAIN
    )
    dtype = np.dtype(type_.dtype)
    return np.frombuffer(content, dtype.newbyteorder("<"), offset=start).reshape(type_.shape).astype(dtype)


def _model(declared: _Declared, arrays: Mapping[str, Array]) -> Model:
    weights = [name.removesuffix(".scale") for name in arrays if name.endswith(".scale")]
    scales = {weight: arrays[f"{weight}.scale"] for weight in weights}
    parameters = {name: array for name, array in arrays.items() if not name.endswith(".scale")}
    return check_model(Model(declared.graph, parameters, scales))
