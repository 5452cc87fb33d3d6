"""Sparse update: which parameters train, and the training graph pruned and sliced to that (specs/training.md).

A scheme names the biases of the last N convolutions, a share or a list of the input channels of chosen weights
(channels, for depthwise), and what the classifier ("head") does.  Applying it to a full training graph removes the
updates of what is frozen, lets the forward pass save only the chosen channels, and leaves the rest to dead-code
elimination.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from .errors import ConstraintError, require
from .graph import Graph, Node, Tensor, validate
from .model import Model, layer_name
from .numerics import F32, I32, chain, float32, mul32
from .ops import Type
from .passes.dce import eliminate_dead_code
from .rules import rule

HEADS = ("train", "bias", "frozen")
AXES = {"conv2d": "input", "fully_connected": "input", "depthwise_conv2d": "channel"}
"""The one axis along which each layer's weight may be sliced."""


@dataclass(frozen=True)
class Scheme:
    """What trains.

    ``biases``: how many of the last convolutions train their bias (None: all).  ``weights``: for a layer's name, the
    ratio of its channels that train, or the channels themselves (None: every layer in full).  ``selector`` picks the
    channels of a ratio.  ``head``: the classifier trains ("train"), its bias only ("bias"), or not ("frozen").
    """

    name: str
    biases: int | None = 0
    weights: Mapping[str, float | tuple[int, ...]] | None = field(default_factory=dict)
    selector: str = "largest-norm"
    head: str = "train"


