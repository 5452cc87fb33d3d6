"""Weights of the three networks as others publish them: one .npz a network (specs/model-format.md).

For each convolution, and last the classifier of the data set that it was trained on: ``conv00.weight_oihw`` int8
[out, in / groups, KH, KW], ``.bias`` int32, ``.w_scale`` float32 an output channel, and the scale (float64) and zero
point (int32) of what it reads and gives, ``.x_scale``, ``.x_zero``, ``.y_scale``, ``.y_zero``.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import ConstraintError, require, show
from ..graph import Graph, Node
from ..model import LAYERS, Model
from ..model_check import check_model
from ..model_file import ARRAY_BYTES, MEMBER_BYTES, naming, npy_array, read_bytes
from ..numerics import F32, I8, Array, multiplier
from ..ops import Type
from ..random import Stream
from ..rules import rule
from ._network import Scales
from .calibrate import Build

SEED = 10
"""Weights of the new classifier."""
META = "meta.npy"
"""A description for people, as JSON; all that it says of the network is in the other members."""
REMEDY = "give the published weights of this network"
SCALARS = {"x_scale": "float64", "x_zero": "int32", "y_scale": "float64", "y_zero": "int32"}


@rule("MODEL-F2")
def load_weights(path: Path, build: Build) -> Model:
    """The network with the file's weights and a new classifier: checked, with degenerate channels folded.

    Raises :class:`~goldgrad.errors.ConstraintError` naming the first fault.
    """
    with naming(path):
        graph = build({}, 1)
        arrays = _extract(read_bytes(path, ARRAY_BYTES), _members(graph))
        return check_model(_model(build, graph, arrays))


def _layers(graph: Graph) -> dict[str, Node]:
    """The layers by the names that the file gives them: the classifier is the last convolution there."""
    nodes = [node for node in graph.nodes if node.function in LAYERS]
    return {f"conv{number:02}": node for number, node in enumerate(nodes)}


# --- the archive -------------------------------------------------------------------------------------------------


def _members(graph: Graph) -> dict[str, Type | None]:
    """The members to read and their types; None for those of the old classifier that the new one replaces."""
    members: dict[str, Type | None] = {META: None}
    for name, node in _layers(graph).items():
        members |= {f"{name}.{word}.npy": Type((), dtype) for word, dtype in SCALARS.items()}
        shape = graph[str(node.operand("w"))].type.shape
        outputs, published = shape[0], (shape[0], *shape[-1:], *shape[1:-1])
        if node.function == "depthwise_conv2d.forward":
            outputs, published = shape[2], (shape[2], 1, *shape[:2])
        old = node.function == "fully_connected.forward"
        members[f"{name}.weight_oihw.npy"] = None if old else Type(published, "int8")
        members[f"{name}.bias.npy"] = None if old else Type((outputs,), "int32")
        members[f"{name}.w_scale.npy"] = None if old else Type((outputs,), "float32")
    return members


@rule("MODEL-I9")
def _extract(archive: bytes, members: Mapping[str, Type | None]) -> dict[str, Array]:
    """The arrays of an archive, each with its type; nothing larger than that type is unpacked."""
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as file:
            infos = {info.filename: info for info in file.infolist()}
            _check_members(infos, members)
            content = {name: file.read(infos[name]) for name, type_ in members.items() if type_ is not None}
    except ConstraintError:
        raise
    except Exception as error:  # zipfile answers broken archives with a dozen kinds
        raise ConstraintError("MODEL-I9", f"the archive is broken ({show(str(error))})", REMEDY) from None
    wanted = {name: type_ for name, type_ in members.items() if type_ is not None}
    return {name.removesuffix(".npy"): npy_array(name, content[name], type_) for name, type_ in wanted.items()}


def _check_members(infos: Mapping[str, zipfile.ZipInfo], members: Mapping[str, Type | None]) -> None:
    for name, info in infos.items():
        require(name in members, "MODEL-I9", f"the member {show(name)} belongs to no layer of this network", REMEDY)
        type_ = members[name]
        require(
            type_ is None or info.file_size <= type_.nbytes + MEMBER_BYTES,
            "MODEL-I9",
            f"the member {name} has {info.file_size} bytes, {type_} has {type_ and type_.nbytes}",
            REMEDY,
        )
    for name, type_ in members.items():
        require(type_ is None or name in infos, "MODEL-I9", f"the member {name} is missing", REMEDY)


# --- the model ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Classifier:
    """Seeded weights of a new last layer: codes, one scale for all, and no bias."""

    weight: I8
    scale: F32

    @classmethod
    @rule("MODEL-S7")
    def of(cls, type_: Type) -> _Classifier:
        """Uniform, of the variance 1 / inputs: a logit varies as much as an input does."""
        classes, inputs = type_.shape
        weight = np.rint(127 * Stream(SEED).symmetric(classes, inputs)).astype(np.int8)
        return cls(weight, np.full(classes, multiplier(np.sqrt(3 / inputs), 127)))


def _model(build: Build, graph: Graph, arrays: Mapping[str, Array]) -> Model:
    """The model that the arrays make: layouts turned to ours, scales put where the network has them."""
    parameters: dict[str, Array] = {}
    scales: dict[str, F32] = {}
    for name, node in _layers(graph).items():
        w, b = str(node.operand("w")), str(node.operand("b"))
        if node.function == "fully_connected.forward":
            new = _Classifier.of(graph[w].type)
            parameters[w], scales[w] = new.weight, new.scale
            parameters[b] = np.zeros(graph[b].type.shape, np.int32)
            continue
        weight = arrays[f"{name}.weight_oihw"]
        depthwise = node.function == "depthwise_conv2d.forward"
        parameters[w] = np.ascontiguousarray(
            weight[:, 0].transpose(1, 2, 0) if depthwise else np.moveaxis(weight, 1, 3)
        )
        parameters[b], scales[w] = arrays[f"{name}.bias"], arrays[f"{name}.w_scale"]
    return Model(build(_activations(graph, arrays), 1), parameters, scales)


@rule("MODEL-C12", "MODEL-S7")
def _activations(graph: Graph, arrays: Mapping[str, Array]) -> Scales:
    """Scale and zero point of every activation.

    Each layer says what it reads and gives.  What no layer gives (the image in codes, a sum) is what its readers say;
    a mean has those of what it is the mean of; and the new classifier gives logits at the scale of what it reads.
    """
    found: Scales = {}
    layers = _layers(graph)
    mean_of = {node.results[0]: node.operands[0] for node in graph.nodes if node.function == "avg_pool2d.forward"}

    def said(name: str, end: str) -> tuple[float, int]:
        return float(arrays[f"{name}.{end}_scale"]), int(arrays[f"{name}.{end}_zero"])

    for name, node in layers.items():
        found[str(node.result("y"))] = said(name, "y")
    for name, node in layers.items():
        x = str(node.operand("x"))
        for tensor in (mean_of[x], x) if x in mean_of else (x,):
            scale, zero = found.setdefault(tensor, said(name, "x"))
            require(
                (scale, zero) == said(name, "x"),
                "MODEL-C12",
                f"{tensor} has the scale {scale} and zero point {zero}, and {name} reads {said(name, 'x')}",
                REMEDY,
            )
    head = list(layers)[-1]
    found[str(layers[head].result("y"))] = said(head, "x")[0], 0
    return found
