"""For tests of composite nodes: random networks, placements, and composites run alone between canaries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

import graphs
from goldgrad import kernels
from goldgrad.composites import KINDS, writing
from goldgrad.errors import ConstraintError
from goldgrad.graph import Graph, Node
from goldgrad.interpreter import reference, run, run_in_arena
from goldgrad.memory.liveness import Life, lives
from goldgrad.memory.scratch import scratch_bytes, scratch_name
from goldgrad.memory.sharing import legal_pairs
from goldgrad.models._network import Network
from goldgrad.numerics import same_bits
from goldgrad.ops import Type
from goldgrad.training import Session
from networks import with_parameters


def composites(graph: Graph) -> Iterator[Node]:
    """The composite nodes of a graph."""
    return (node for node in graph.nodes if node.body)


# --- random networks -----------------------------------------------------------------------------------------------


class Blocks(Network):
    """Networks with windows of any shape."""

    def window(self, name: str, x: str, function: str, outputs: int, kernel: Any, **geometry: Any) -> str:
        """A convolution or depthwise convolution with sides, strides and dilations of its own."""
        channels = self.shape(x)[3]
        shape = (outputs, *kernel, channels) if function == "conv2d" else (*kernel, channels)
        of = outputs if function == "conv2d" else channels
        return self._layer(f"{function}.forward", name, x, Type(shape, "int8"), of, True, **geometry)


@st.composite
def networks(draw: st.DrawFn) -> Graph:
    """Forward graphs of one small image: blocks, windows of any geometry, pools, skip connections, fan-out."""
    n = Blocks("random", {}, default=(draw(st.sampled_from((0.02, 0.1))), draw(st.integers(-20, 20))))
    side = st.integers(2, 7)
    x = n.image((1, draw(side), draw(side), draw(st.integers(1, 3))), 1 / 256, 3)
    earlier = [x]
    for i in range(draw(st.integers(2, 5))):
        x = _layer(draw, n, f"layer{i}", x, earlier)
        earlier.append(x)
    return n.loss(n.classifier(n.global_average(x), 3))


def _layer(draw: st.DrawFn, n: Blocks, name: str, x: str, earlier: list[str]) -> str:
    channels = st.integers(1, 10)
    alike = [other for other in earlier if n.shape(other) == n.shape(x)]
    match draw(st.sampled_from(("block", "block", "block", "conv", "depthwise", "conv2d", "pool", "add"))):
        case "block":
            outputs = draw(st.sampled_from((n.shape(x)[3], draw(channels))))
            kernel, stride = draw(st.sampled_from((1, 3, 5))), draw(st.integers(1, 2))
            expanded = draw(st.sampled_from((*range(1, 13), 16, 24)))
            return n.inverted_bottleneck(name, x, expanded, outputs, kernel, stride)
        case "conv":
            return n.conv(name, x, draw(channels), draw(st.sampled_from((1, 1, 3))))
        case "add":
            return n.add(name, draw(st.sampled_from(alike)), x)
        case "pool":
            height, width = n.shape(x)[1:3]
            kernel = (draw(st.integers(1, min(height, 3))), draw(st.integers(1, min(width, 3))))
            stride = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
            return (n.maximum if draw(st.booleans()) else n.average)(name, x, kernel, stride)
        case function:
            kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
            dilation = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
            reach = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
            missing = [max(0, r + 1 - size) for r, size in zip(reach, n.shape(x)[1:3], strict=True)]
            pads = [draw(st.integers(0, 2)) for _ in range(4)]
            pad = (pads[0] + missing[0], pads[1], pads[2] + missing[1], pads[3])
            stride = (draw(st.integers(1, 3)), draw(st.integers(1, 2)))
            op = "depthwise_conv2d" if function == "depthwise" else "conv2d"
            return n.window(name, x, op, draw(channels), kernel, stride=stride, pad=pad, dilation=dilation)


@st.composite
def steps(draw: st.DrawFn, optimizer: str = "sgd") -> graphs.Step:
    """A step of a drawn network: of those with windows of any geometry, or of those nested and branched."""
    if draw(st.booleans()):
        return draw(graphs.steps(optimizer=optimizer))
    model = with_parameters(draw(networks()), draw(st.integers(0, 9)))
    session = Session(model, draw(graphs.schemes(model)), optimizer=optimizer, mu=0.5)
    return graphs.Step(session, graphs.sample(model.graph, draw(st.integers(0, 99))), 0.1)


def all_values(graph: Graph, given: dict[str, Any]) -> dict[str, Any]:
    """Every tensor of a graph without composites."""
    names = [name for name in graph.tensors if name not in given and name not in graph.updates.values()]
    return {**given, **run(replace(graph, outputs=tuple(names)), given)}


# --- placements ----------------------------------------------------------------------------------------------------


def first_fit(graph: Graph, share: bool = True) -> dict[str, int]:
    """Offsets of every tensor and scratch, each at the first free place; a result takes an operand's where it may."""
    life = dict(lives(graph))
    size = {name: tensor.nbytes for name, tensor in graph.tensors.items()}
    for time, node in enumerate(graph.nodes):
        if node.body:
            life[scratch_name(node)] = Life(time, time)
            size[scratch_name(node)] = scratch_bytes(graph, node)
    offsets: dict[str, int] = {}
    for name in sorted(life, key=lambda n: (life[n].first, "scratch of" in n)):
        first = life[name].first
        if share and first >= 0 and name in graph.tensors:
            pairs = legal_pairs(graph, graph.nodes[first])
            for result, operand in sorted(pairs, key=lambda pair: (graph.updates.get(pair[1]) != pair[0], pair)):
                ends = life[operand].last == first and graph[operand].nbytes >= size[name]
                clear = all(
                    o == operand or not overlap(offsets, size, o, operand) for o in offsets if life[o].last >= first
                )
                if result == name and operand in offsets and ends and clear and name not in offsets:
                    offsets[name] = offsets[operand]
        if name not in offsets:
            spans = sorted((offsets[o], offsets[o] + size[o]) for o in offsets if life[o].last >= first)
            offset = 0
            for start, end in spans:
                if offset + size[name] <= start:
                    break
                offset = max(offset, -(-end // 4) * 4)
            offsets[name] = offset
    return offsets


def overlap(offsets: dict[str, int], size: dict[str, int], one: str, other: str) -> bool:
    """Whether two placed things share a byte."""
    return offsets[one] < offsets[other] + size[other] and offsets[other] < offsets[one] + size[one]


def goes_wrong(graph: Graph, given: dict[str, Any], placement: dict[str, int]) -> bool:
    """Whether an illegal placement shows when it is run: in the bits, or as an operand that no function takes."""
    try:
        results = run_in_arena(graph, given, placement, check=False)
    except ConstraintError:
        return True
    return not same(results, run(graph, given))


# --- composites alone ----------------------------------------------------------------------------------------------


def c_writes(function: str, operands: Any, destinations: Any, attributes: Any) -> None:
    """A call of the C kernels that writes where the results belong, as a device does."""
    assert all(home is None or home.flags.c_contiguous for home in destinations)
    kernels.call(function, operands, destinations, **attributes)


CALLS = {"reference": writing(reference), "c": c_writes}
GUARD = 16


class Memory:
    """Arrays between canaries."""

    def __init__(self) -> None:
        self.buffers: dict[str, Any] = {}

    def empty(self, name: str, nbytes: int) -> Any:
        """Bytes of poison with canaries around; the array begins at a multiple of 16."""
        self.buffers[name] = np.full(nbytes + 2 * GUARD, 0xA5, np.uint8)
        middle = self.buffers[name][GUARD : GUARD + nbytes]
        middle[:] = 0xFF
        return middle

    def intact(self) -> bool:
        """Whether every canary is as it was."""
        return all((b[:GUARD] == 0xA5).all() and (b[len(b) - GUARD :] == 0xA5).all() for b in self.buffers.values())


def run_alone(graph: Graph, node: Node, values: dict[str, Any], call: Any, shared: dict[str, str]) -> dict[str, Any]:
    """Run a composite between canaries, results in the place of operands as ``shared`` says; checks what it writes."""
    memory, homes = Memory(), {}
    for name in node.operands:
        homes[name] = memory.empty(name, values[name].nbytes).view(values[name].dtype).reshape(values[name].shape)
        homes[name][...] = values[name]
    for name in node.results:
        type_ = graph[name].type
        flat = homes[shared[name]].reshape(-1).view(np.uint8) if name in shared else memory.empty(name, type_.nbytes)
        homes[name] = flat[: type_.nbytes].view(type_.dtype).reshape(type_.shape)
    scratch = memory.empty("scratch", scratch_bytes(graph, node))
    results = {name: homes[name] for name in node.results}
    KINDS[node.function].execute(graph, node, {n: homes[n] for n in node.operands}, results, scratch, call)
    assert memory.intact()
    for name in node.operands:
        assert name in shared.values() or same_bits(homes[name], values[name]).all(), f"{name} is overwritten"
    return results


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether all arrays of ``one`` have the bits of those of ``other``."""
    return all(same_bits(array, other[name]).all() for name, array in one.items())