def load_scheme(path: Path) -> Scheme:
    """A scheme from a TOML file; one clear error a fault."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConstraintError(
            "SCHEME-I1", f"{path} is no readable TOML file ({error})", "see specs/training.md"
        ) from None
    return parse_scheme(document, path.stem)


@rule("SCHEME-I1", "SCHEME-C1", "SCHEME-C2")
def parse_scheme(document: Mapping[str, Any], name: str) -> Scheme:
    """A scheme from the content of a TOML document; faults that need the model are found by :func:`apply`."""
    known = {"name", "biases", "weights", "selector", "head"}
    for key in document:
        require(key in known, "SCHEME-I1", f"scheme {name} has the key {key!r}", f"use {', '.join(sorted(known))}")
    biases, weights = document.get("biases", 0), document.get("weights", {})
    require(
        biases == "all" or (isinstance(biases, int) and not isinstance(biases, bool) and biases >= 0),
        "SCHEME-C1",
        f"biases is {biases!r}",
        'give a number of convolutions, counted from the last, or "all"',
    )
    require(
        weights == "all" or isinstance(weights, Mapping),
        "SCHEME-I1",
        f"weights is {weights!r}",
        'give a table from layers to ratios or channels, or "all"',
    )
    head, selector = document.get("head", "train"), document.get("selector", "largest-norm")
    require(head in HEADS, "SCHEME-C1", f"head is {head!r}", f"use one of {', '.join(HEADS)}")
    require(
        isinstance(selector, str) and selector in SELECTORS,
        "SCHEME-C1",
        f"selector is {selector!r}",
        f"use one of {', '.join(SELECTORS)}",
    )
    return Scheme(
        name=str(document.get("name", name)),
        biases=None if biases == "all" else biases,
        weights=None if weights == "all" else {layer: _choice(layer, value) for layer, value in weights.items()},
        selector=selector,
        head=head,
    )


def _choice(layer: str, value: Any) -> float | tuple[int, ...]:
    """A ratio, or a tuple of channels, from what the scheme says of a layer."""
    if isinstance(value, Mapping):
        axis = value.get("axis", "input")
        require(
            axis in ("input", "channel"),
            "SCHEME-C2",
            f"{layer} is to be sliced along {axis!r}",
            'slice along "input" channels ("channel" for depthwise)',
        )
        extra = set(value) - {"axis", "ratio", "channels"}
        require(
            not extra, "SCHEME-I1", f"{layer} has the key {min(extra, default='')!r}", "use axis, ratio or channels"
        )
        value = value.get("ratio", value.get("channels"))
    if isinstance(value, list) and value and all(type(channel) is int for channel in value):
        return tuple(value)
    require(
        isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= 1,
        "SCHEME-C2",
        f"the ratio of {layer} is {value!r}",
        "give a number above 0 and at most 1, or a list of channels",
    )
    return float(value)


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
    layer, op = layer_name(node), node.function.partition(".")[0]
    w = node.operand("w")
    assert w is not None
    channels = model.arrays[w].shape[-1]
    if node is model.layers()[-1]:
        return np.arange(channels, dtype=np.int32) if scheme.head == "train" else None
    choice = 1.0 if scheme.weights is None else scheme.weights.get(layer)
    if choice is None:
        return None
    if isinstance(choice, float):
        return SELECTORS[scheme.selector](_real_weight(model, node), channel_count(choice, channels))
    chosen = np.array(choice, dtype=np.int64)
    require(
        bool((np.diff(chosen) > 0).all() and chosen[0] >= 0 and chosen[-1] < channels),
        "SCHEME-C3",
        f"the channels of {layer} are {list(choice)}",
        f"give ascending {AXES[op]} channels from 0 to {channels - 1}",
    )
    return chosen.astype(np.int32)


# --- applying a scheme -------------------------------------------------------------------------------------------


@rule("SCHEME-C4")
def check_scheme(model: Model, scheme: Scheme) -> None:
    """The scheme's layers exist and its count of biases fits the model."""
    names = [layer_name(node) for node in model.convolutions()]
    for layer in scheme.weights or {}:
        require(
            layer in names,
            "SCHEME-C4",
            f"scheme {scheme.name} names the layer {layer}, which {model.graph.name} does not have",
            f"its convolutions are {', '.join(names[:3])}, ... {names[-1]}" if names else "it has no convolutions",
        )
    require(
        scheme.biases is None or scheme.biases <= len(names),
        "SCHEME-C4",
        f"scheme {scheme.name} trains the biases of {scheme.biases} convolutions",
        f"{model.graph.name} has {len(names)}",
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
    chosen = {node.operand("w"): chosen_channels(model, scheme, node) for node in model.layers()}
    keep = {w for w, channels in chosen.items() if channels is not None} | set(trained_biases(model, scheme))
    updates = {old: new for old, new in training.updates.items() if parameter_of(training, old) in keep}
    graph = training.with_nodes(training.nodes, updates=updates)
    lists: dict[str, I32] = {}
    for w, channels in chosen.items():
        if w is not None and channels is not None and len(channels) < model.arrays[w].shape[-1]:
            graph = _slice(graph, model.layer_of(w), channels)
            lists[f"{layer_name(model.layer_of(w))}.channels"] = channels
    return validate(eliminate_dead_code(graph)), lists


def _slice(graph: Graph, layer: Node, channels: I32) -> Graph:
    """Save only ``channels`` of the layer's input; let its weight gradient and update have those alone."""
    stem, x, w = layer_name(layer), layer.operand("x"), layer.operand("w")
    assert x is not None and w is not None
    listed = Tensor(f"{stem}.channels", Type(channels.shape, "int32"), "constant")
    source = graph[x]
    saved = replace(
        source,
        name=f"{stem}.saved",
        type=Type((*source.type.shape[:-1], len(channels)), "int8"),
        role="saved",
    )
    update = graph.producers()[graph.updates[w]]
    dw = update.operand("dw")
    narrow = {dw} | {name for name in (*update.operands, *update.results) if graph[name].role == "state"}
    narrow |= {graph.updates[name] for name in narrow if name in graph.updates}
    tensors = [listed, saved]
    for name in narrow:
        if name is not None:
            tensors.append(replace(graph[name], type=Type((*graph[name].type.shape[:-1], len(channels)), "float32")))
    nodes = []
    for node in graph.nodes:
        if node.function == layer.function and node.operand("w") == w:
            nodes.append(Node("save_channels.forward", (x, listed.name), (saved.name,)))
        if dw in node.results:
            nodes.append(_with_operands(node, x=saved.name, channels=listed.name))
        elif node is update:
            nodes.append(_with_operands(node, channels=listed.name))
        else:
            nodes.append(node)
    return graph.with_nodes(nodes, tensors)


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
