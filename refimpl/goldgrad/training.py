"""Training, one sample a step, as a device does it: a model, a scheme, and a provider of operators."""

from __future__ import annotations

from collections.abc import Mapping

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
    trainable_channels,
)
from .numerics import F32, INT32_MAX, Array, float32
from .sparse import Scheme, apply


def rebatch(graph: Graph, samples: int) -> Graph:
    """The same forward graph for another batch: inputs get ``samples`` on their first axis, all else follows."""
    builder = Builder(name=graph.name)
    for tensor in graph.outside():
        shape = (samples, *tensor.type.shape[1:]) if tensor.role == "input" else tensor.type.shape
        builder.outside(
            tensor.name, type(tensor.type)(shape, tensor.type.dtype), tensor.role, tensor.scale, tensor.zero_point
        )
    for node in graph.nodes:
        results = [None if name is None else graph[name] for name in node.outputs]
        roles = ["activation" if result is None else result.role for result in results]
        builder.emit(node.function, node.inputs, node.outputs, roles, _quantization(results[0]), **node.attributes)
    return builder.build(graph.outputs)


def _quantization(tensor: Tensor | None) -> tuple[float, int] | None:
    if tensor is None or tensor.scale is None or tensor.zero_point is None:
        return None
    return tensor.scale, tensor.zero_point


def training_constants(model: Model, graph: Graph, qas: bool = True, seed: int = 0) -> dict[str, Array]:
    """The factors and limits that update nodes read, by tensor name (TRAIN-S9 to TRAIN-S12)."""
    constants: dict[str, Array] = {}
    weights = [name for name in graph.updates if graph[name].role == "weight"]
    for position, weight in enumerate(weights):
        constants[f"{weight}.q"] = qas_weight(model, weight, qas)
        constants[f"{weight}.seed"] = np.array([(seed + position) % 2**31], np.int32)
    for bias in (name for name in graph.updates if graph[name].role == "bias"):
        layer = model.layer_of(bias)
        limit = np.where(trainable_channels(model, layer), bias_limit(model, layer), INT32_MAX)
        constants[f"{bias}.q"] = qas_bias(model, bias, qas)
        constants[f"{bias}.limit"] = limit.astype(np.int32)
    return constants


class Session:
    """A model in training: the scheme's graph, the constants, and the parameters as they are now.

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
        everything = {**forward_constants(model), **lists, **training_constants(model, self.graph, qas, seed)}
        self.steps, self.mu = 0, mu
        self.constants: Mapping[str, Array] = everything
        self.parameters: dict[str, Array] = {name: np.array(array) for name, array in model.arrays.items()}
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
        feeds = {**self.constants, **self.parameters, **samples}
        return run(forward, {tensor.name: feeds[tensor.name] for tensor in forward.outside()}, self.provider)

    @property
    def trained_bytes(self) -> int:
        """Bytes of the weights and biases that a step can change."""
        total = 0
        for parameter, new in self.graph.updates.items():
            node = self.graph.producers()[new]
            channels = node.operand("channels") if "channels" in node.definition.inputs else None
            tensor = self.graph[parameter]
            share = self.graph[channels].type.shape[0] / tensor.type.shape[-1] if channels else 1
            total += round(tensor.nbytes * share)
        return total

    def _initial_state(self, tensor: Tensor) -> F32:
        """At the start a master copy equals what trains of its weight, a velocity is zero (TRAIN-S12)."""
        weight = tensor.name.rpartition(".")[0]
        if tensor.name.endswith(".velocity"):
            return np.zeros(tensor.type.shape, np.float32)
        update = self.graph.producers()[self.graph.updates[weight]]
        channels = update.operand("channels")
        return float32(
            self.parameters[weight] if channels is None else self.parameters[weight][..., self.constants[channels]]
        )
