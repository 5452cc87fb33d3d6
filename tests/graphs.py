"""Random networks, schemes and training graphs, for properties that must hold of any.

``networks()`` gives models, ``schemes(model)`` schemes, ``sessions()`` a model in training with a sample; what a
property wants besides follows: ``session.graph`` is the pruned training graph, ``feeds(session, sample)`` all that it
reads.  Structure is drawn integer by integer, so that hypothesis shrinks it; parameters come from a drawn seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st

from goldgrad.graph import Graph
from goldgrad.model import Model, layer_name
from goldgrad.models._network import Network
from goldgrad.numerics import INT32_MAX, INT32_MIN, Array
from goldgrad.sparse import HEADS, SELECTORS, Scheme
from goldgrad.training import Session

CLASSES = 3
SPREAD = 74
"""Standard deviation of uniform codes."""


@dataclass
class Drawing:
    """A network that is being drawn: what a layer looks like, and how layers hang together."""

    draw: st.DrawFn
    network: Network
    count: int = 0
    seen: list[str] = field(default_factory=list)

    def size(self, least: int, most: int) -> int:
        return self.draw(st.integers(least, most))

    def name(self, kind: str, x: str, fan_in: float) -> str:
        """A new layer's name; its result gets a scale at which some codes, not all, are clamped."""
        self.count += 1
        name = f"{kind}{self.count}"
        scale_x = self.network.builder.tensors[x].scale
        scale = scale_x * 0.01 * SPREAD * np.sqrt(fan_in) * self.draw(st.sampled_from([1.0, 0.5, 2.0]))
        self.network.quantization[f"{name}.y"] = (float(scale), self.draw(st.sampled_from([-128, 3, -5, 127])))
        return name

    def conv(self, x: str, outputs: int, stride: int = 1) -> str:
        kernel = self.draw(st.sampled_from([1, 3]))
        name = self.name("conv", x, kernel * kernel * self.network.shape(x)[3])
        return self.network.conv(name, x, outputs, kernel, stride, relu=self.draw(st.booleans()))

    def depthwise(self, x: str, stride: int = 1) -> str:
        kernel = self.draw(st.sampled_from([3, 1, 5]))
        name = self.name("depthwise", x, kernel * kernel)
        return self.network.depthwise(name, x, kernel, stride, relu=self.draw(st.booleans()))

    def bottleneck(self, x: str) -> str:
        """Expand, depthwise, project, to the shape of x."""
        channels = self.network.shape(x)[3]
        return self.conv(self.depthwise(self.conv(x, self.size(1, 2 * channels + 1))), channels)

    def add(self, x1: str, x2: str) -> str:
        self.count += 1
        scale = 1.3 * max(self.network.builder.tensors[x].scale for x in (x1, x2))
        self.network.quantization[f"add{self.count}.y"] = (scale, self.draw(st.sampled_from([0, 7, -100])))
        return self.network.add(f"add{self.count}", x1, x2)

    def pool(self, x: str) -> str:
        kernel = tuple(self.size(1, min(3, side)) for side in self.network.shape(x)[1:3])
        stride = (self.size(1, 2), self.size(1, 2))
        if self.draw(st.booleans()):
            self.count += 1
            return self.network.maximum(f"maximum{self.count}", x, kernel, stride)
        return self.network.average(self.name("average", x, 1), x, kernel, stride)

    def same(self, x: str, depth: int) -> str:
        """Something from x to a map of its shape."""
        channels = self.network.shape(x)[3]
        kinds: list[Callable[[], str]] = [
            lambda: self.conv(x, channels),
            lambda: self.depthwise(x),
            lambda: self.bottleneck(x),
            lambda: self.add(x, x),
        ]
        if depth:
            kinds += [
                lambda: self.add(x, self.same(x, depth - 1)),
                lambda: self.add(self.same(x, depth - 1), x),
                lambda: self.add(self.same(x, depth - 1), self.same(x, depth - 1)),
                lambda: self.same(self.same(x, depth - 1), depth - 1),
            ]
        earlier = [y for y in self.seen if self.network.shape(y) == self.network.shape(x) and y != x]
        if earlier:
            kinds += [lambda: self.add(x, self.draw(st.sampled_from(earlier)))]
        y = kinds[self.size(0, len(kinds) - 1)]()
        self.seen.append(y)
        return y

    def other(self, x: str) -> str:
        """Something from x to a map of another shape."""
        kinds: list[Callable[[], str]] = [
            lambda: self.conv(x, self.size(1, 9), stride=self.size(1, 2)),
            lambda: self.pool(x),
            lambda: self.depthwise(x, stride=2),
        ]
        return kinds[self.size(0, len(kinds) - 1)]()


