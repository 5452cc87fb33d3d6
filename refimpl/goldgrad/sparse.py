"""Sparse update: which parameters train, and the training graph pruned and sliced to that (specs/training.md).

A scheme names the biases of the last N convolutions, a share or a list of the input channels of chosen weights
(channels, for depthwise), and what the classifier ("head") does.  Applying it to a full training graph removes the
updates of what is frozen, lets the forward pass save only the chosen channels, and leaves the rest to dead-code
elimination.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from .errors import ConstraintError, require, show
from .graph import Builder, Graph, Node, quantization, validate
from .model import LAYERS, Model, layer_name
from .numerics import F32, I32, chain, float32, mul32
from .ops import Type
from .optimizers import OPTIMIZERS, Optimizer
from .passes.dce import eliminate_dead_code
from .rules import rule

HEADS = ("train", "bias", "frozen")
AXES = {"conv2d": "input", "fully_connected": "input", "depthwise_conv2d": "channel"}
"""The one axis along which each layer's weight may be sliced."""
FILE_BYTES = 2**20
"""Most bytes of a scheme's file."""


@dataclass(frozen=True)
class Scheme:
    """What trains; a value that no model could make sense of is refused at once.

    ``biases``: how many of the last convolutions train their bias (None: all).  ``weights``: for a layer's name, the
    ratio of its channels that train, or the channels themselves (None: every layer in full).  ``axes``: the axis that
    the user believes a layer to be sliced along, where he names it.  ``selector`` picks the channels of a ratio.
    ``head``: the classifier trains ("train"), its bias only ("bias"), or not ("frozen").
    """

    name: str
    biases: int | None = 0
    weights: Mapping[str, float | tuple[int, ...]] | None = field(default_factory=dict)
    selector: str = "largest-norm"
    head: str = "train"
    axes: Mapping[str, str] = field(default_factory=dict)

    @rule("SCHEME-C1", "SCHEME-C5")
    def __post_init__(self) -> None:
        _check_choice("head", self.head, HEADS)
        _check_choice("selector", self.selector, SELECTORS)
        require(
            isinstance(self.name, str) and self.name.isprintable() and 0 < len(self.name) <= 100,
            "SCHEME-C1",
            f"name is {show(self.name)}",
            "give a line of at most 100 characters",
        )
        require(
            self.biases is None or (type(self.biases) is int and self.biases >= 0),
            "SCHEME-C1",
            f"biases is {show(self.biases)}",
            'give a number of convolutions, counted from the last, or "all"',
        )
        for layer, what in (self.weights or {}).items():
            _check_channels(layer, what) if isinstance(what, tuple) else _check_ratio(layer, what)
        for layer, axis in self.axes.items():
            require(
                isinstance(axis, str) and axis in AXES.values(),
                "SCHEME-C5",
                f"{show(layer)} is to be sliced along {show(axis)}",
                f"slice along one of {', '.join(sorted(set(AXES.values())))}",
            )


def _check_choice(key: str, value: object, known: Iterable[str]) -> None:
    good = isinstance(value, str) and value in known
    require(good, "SCHEME-C1", f"{key} is {show(value)}", f"use one of {', '.join(known)}")


@rule("SCHEME-C2")
def _check_ratio(layer: str, ratio: object) -> None:
    require(
        type(ratio) in (int, float) and 0 < ratio <= 1,  # type: ignore[operator]
        "SCHEME-C2",
        f"the ratio of {show(layer)} is {show(ratio)}",
        "give a number above 0 and at most 1, or a list of channels",
    )


@rule("SCHEME-C3")
def _check_channels(layer: str, channels: tuple[object, ...], of: int = 2**31) -> None:
    good = len(channels) > 0 and all(type(channel) is int and 0 <= channel < of for channel in channels)
    require(
        good and all(low < high for low, high in pairwise(channels)),  # type: ignore[operator]
        "SCHEME-C3",
        f"the channels of {show(layer)} are {show(list(channels))}",
        f"give at least one, each once, in ascending order, from 0 to {of - 1}",
    )


@rule("SCHEME-I1")
def load_scheme(path: str | Path) -> Scheme:
    """Read a scheme from a TOML file; every fault is a :class:`~goldgrad.errors.ConstraintError`."""
    path, remedy = Path(path), "give a TOML file as specs/scheme.md says"
    try:
        require(path.is_file(), "SCHEME-I1", f"there is no file {show(str(path))}", remedy)
        with path.open("rb") as file:
            content = file.read(FILE_BYTES + 1)
        require(len(content) <= FILE_BYTES, "SCHEME-I1", f"{path.name} is larger than {FILE_BYTES} bytes", remedy)
        document = tomllib.loads(content.decode("utf-8"))
    except OSError as error:
        raise ConstraintError("SCHEME-I1", f"{path.name} cannot be read ({error.strerror})", remedy) from None
    except UnicodeDecodeError as error:
        raise ConstraintError("SCHEME-I1", f"byte {error.start} of {path.name} is not UTF-8", remedy) from None
    except RecursionError:
        raise ConstraintError("SCHEME-I1", f"{path.name} is nested too deep", remedy) from None
    except ValueError as error:  # TOMLDecodeError, or a number of thousands of digits
        raise ConstraintError("SCHEME-I1", f"{path.name} is no TOML ({show(str(error))})", remedy) from None
    return parse_scheme(document, path.stem)


