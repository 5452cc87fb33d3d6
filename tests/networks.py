"""Small models with random parameters, for tests of what handles models whole."""

import numpy as np

from goldgrad.graph import Graph
from goldgrad.model import Model
from goldgrad.models._network import Network


def small_graph(batch: int = 1) -> Graph:
    """Image, convolution, inverted bottleneck with a residual add, mean of the map, classifier, loss."""
    n = Network("small", {"x": (0.06, -3), "block.add.y": (0.09, 5)})
    x = n.image((batch, 6, 5, 1), 1 / 16, 0)
    x = n.conv("stem", x, 4, kernel=3, stride=2)
    x = n.inverted_bottleneck("block", x, expanded=6, outputs=4, kernel=3)
    return n.loss(n.classifier(n.global_average(x), 3))


def small_model(seed: int = 0) -> Model:
    """The small graph with random weights, biases and scales."""
    return with_parameters(small_graph(), seed)


def with_parameters(graph: Graph, seed: int = 0) -> Model:
    """Random weights, biases and scales for a graph."""
    random = np.random.default_rng(seed)
    arrays, scales = {}, {}
    for tensor in graph.tensors.values():
        shape = tensor.type.shape
        if tensor.role == "weight":
            arrays[tensor.name] = random.integers(-127, 128, shape).astype(np.int8)
            channels = shape[-1] if len(shape) == 3 else shape[0]
            scales[tensor.name] = random.uniform(0.002, 0.02, channels).astype(np.float32)
        if tensor.role == "bias":
            arrays[tensor.name] = random.integers(-2000, 2001, shape).astype(np.int32)
    return Model(graph, arrays, scales)