@st.composite
def forward_graphs(draw: st.DrawFn, blocks: int = 3) -> Graph:
    """Chains, residual blocks in one another, branches, tensors of many users, pools; odd channels, tiny maps."""
    network = Network("drawn", {"x": (1 / 16, draw(st.sampled_from([-128, 0, 9])))})
    d = Drawing(draw, network)
    height, width, channels = d.size(1, 6), d.size(1, 6), d.size(1, 4)
    x = network.image((1, height, width, channels), 1 / 16, 128)
    x = d.conv(x, d.size(1, 9), stride=d.size(1, 2))
    d.seen.append(x)
    for _ in range(d.size(0, blocks)):
        x = d.same(x, depth=2) if draw(st.booleans()) else d.other(x)
    pixels = int(np.prod(network.shape(x)[1:3]))
    if draw(st.booleans()):
        network.quantization["pool.y"] = (network.builder.tensors[x].scale, 0)
        x, pixels = network.global_average(x), 1
    fan_in = pixels * network.shape(x)[3]
    network.quantization["classifier.y"] = (network.builder.tensors[x].scale * SPREAD * 0.01 * np.sqrt(fan_in), 4)
    return network.loss(network.classifier(x, CLASSES))


def with_parameters(graph: Graph, seed: int, degenerate: bool = False) -> Model:
    """Random weights, biases and scales; ``degenerate`` puts some biases at the ends of int32."""
    random = np.random.default_rng(seed)
    arrays: dict[str, Array] = {}
    scales: dict[str, Array] = {}
    for tensor in graph.outside():
        shape = tensor.type.shape
        if tensor.role == "weight":
            arrays[tensor.name] = random.integers(-127, 128, shape).astype(np.int8)
            outputs = shape[-1] if len(shape) == 3 else shape[0]
            scales[tensor.name] = random.uniform(0.005, 0.015, outputs).astype(np.float32)
        if tensor.role == "bias":
            arrays[tensor.name] = random.integers(-9000, 9001, shape).astype(np.int32)
            if degenerate:
                extreme = random.integers(0, 4, shape)
                arrays[tensor.name][extreme == 0] = INT32_MIN
                arrays[tensor.name][extreme == 1] = INT32_MAX
    return Model(graph, arrays, scales)


@st.composite
def networks(draw: st.DrawFn, blocks: int = 3) -> Model:
    """A drawn forward graph with parameters; in some, channels have degenerated."""
    graph = draw(forward_graphs(blocks))
    return with_parameters(graph, draw(st.integers(0, 2**16)), degenerate=draw(st.integers(0, 4)) == 4)


@st.composite
def schemes(draw: st.DrawFn, model: Model) -> Scheme:
    """Any scheme that fits the model: ratios, lists of channels, whole layers, selectors, heads, counts of biases."""
    weights: dict[str, float | tuple[int, ...]] = {}
    for node in model.convolutions():
        channels = model.arrays[str(node.operand("w"))].shape[-1]
        ratios = st.sampled_from([1.0, 0.5, 0.25, 0.125, 0.7])
        lists = st.sets(st.integers(0, channels - 1), min_size=1).map(lambda chosen: tuple(sorted(chosen)))
        choice = draw(st.none() | ratios | lists)
        if choice is not None:
            weights[layer_name(node)] = choice
    return Scheme(
        "drawn",
        biases=draw(st.none() | st.integers(0, len(model.convolutions()))),
        weights=None if draw(st.integers(0, 5)) == 5 else weights,
        selector=draw(st.sampled_from(sorted(SELECTORS))),
        head=draw(st.sampled_from(HEADS)),
    )


def sample(graph: Graph, seed: int) -> dict[str, Array]:
    """An image of noise and its class, for a forward graph."""
    random = np.random.default_rng(seed)
    image = random.integers(0, 256, graph["image"].type.shape).astype(np.uint8)
    return {"image": image, "target": random.integers(0, CLASSES, graph["target"].type.shape).astype(np.int32)}


@dataclass(frozen=True)
class Step:
    """A model in training and a sample: ``session.graph`` is the pruned training graph."""

    session: Session
    sample: Mapping[str, Array]
    rate: float = 0.01

    @property
    def feeds(self) -> dict[str, Array]:
        """All that the session's graph reads in one step."""
        return feeds(self.session, self.sample, self.rate)


def feeds(session: Session, sample: Mapping[str, Array], rate: float = 0.01) -> dict[str, Array]:
    """All that the session's graph reads in one step."""
    scalars = {"lr": np.float32([rate]), "mu": np.float32([0.9]), "step": np.zeros(1, np.int32)}
    everything = {**session.constants, **session.parameters, **sample, **scalars}
    return {tensor.name: everything[tensor.name] for tensor in session.graph.outside()}


@st.composite
def steps(draw: st.DrawFn, blocks: int = 3, optimizer: str = "sgd") -> Step:
    """A drawn network with a drawn scheme, and a sample to train it on."""
    model = draw(networks(blocks))
    session = Session(model, draw(schemes(model)), optimizer=optimizer)
    rate = draw(st.sampled_from([2.0**-4, 2.0**-8, 1.0]))
    return Step(session, sample(model.graph, draw(st.integers(0, 99))), rate)
