"""Parameters for a network that has none: seeded weights, calibrated on seeded images.

Enough to measure memory and time with, and to compare implementations; it has learned nothing.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from ..graph import Graph, Tensor
from ..model import Model
from ..numerics import F64, Array
from ..random import Stream
from .calibrate import Build, RealParameters, calibrate

SEED = 256
COVER = 0.75
"""The part of the range that activations show which their codes span: some values of every tensor are clamped."""
IMAGES = 2
"""Images that calibrate the scales of activations."""


def he_uniform(graph: Graph, stream: Stream) -> RealParameters:
    """Uniform weights of He's variance, 2 / (inputs of an output), and biases of zero."""
    arrays: dict[str, F64] = {}
    for tensor in graph.outside():
        shape = tensor.type.shape
        if tensor.role == "weight":
            fan_in = int(np.prod(shape[:2] if len(shape) == 3 else shape[1:]))
            arrays[tensor.name] = stream.symmetric(*shape) * np.sqrt(6.0 / fan_in)
        elif tensor.role == "bias":
            arrays[tensor.name] = np.zeros(shape)
    return RealParameters(arrays)


def images(image: Tensor, count: int, stream: Stream) -> Array:
    """Noise with structure, coarse squares under finer ones: uint8, ``count`` images shaped as ``image`` says."""
    _, height, width, channels = image.type.shape
    assert image.scale is not None and image.zero_point is not None
    white = min(255, int(1 / image.scale) + image.zero_point)  # the code of 1.0
    level = np.zeros((count, height, width, channels))
    for squares in (4, 16, max(height, width)):
        rows, columns = (np.arange(side) * squares // side for side in (height, width))
        level += stream.symmetric(count, squares, squares, channels)[:, rows][:, :, columns]
    return np.clip(np.rint(white / 2 * (1 + level)), 0, white).astype(np.uint8)


def samples(graph: Graph, count: int, stream: Stream) -> dict[str, Array]:
    """Images and their classes, at random, as the feeds of a batch."""
    classes = graph[graph.outputs[0]].type.shape[-1]
    return {
        "image": images(graph["image"], count, stream),
        "target": (stream.uniform(count) * classes).astype(np.int32),
    }


@cache
def synthetic(build: Build, seed: int = SEED) -> Model:
    """A network with seeded weights, its activations calibrated: the same model for the same seed, anywhere."""
    stream, graph = Stream(seed), build({}, 1)
    parameters = he_uniform(graph, stream)
    return calibrate(build, parameters, samples(graph, IMAGES, stream), cover=COVER)
