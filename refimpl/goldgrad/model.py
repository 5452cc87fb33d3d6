"""A model: a forward graph, its parameters and their scales (specs/training.md, specs/model-format.md).

The constants of a training graph follow from the scales, and the proof that no accumulator can overflow from the
parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .errors import ConstraintError, require
from .graph import Graph, Node
from .numerics import F32, I64, INT32_MAX, INT32_MIN, Array, float32, multiplier, requantize
from .rules import rule

LAYERS = ("conv2d.forward", "depthwise_conv2d.forward", "fully_connected.forward")
"""Functions with a weight, a bias and an int32 accumulator."""
FORWARD = (
    *LAYERS,
    "add.forward",
    "avg_pool2d.forward",
    "max_pool2d.forward",
    "quantize_input.from_uint8",
    "quantize_input.from_float32",
    "softmax_cross_entropy.forward",
    "softmax_cross_entropy.from_probabilities",
)
"""Functions that a model is made of; those of the backward pass and the updates follow by differentiation."""


@dataclass(frozen=True)
class Model:
    """A forward graph, its weights and biases by tensor name, and each weight's scales by the weight's name.

    ``scales[w]`` is float32 with one element an output channel.
    """

    graph: Graph
    arrays: Mapping[str, Array]
    scales: Mapping[str, F32]

    def layers(self) -> list[Node]:
        """Convolutions, depthwise convolutions and fully connected layers, in order."""
        return [node for node in self.graph.nodes if node.function in LAYERS]

    def convolutions(self) -> list[Node]:
        """The layers without the classifier, which is the last one: what an update scheme counts."""
        return self.layers()[:-1]

    def layer_of(self, parameter: str) -> Node:
        """The layer that reads a weight or bias."""
        return next(node for node in self.layers() if parameter in node.operands)

    def scale_of(self, name: str | None) -> float:
        """The scale of an activation, or an error that names it."""
        assert name is not None
        scale = self.graph[name].scale
        require(scale is not None, "MODEL-C4", f"{name} has no scale", "give every quantized tensor one")
        assert scale is not None
        return scale


def layer_name(node: Node) -> str:
    """The stem that a layer's tensors share: ``conv3`` for ``conv3.w``."""
    return _parameter(node, "w").rpartition(".")[0]


def _parameter(node: Node, operand: str) -> str:
    name = node.operand(operand)
    assert name is not None
    return name


# --- constants ---------------------------------------------------------------------------------------------------

Derivation = Callable[[Model, Node], Any]


def _layer_m(model: Model, node: Node) -> F32:
    scale_x, scale_y = model.scale_of(node.operand("x")), model.scale_of(node.result("y"))
    return multiplier(scale_x * model.scales[_parameter(node, "w")].astype(np.float64), scale_y)


def _ratio(of: str) -> Derivation:
    """The scale of operand ``of`` over that of the result, as float32 [1]."""

    def derive(model: Model, node: Node) -> F32:
        return multiplier([model.scale_of(node.operand(of))], model.scale_of(node.results[0]))

    return derive


DERIVATIONS: dict[tuple[str, str], Derivation] = {
    **{(function, "m"): _layer_m for function in LAYERS},
    ("add.forward", "m1"): _ratio("x1"),
    ("add.forward", "m2"): _ratio("x2"),
    ("avg_pool2d.forward", "m"): _ratio("x"),
    ("quantize_input.from_uint8", "m"): _ratio("x"),
    ("quantize_input.from_float32", "m"): lambda model, node: multiplier([1.0], model.scale_of(node.results[0])),
    ("softmax_cross_entropy.forward", "s"): lambda model, node: float32([model.scale_of(node.operand("q"))]),
    ("softmax_cross_entropy.from_probabilities", "s"): lambda model, node: float32([model.scale_of(node.operand("q"))]),
}
"""How the constant operands of forward functions follow from scales (NUM-N8)."""


@rule("MODEL-S1")
def forward_constants(model: Model) -> dict[str, Array]:
    """The multipliers of the forward graph by tensor name.

    Raises :class:`~goldgrad.errors.ConstraintError` if one is not positive, finite and normal in float32.
    """
    constants: dict[str, Array] = {}
    for node in model.graph.nodes:
        for operand in node.definition.inputs:
            derive = DERIVATIONS.get((node.function, operand))
            name = node.operand(operand) if derive else None
            if derive and name:
                constants[name] = value = derive(model, node)
                good = np.isfinite(value) & (value >= np.finfo(np.float32).tiny)
                require(
                    bool(good.all()),
                    "MODEL-C5",
                    f"multiplier {name}[{int(np.argmin(good))}] is {value[np.argmin(good)]!r}",
                    "choose scales whose quotient is a normal float32",
                )
    return constants


@rule("TRAIN-S9")
def qas_weight(model: Model, weight: str, qas: bool = True) -> F32:
    """Quantization-aware scaling of a weight's gradient: 1 / s_w^2 a channel; 0 where the channel never trains.

    Without QAS, 1 in place of 1 / s_w^2.
    """
    return _qas(model, weight, model.scales[weight].astype(np.float64), qas)


