"""Training, one sample a step, as a device does it: a model, a scheme, and a provider of operators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from .autodiff import differentiate
from .graph import Builder, Graph, Tensor
from .interpreter import Provider, reference, run
from .model import (
    Model,
    bias_limit,
    fold_degenerate_channels,
    forward_constants,
    qas_bias,
    qas_weight,
)
from .numerics import F32, I32, Array, float32
from .ops._split_weight import merge
from .ops._weight_slice import scale_axis
from .rules import rule
from .sparse import Scheme, apply, split_weights


def rebatch(graph: Graph, samples: int) -> Graph:
    """The same forward graph for another batch: inputs get ``samples`` on their first axis, all else follows."""
    builder = Builder(name=graph.name)
    for tensor in graph.outside():
        shape = (samples, *tensor.type.shape[1:]) if tensor.role == "input" else tensor.type.shape
        builder.declare(replace(tensor, type=replace(tensor.type, shape=shape)))
    for node in graph.nodes:
        builder.again(node, graph)
    return builder.build(graph.outputs)


def training_constants(
    model: Model, graph: Graph, lists: Mapping[str, I32], qas: bool = True, seed: int = 0
) -> dict[str, Array]:
    """The factors and limits that update nodes read, by tensor name (TRAIN-S9 to TRAIN-S13); ``lists`` is apply's."""
    constants: dict[str, Array] = {}
    splits = split_weights(graph)
    weights = [name for name in graph.updates if graph[name].role == "weight"]
    for position, weight in enumerate(weights):
        split = splits.get(weight)
        q = qas_weight(model, split.whole if split else weight, qas)
        by_channel = scale_axis(graph[weight].type.shape) == -1
        constants[f"{weight}.q"] = q[lists[split.listed]] if split and by_channel else q
        constants[f"{weight}.seed"] = np.array([(seed + position) % 2**31], np.int32)
    for bias in (name for name in graph.updates if graph[name].role == "bias"):
        layer = model.layer_of(bias)
        constants[f"{bias}.q"] = qas_bias(model, bias, qas)
        constants[f"{bias}.limit"] = np.array([bias_limit(model, layer)], np.int32)
    return constants


class Session:
    """A model in training: the scheme's graph, the constants, and the parameters as they are now.

    Of a split weight, ``parameters`` hold the whole as it was at the start, and the part that trains as it is now.
    ``qas=False`` trains without quantization-aware scaling: the same graph and rules with factors of 1.
    """

    def __init__(
        self,
        model: Model,
        scheme: Scheme,
        provider: Provider = reference,
        optimizer: str = "sgd",
        qas: bool = True,
        mu: float = 0.0,
        seed: int = 0,
    ) -> None:
        model = fold_degenerate_channels(model)
        self.model, self.scheme, self.provider = model, scheme, provider
        self.graph, lists = apply(model, differentiate(model.graph, "loss", optimizer), scheme)
        everything = {**forward_constants(model), **lists, **training_constants(model, self.graph, lists, qas, seed)}
        self.steps, self.mu = 0, mu
        self.constants: Mapping[str, Array] = everything
        self.parameters: dict[str, Array] = {name: np.array(array) for name, array in model.arrays.items()}
        for trained, split in split_weights(self.graph).items():
            self.parameters[trained] = model.arrays[split.whole][..., lists[split.listed]]
        for tensor in self.graph.outside():
            if tensor.role == "state":
                self.parameters[tensor.name] = self._initial_state(tensor)

    def step(self, sample: Mapping[str, Array], rate: float) -> dict[str, Array]:
        """Train on one sample; the results are the graph's outputs (logits, loss)."""
        scalars = {"lr": float32([rate]), "mu": float32([self.mu]), "step": np.array([self.steps], np.int32)}
        feeds = {**self.constants, **self.parameters, **sample, **scalars}
        wanted = {tensor.name: feeds[tensor.name] for tensor in self.graph.outside()}
        results = run(self.graph, wanted, self.provider)
        for parameter, new in self.graph.updates.items():
            self.parameters[parameter] = results[new]
        self.steps = (self.steps + 1) % 2**31
        return {name: results[name] for name in self.graph.outputs}

    def predict(self, samples: Mapping[str, Array]) -> dict[str, Array]:
        """The forward graph's outputs for a batch of samples, with the parameters as they are now."""
        batch = len(next(iter(samples.values())))
        forward = rebatch(self.model.graph, batch)
        feeds = {**self.constants, **self.weights(), **samples}
        return run(forward, {tensor.name: feeds[tensor.name] for tensor in forward.outside()}, self.provider)

    @rule("TRAIN-S13")
    def weights(self) -> dict[str, Array]:
        """The model's weights and biases as they are now, split weights merged: ``arrays`` of the trained model."""
        arrays = {name: self.parameters[name] for name in self.model.arrays}
        for trained, split in split_weights(self.graph).items():
            arrays[split.whole] = merge(arrays[split.whole], self.parameters[trained], self.constants[split.listed])
        return arrays

    @property
    def trained_bytes(self) -> int:
        """Bytes of the weights and biases that a step can change."""
        tensors = (self.graph[parameter] for parameter in self.graph.updates)
        return sum(tensor.nbytes for tensor in tensors if tensor.role in ("weight", "bias"))

    def _initial_state(self, tensor: Tensor) -> F32:
        """At the start a master copy equals what trains of its weight, a velocity is zero (TRAIN-S12)."""
        weight, _, kind = tensor.name.rpartition(".")
        return np.zeros(tensor.type.shape, np.float32) if kind == "velocity" else float32(self.parameters[weight])