@rule("SCHEME-I2")
def parse_scheme(document: Mapping[str, Any], name: str) -> Scheme:
    """The scheme that a TOML document says; faults that need the model are found by :func:`apply`."""
    known = ("name", "biases", "weights", "selector", "head")
    for key in document:
        require(key in known, "SCHEME-I2", f"the scheme has the key {show(key)}", f"use {', '.join(known)}")
    weights = document.get("weights", {})
    require(
        weights == "all" or isinstance(weights, Mapping),
        "SCHEME-I2",
        f"weights is {show(weights)}",
        'give a table from layers to ratios or channels, or "all"',
    )
    tables = {} if weights == "all" else {layer: _table(layer, value) for layer, value in weights.items()}
    biases = document.get("biases", 0)
    return Scheme(
        name=document.get("name", name),
        biases=None if biases == "all" else biases,
        weights=None if weights == "all" else {layer: _choice(table) for layer, table in tables.items()},
        selector=document.get("selector", "largest-norm"),
        head=document.get("head", "train"),
        axes={layer: table["axis"] for layer, table in tables.items() if "axis" in table},
    )


@rule("SCHEME-I2")
def _table(layer: str, value: Any) -> Mapping[str, Any]:
    """What the scheme says of a layer, as the table that a ratio or a list alone stands for."""
    if not isinstance(value, Mapping):
        return {"channels" if isinstance(value, list) else "ratio": value}
    for key in value:
        require(
            key in ("axis", "ratio", "channels"),
            "SCHEME-I2",
            f"{show(layer)} has the key {show(key)}",
            'use axis, and ratio or channels; a name with dots goes in quotes, as "block1.expand"',
        )
    require(
        ("ratio" in value) != ("channels" in value),
        "SCHEME-I2",
        f"{show(layer)} has the keys {show(list(value))}",
        "give either ratio or channels",
    )
    require(
        isinstance(value.get("channels", []), list),
        "SCHEME-I2",
        f"the channels of {show(layer)} are {show(value.get('channels'))}",
        "give a list",
    )
    return value


def _choice(table: Mapping[str, Any]) -> float | tuple[int, ...]:
    return tuple(table["channels"]) if "channels" in table else table["ratio"]


# --- choosing channels -------------------------------------------------------------------------------------------


@rule("SCHEME-S1")
def channel_count(ratio: float, channels: int) -> int:
    """The number of channels nearest to the share, ties to even, at least one."""
    return max(1, round(Fraction(ratio) * channels))


@rule("SCHEME-S2")
def first_k(weight: F32, k: int) -> I32:
    """Channels 0 .. k - 1; ``weight`` is float32 with the channels on the last axis."""
    return np.arange(k, dtype=np.int32)


@rule("SCHEME-S3")
def largest_norm(weight: F32, k: int) -> I32:
    """The k channels of largest norm (ties to the lower index), ascending.

    The norm's square is the chain of w * w over the other axes in raster order; w is code times scale, rounded once.
    """
    rows = weight.reshape(-1, weight.shape[-1])
    norms = chain(rows, rows, np.zeros(rows.shape[1], np.float32))
    order = np.argsort(-norms, kind="stable")
    return np.sort(order[:k]).astype(np.int32)


SELECTORS = {"first-k": first_k, "largest-norm": largest_norm}


def _real_weight(model: Model, node: Node) -> F32:
    """A layer's weight in real units, channels that a slice chooses from on the last axis."""
    w = node.operand("w")
    assert w is not None
    codes, scale = model.arrays[w], model.scales[w]
    if not node.function.startswith("depthwise"):
        scale = scale.reshape(-1, *[1] * (codes.ndim - 1))
    return mul32(float32(codes), scale)


def chosen_channels(model: Model, scheme: Scheme, node: Node) -> I32 | None:
    """The channels of a layer's weight that train: int32, ascending; all of them; or None for none."""
    layer, w = layer_name(node), node.operand("w")
    assert w is not None
    channels = model.arrays[w].shape[-1]
    if node is model.layers()[-1]:
        return np.arange(channels, dtype=np.int32) if scheme.head == "train" else None
    choice = 1.0 if scheme.weights is None else scheme.weights.get(layer)
    if choice is None:
        return None
    if not isinstance(choice, tuple):
        return SELECTORS[scheme.selector](_real_weight(model, node), channel_count(choice, channels))
    _check_channels(layer, choice, channels)
    return np.array(choice, np.int32)