@rule("TRAIN-S9")
def qas_bias(model: Model, bias: str, qas: bool = True) -> F32:
    """Quantization-aware scaling of a bias's gradient: 1 / (s_w * s_x)^2 a channel; 0 where it never trains."""
    node = model.layer_of(bias)
    scale = model.scales[_parameter(node, "w")].astype(np.float64) * model.scale_of(node.operand("x"))
    return _qas(model, bias, scale, qas)


@rule("MODEL-C7")
def _qas(model: Model, parameter: str, scale: Array, qas: bool) -> F32:
    trains = trainable_channels(model, model.layer_of(parameter))
    q = multiplier(1.0, scale * scale) if qas else np.ones(scale.shape, np.float32)
    good = ~trains | (np.isfinite(q) & (q >= np.finfo(np.float32).tiny))
    bad = int(np.argmin(good))
    require(
        bool(good.all()),
        "MODEL-C7",
        f"channel {bad} of {parameter} has the scale {scale[bad]}, and 1 / scale^2 is {q[bad]}",
        "choose a scale between 2^-63 and 2^62",
    )
    return np.where(trains, q, np.float32(0))


# --- accumulators ------------------------------------------------------------------------------------------------


def _products(node: Node, weights: Array) -> Array:
    """A layer's weights as [products of one accumulator, output channels]."""
    if node.function.startswith("depthwise"):
        return weights.reshape(-1, weights.shape[-1])
    return weights.reshape(weights.shape[0], -1).T


def _reach(node: Node) -> tuple[int, int]:
    """Least and greatest x - x_zero."""
    zero = node.attributes["x_zero"]
    return -128 - zero, 127 - zero


@rule("MODEL-C6")
def accumulator_range(model: Model, node: Node) -> tuple[I64, I64]:
    """Least and greatest accumulator that each output channel of a layer can reach, in exact integers.

    A product may also be absent (padding); since x may equal x_zero, absence adds no new value.
    """
    least, most = _reach(node)
    weights = _products(node, model.arrays[_parameter(node, "w")])
    bias = model.arrays[_parameter(node, "b")].astype(np.int64)
    positive = np.maximum(weights, 0).sum(axis=0, dtype=np.int64)
    negative = np.minimum(weights, 0).sum(axis=0, dtype=np.int64)
    return bias + positive * least + negative * most, bias + positive * most + negative * least


@rule("TRAIN-S10")
def bias_limit(model: Model, node: Node) -> int:
    """How far from 0 a trained bias may go: INT32_MAX less the most that the products can add with any weights."""
    least, most = _reach(node)
    products = int(_products(node, model.arrays[_parameter(node, "w")]).shape[0])
    limit = INT32_MAX - 127 * max(-least, most) * products
    require(
        limit >= 0,
        "MODEL-C6",
        f"{layer_name(node)} adds {products} products and could overflow an int32 accumulator with some weights",
        "split the layer",
    )
    return limit


@rule("TRAIN-S11")
def trainable_channels(model: Model, node: Node) -> Array:
    """Output channels whose bias lies within the limit now; the others never train."""
    limit = bias_limit(model, node)
    bias = model.arrays[_parameter(node, "b")].astype(np.int64)
    return (-limit - 1 <= bias) & (bias <= limit)


@rule("MODEL-C6", "MODEL-S2")
def fold_degenerate_channels(model: Model) -> Model:
    """Prove that no accumulator overflows; zero the weights of channels that could but are constant all the same.

    A channel whose range leaves int32 is constant if its output and mask are equal at both ends of the range
    (requantization is monotonic).  Its weights become 0, so that its accumulator is its bias.  A channel that is
    not constant is an error that names it.
    """
    m = forward_constants(model)
    arrays = dict(model.arrays)
    for node in model.layers():
        low, high = accumulator_range(model, node)
        overflow = (low < INT32_MIN) | (high > INT32_MAX)
        if not overflow.any():
            continue
        w, m_name, a = node.operand("w"), node.operand("m"), node.attributes
        assert w is not None and m_name is not None
        clamp = a["y_zero"], a.get("lo", -128), a.get("hi", 127)
        (y_low, in_low), (y_high, in_high) = (requantize(end, m[m_name], *clamp) for end in (low, high))
        varies = overflow & ((y_low != y_high) | (in_low != in_high))
        if varies.any():
            channel = int(np.argmax(varies))
            raise ConstraintError(
                "MODEL-C6",
                f"output channel {channel} of {layer_name(node)} can reach {low[channel]} .. {high[channel]}, "
                "outside an int32 accumulator",
                "reduce its bias or its weights",
            )
        weights = np.array(arrays[w])
        if node.function.startswith("depthwise"):
            weights[..., overflow] = 0
        else:
            weights[overflow] = 0
        arrays[w] = weights
    return replace(model, arrays=arrays)
