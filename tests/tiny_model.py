"""A small residual network with random parameters, for tests of graphs, training and memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from goldgrad.graph import Graph
from goldgrad.model import Model
from goldgrad.models._network import Network

CLASSES = 3


def graph(batch: int = 1) -> Graph:
    """Stem, an inverted bottleneck with its skip connection, average, classifier, loss; 4 x 4 images."""
    n = Network("tiny", {}, default=(0.1, 3))
    x = n.image((batch, 4, 4, 1), 1 / 16, 0)
    x = n.conv("stem", x, 5, kernel=3)
    x = n.inverted_bottleneck("block", x, expanded=7, outputs=5, kernel=3)
    return n.loss(n.classifier(n.global_average(x), CLASSES))


def model(seed: int = 0) -> Model:
    """The network with random weights and biases, whose masks are neither all ones nor all zeros."""
    rng = np.random.default_rng(seed)
    forward = graph()
    arrays: dict[str, Any] = {}
    scales: dict[str, Any] = {}
    for tensor in forward.outside():
        if tensor.role == "weight":
            arrays[tensor.name] = rng.integers(-127, 128, tensor.type.shape).astype(np.int8)
            outputs = tensor.type.shape[-1] if len(tensor.type.shape) == 3 else tensor.type.shape[0]
            scales[tensor.name] = rng.uniform(0.002, 0.01, outputs).astype(np.float32)
        if tensor.role == "bias":
            arrays[tensor.name] = rng.integers(-2000, 2000, tensor.type.shape).astype(np.int32)
    return Model(forward, arrays, scales)


def sample(seed: int = 0, batch: int = 1) -> dict[str, Any]:
    """Images and their classes."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 17, (batch, 4, 4, 1)).astype(np.uint8)
    return {"image": image, "target": rng.integers(0, CLASSES, batch).astype(np.int32)}
