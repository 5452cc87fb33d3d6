"""From real weights to an int8 model: scales of weights, and scales and zero points of activations from samples.

Everything is float64 element by element, maxima and exact integers, so the same input gives the same model on every
machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..graph import Graph, Node
from ..interpreter import Provider, reference
from ..model import LAYERS, Model, forward_constants
from ..numerics import F32, F64, Array, multiplier, rne_exact
from ..ops import conv2d, depthwise_conv2d, fully_connected
from ._network import Scales

ACCUMULATE: dict[str, Callable[..., F64]] = {
    "conv2d.forward": conv2d.accumulate,
    "depthwise_conv2d.forward": depthwise_conv2d.accumulate,
    "fully_connected.forward": fully_connected.accumulate,
}
Build = Callable[[Scales, int], Graph]
"""Gives a network's forward graph for given activation scales and a batch size."""


@dataclass(frozen=True)
class RealParameters:
    """Weights and biases in real units by tensor name, float64, shaped as the int8 and int32 ones."""

    arrays: Mapping[str, F64]

    def weights(self) -> list[str]:
        """Names of the weights: whatever is not a vector."""
        return [name for name, array in self.arrays.items() if array.ndim > 1]


def weight_scale(weight: F64, headroom: float = 1.0) -> F32:
    """One scale an output channel, so that the largest weight takes 127 / headroom."""
    axes = tuple(range(weight.ndim - 1)) if weight.ndim == 3 else tuple(range(1, weight.ndim))
    largest = np.abs(weight).max(axis=axes)
    return multiplier(np.maximum(largest, 2.0**-20) * headroom, 127)


def codes(weight: F64, scale: F32) -> F64:
    """Weights in units of codes, not rounded."""
    per_channel = scale.astype(np.float64)
    return weight / (per_channel if weight.ndim == 3 else per_channel.reshape(-1, *[1] * (weight.ndim - 1)))


def activation_scale(low: float, high: float, relu: bool) -> tuple[float, int]:
    """Scale and zero point that map [low, high] (and 0) to the codes; [0, high] for a ReLU."""
    low, high = (0.0, max(high, 2.0**-10)) if relu else (min(low, 0.0), max(high, low + 2.0**-10, 0.0))
    scale = (high - low) / 255
    return scale, int(np.clip(np.rint(-128 - low / scale), -128, 127))


def calibrate(
    build: Build,
    real: RealParameters,
    feeds: Mapping[str, Array],
    headroom: float = 1.0,
    cover: float = 1.0,
    provider: Provider = reference,
) -> Model:
    """An int8 model whose activations use ``cover`` of the range that ``feeds`` show.

    Layers are calibrated in order, each on the int8 codes that the ones before it give.
    """
    batch = len(next(iter(feeds.values())))
    scales = {name: weight_scale(real.arrays[name], headroom) for name in real.weights()}
    arrays: dict[str, Array] = {
        name: np.clip(rne_exact(codes(real.arrays[name], scales[name])), -127, 127).astype(np.int8) for name in scales
    }
    activations: Scales = {}
    values: dict[str, Array] = dict(feeds)
    graph = build(activations, batch)
    position = 0
    while position < len(graph.nodes):
        node = graph.nodes[position]
        y = node.results[0]
        if node.function in LAYERS:
            _quantize_bias(Model(graph, arrays, scales), node, real, arrays)
        known = Model(graph, arrays, scales)
        if y not in activations and graph[y].role == "activation":
            relu = node.attributes.get("lo", -128) == node.attributes["y_zero"]
            low, high = _real_range(known, node, values)
            activations[y] = activation_scale(low * cover, high * cover, relu)
            graph = build(activations, batch)
            continue
        constants = forward_constants(replace(known, graph=replace(graph, nodes=(node,))))
        operands = [None if n is None else {**values, **arrays, **constants}[n] for n in node.inputs]
        for name, value in zip(node.outputs, provider(node.function, *operands, **node.attributes), strict=True):
            if name is not None:
                values[name] = value
        position += 1
    return Model(build(activations, 1), arrays, scales)


def _quantize_bias(model: Model, node: Node, real: RealParameters, arrays: dict[str, Array]) -> None:
    w, b = node.operand("w"), node.operand("b")
    assert w is not None and b is not None
    unit = model.scales[w].astype(np.float64) * model.scale_of(node.operand("x"))
    arrays[b] = np.clip(rne_exact(real.arrays[b] / unit), -(2**30), 2**30).astype(np.int32)


def _real_range(model: Model, node: Node, values: Mapping[str, Array]) -> tuple[float, float]:
    """Least and greatest real value that the node's result takes before it is quantized."""
    graph, a = model.graph, node.attributes

    def real(name: str | None, zero: int) -> F64:
        assert name is not None
        return (values[name].astype(np.float64) - zero) * model.scale_of(name)

    if node.function in LAYERS:
        x, w, b = node.operands[:3]
        geometry = {k: v for k, v in a.items() if k in ("x_zero", "stride", "pad", "dilation")}
        acc = ACCUMULATE[node.function](values[x], model.arrays[w], model.arrays[b], **geometry)
        y = acc * (model.scale_of(x) * model.scales[w].astype(np.float64))
    elif node.function == "add.forward":
        y = real(node.operand("x1"), a["x1_zero"]) + real(node.operand("x2"), a["x2_zero"])
    else:
        source = node.operand("x")
        assert source is not None
        zero = graph[source].zero_point
        y = real(source, 0 if zero is None else zero)
    return float(y.min()), float(y.max())
