"""Training, one sample a step, as a device does it: a model, a scheme, and a provider of operators."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .autodiff import differentiate
from .graph import Builder, Graph, Node, Tensor
from .interpreter import Provider, reference, run
from .model import Model, bias_limit, fold_degenerate_channels, forward_constants, qas_bias, qas_weight, trainable_channels
from .numerics import F32, INT32_MAX, Array, float32
from .sparse import Scheme, apply


def rebatch(graph: Graph, samples: int) -> Graph:
    """The same forward graph for another batch: inputs get ``samples`` on their first axis, all else follows."""
    builder = Builder(name=graph.name)
    for tensor in graph.outside():
        shape = (samples, *tensor.type.shape[1:]) if tensor.role == "input" else tensor.type.shape
        builder.outside(tensor.name, type(tensor.type)(shape, tensor.type.dtype), tensor.role, tensor.scale, tensor.zero_point)
    for node in graph.nodes:
        results = [None if name is None else graph[name] for name in node.outputs]
        roles = ["activation" if result is None else result.role for result in results]
        builder.emit(node.function, node.inputs, node.outputs, roles, _quantization(results[0]), **node.attributes)
    return builder.build(graph.outputs)


def _quantization(tensor: Tensor | None) -> tuple[float, int] | None:
    if tensor is None or tensor.scale is None or tensor.zero_point is None:
        return None
    return tensor.scale, tensor.zero_point


def training_constants(model: Model, graph: Graph, qas: bool = True) -> dict[str, Array]:
    """The factors and limits that update nodes read, by tensor name (TRAIN-S9, TRAIN-S10)."""
    constants: dict[str, Array] = {}

    def put(node: Node, operand: str, value: Array) -> None:
        name = node.operand(operand)
        if name is not None and graph[name].role == "constant":
            constants[name] = value

    for parameter, new in graph.updates.items():
        if graph[parameter].role not in ("weight", "bias"):
            continue
        node = graph.producers()[new]
        if graph[parameter].role == "weight":
            put(node, "q", qas_weight(model, parameter, qas))
        else:
            put(node, "q", qas_bias(model, parameter, qas))
            layer = model.layer_of(parameter)
            limit = np.where(trainable_channels(model, layer), bias_limit(model, layer), INT32_MAX)
            put(node, "limit", limit.astype(np.int32))
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
    ) -> None:
        model = fold_degenerate_channels(model)
        self.model, self.scheme, self.provider = model, scheme, provider
        self.graph, lists = apply(model, differentiate(model.graph, "loss", optimizer), scheme)
        everything = {**forward_constants(model), **lists, **training_constants(model, self.graph, qas)}
        self.constants: Mapping[str, Array] = everything
        self.parameters: dict[str, Array] = {name: np.array(array) for name, array in model.arrays.items()}
        for tensor in self.graph.outside():
            if tensor.role == "state":
                self.parameters[tensor.name] = _initial_state(tensor, self.parameters)

    def step(self, sample: Mapping[str, Array], rate: float) -> dict[str, Array]:
        """Train on one sample; the results are the graph's outputs (logits, loss)."""
        feeds = {**self.constants, **self.parameters, **sample, "lr": float32([rate])}
        wanted = {tensor.name: feeds[tensor.name] for tensor in self.graph.outside()}
        results = run(self.graph, wanted, self.provider)
        for parameter, new in self.graph.updates.items():
            self.parameters[parameter] = results[new]
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


def _initial_state(tensor: Tensor, parameters: Mapping[str, Array]) -> F32:
    """An optimizer's state at the start: a master copy equals its weight, a velocity is zero."""
    stem, _, kind = tensor.name.rpartition(".")
    return float32(parameters[stem]) if kind == "master" else np.zeros(tensor.type.shape, np.float32)