# --- the published count -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AnalyticBytes:
    """What a scheme needs beside the forward pass, as its authors count it: no program needs exactly this."""

    saved: int
    weights: int
    biases: int
    masks: int

    @property
    def total(self) -> int:
        """Their sum; a published scheme is named by the whole KB in it."""
        return self.saved + self.weights + self.biases + self.masks


@rule("SCHEME-S6")
def analytic_bytes(forward: Graph, scheme: Scheme) -> AnalyticBytes:
    """Trained weights, 4 a trained bias, saved inputs of trained slices, mask bits from the first trained bias on.

    The head and the masks of additions are not counted.
    """
    layers = [node for node in forward.nodes if node.function in LAYERS][:-1]
    first = 0 if scheme.biases is None else len(layers) - scheme.biases
    saved = weights = biases = mask_bits = 0
    for position, node in enumerate(layers):
        x, w, y = (forward[str(node.operand("x"))], forward[str(node.operand("w"))], forward[str(node.result("y"))])
        choice = 1.0 if scheme.weights is None else scheme.weights.get(layer_name(node))
        if choice is not None:
            channels = w.type.shape[-1]
            k = len(choice) if isinstance(choice, tuple) else channel_count(choice, channels)
            saved += x.nbytes // channels * k
            weights += w.nbytes // channels * k
        if position >= first:
            biases += forward[str(node.operand("b"))].nbytes
            mask_bits += y.nbytes
    return AnalyticBytes(saved, weights, biases, -(-mask_bits // 8))


# --- applying a scheme -------------------------------------------------------------------------------------------


@rule("SCHEME-C4", "SCHEME-C5")
def check_scheme(model: Model, scheme: Scheme) -> None:
    """The scheme's layers exist and are sliced along their own axis, and its count of biases fits the model."""
    layers = {layer_name(node): node.function.partition(".")[0] for node in model.convolutions()}
    for layer in scheme.weights or {}:
        near = difflib.get_close_matches(layer, layers, n=1) or list(layers)[-1:]
        require(
            layer in layers,
            "SCHEME-C4",
            f"scheme {scheme.name} names the layer {show(layer)}, which {model.graph.name} does not have",
            f"it has {near[0]}; say head for the classifier" if near else "it has a classifier only: say head",
        )
    for layer, axis in scheme.axes.items():
        op = layers.get(layer, "")
        require(
            axis == AXES.get(op),
            "SCHEME-C5",
            f"{show(layer)} is to be sliced along {axis!r}, and it is {'a ' + op if op else 'no convolution'}",
            f"slice along {AXES.get(op)!r}" if op else "name a layer in weights",
        )
    require(
        scheme.biases is None or scheme.biases <= len(layers),
        "SCHEME-C4",
        f"scheme {scheme.name} trains the biases of {show(scheme.biases)} convolutions",
        f"{model.graph.name} has {len(layers)}",
    )


def trained_biases(model: Model, scheme: Scheme) -> Iterator[str]:
    """Names of the biases that train."""
    convolutions = model.convolutions()
    count = len(convolutions) if scheme.biases is None else scheme.biases
    layers = convolutions[len(convolutions) - count :]
    if scheme.head != "frozen":
        layers = [*layers, model.layers()[-1]]
    for node in layers:
        b = node.operand("b")
        assert b is not None
        yield b


def parameter_of(graph: Graph, name: str) -> str:
    """The weight or bias that ``name`` is, or is the optimizer's state of."""
    return name if graph[name].role in ("weight", "bias") else name.rpartition(".")[0]


@rule("TRAIN-S7", "SCHEME-S4")
def apply(model: Model, training: Graph, scheme: Scheme) -> tuple[Graph, dict[str, I32]]:
    """The full training graph reduced to the scheme, and the channel lists that its new constants hold."""
    check_scheme(model, scheme)
    for node in model.convolutions():
        require(
            layer_name(node) not in (scheme.weights or {}) or node.operand("w") in training.updates,
            "SCHEME-C4",
            f"scheme {scheme.name} names the layer {layer_name(node)}, on which the loss does not depend",
            "remove it from the scheme",
        )
    chosen = {str(node.operand("w")): chosen_channels(model, scheme, node) for node in model.layers()}
    keep = {w for w, channels in chosen.items() if channels is not None} | set(trained_biases(model, scheme))
    updates = {old: new for old, new in training.updates.items() if parameter_of(training, old) in keep}
    graph = eliminate_dead_code(training.with_nodes(training.nodes, updates=updates))
    slices = {
        w: Slice(layer_name(model.layer_of(w)), channels)
        for w, channels in chosen.items()
        if channels is not None and len(channels) < model.arrays[w].shape[-1]
    }
    return validate(_split(graph, slices) if slices else graph), {s.listed: s.channels for s in slices.values()}


@dataclass(frozen=True)
class Slice:
    """Channels of a layer's weight that train without the others; by name, what they bring into the graph."""

    layer: str
    channels: I32

    @property
    def listed(self) -> str:
        """The constant that lists them."""
        return f"{self.layer}.channels"

    @property
    def trained(self) -> str:
        """Their weights."""
        return f"{self.layer}.trained"

    @property
    def saved(self) -> str:
        """What the forward pass saves of the layer's input for their gradient."""
        return f"{self.layer}.saved"


@rule("TRAIN-S8", "TRAIN-S13")
def _split(graph: Graph, slices: Mapping[str, Slice]) -> Graph:
    """Split weights (keys are their names): what trains is a parameter of its own, the whole a constant.

    Nodes are appended again, one after another, so that the types of gradients, state and next values follow from
    their operands.
    """
    builder = Builder(name=graph.name)
    updates = {new: old for old, new in graph.updates.items()}
    gradients = {graph.producers()[graph.updates[w]].operand("dw"): s for w, s in slices.items()}
    for node in graph.nodes:
        operands = dict(zip(node.definition.inputs, node.inputs, strict=False))
        result, w = node.results[0], str(operands.get("w"))
        of = slices.get(w)
        if result in gradients:
            s = gradients[result]
            sliced = _with_operands(node, x=s.saved, channels=s.listed)
            builder.emit(node.function, sliced.inputs, (f"{s.trained}.grad",), ("gradient",), **node.attributes)
        elif of is None:
            builder.again(node, graph)
            builder.updates.update({updates[name]: name for name in node.results if name in updates})
        elif result in updates:
            rate, part_of = builder.declare(graph[str(operands["lr"])]), (of.listed, graph[w].type.shape[-1])
            _optimizer(node).emit(builder, of.trained, f"{of.trained}.grad", rate, part_of)
        else:
            if node.function in LAYERS:
                _save(builder, graph, node, of)
            builder.again(_with_operands(node, trained=of.trained, channels=of.listed), graph)
    return Graph(graph.name, builder.tensors, tuple(builder.nodes), graph.outputs, builder.updates)


def _save(builder: Builder, graph: Graph, layer: Node, s: Slice) -> None:
    """Declare the trained part of a layer's weight and its list, and save the same channels of its input."""
    x, w = graph[str(layer.operand("x"))], graph[str(layer.operand("w"))]
    require(
        x.type.shape[-1] == w.type.shape[-1],
        "SCHEME-C5",
        f"{s.layer} flattens {x.name}, a map, and has no axis to slice along",
        "train it in full, with ratio 1",
    )
    for name in (s.listed, s.trained, s.saved):
        fault = f"two tensors are named {name}"
        require(name not in graph.tensors, "TRAIN-C3", fault, "give each a name of its own")
    kept = s.channels.shape
    builder.outside(s.listed, Type(kept, "int32"), "constant")
    builder.outside(s.trained, Type((*w.type.shape[:-1], *kept), "int8"), "weight")
    builder.emit("save_channels.forward", (x.name, s.listed), (s.saved,), ("saved",), quantization(x))


@dataclass(frozen=True)
class Split:
    """A weight that a graph reads in two parts: the whole, and the list of the channels that stand beside it."""

    whole: str
    listed: str


@rule("TRAIN-S13")
def split_weights(graph: Graph) -> dict[str, Split]:
    """The weights of a training graph that are split, by the name of the part that trains."""
    return {
        trained: Split(str(node.operand("w")), str(node.operand("channels")))
        for node in graph.nodes
        if node.function in LAYERS and (trained := node.operand("trained")) is not None
    }


def _optimizer(update: Node) -> Optimizer:
    """The optimizer whose update of a weight a node is."""
    return next(optimizer for optimizer in OPTIMIZERS.values() if optimizer.function == update.function)


def _with_operands(node: Node, **operands: str) -> Node:
    """The node with operands exchanged or added by the name its function gives them; unknown ones are left out."""
    names = node.definition.inputs
    inputs = list(node.inputs) + [None] * (len(names) - len(node.inputs))
    for name, tensor in operands.items():
        if name in names:
            inputs[names.index(name)] = tensor
    while inputs and inputs[-1] is None:
        inputs.pop()
    return replace(node, inputs=tuple(inputs))


FULL = Scheme("full", biases=None, weights=None)
BIAS_ONLY = Scheme("bias", biases=None)
HEAD = Scheme("head")
