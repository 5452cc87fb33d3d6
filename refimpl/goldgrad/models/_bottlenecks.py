"""Networks that are a table of inverted bottlenecks: what the three networks of the Tiny Training Engine share.

128 x 128 images, a convolution to 16 channels at half the resolution, bottlenecks, the mean of the map, a classifier.
Convolutions are numbered as published update schemes count them: ``conv00`` is the first, the classifier is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import NamedTuple

from ..graph import Graph
from ._network import Network, Scales

SIDE, CLASSES = 128, 10
IMAGE_SCALE, IMAGE_ZERO = 2 / 255, 128
"""Grey levels 0 .. 255 are -1.004 .. 0.996, as int8 codes of the same scale and zero point 0 are."""
FIRST = 16
"""Channels of the first convolution."""


class Bottleneck(NamedTuple):
    """Expand to ``expanded`` channels, convolve each in a square window, project to ``outputs`` channels.

    Nothing expands where the input has ``expanded`` channels already; the input is added where shapes agree.
    """

    expanded: int
    outputs: int
    kernel: int = 3
    stride: int = 1


def build(name: str, blocks: Sequence[Bottleneck], quantization: Scales, batch: int) -> Graph:
    """The forward graph with its loss: image uint8 [batch, 128, 128, 3], target int32 [batch]."""
    n, names = Network(name, quantization), (f"conv{i:02}" for i in count())
    x = n.image((batch, SIDE, SIDE, 3), IMAGE_SCALE, IMAGE_ZERO)
    x = n.conv(next(names), x, FIRST, kernel=3, stride=2)
    for number, block in enumerate(blocks):
        x = _bottleneck(n, names, f"add{number:02}", x, block)
    return n.loss(n.classifier(n.global_average(x), CLASSES))


def _bottleneck(n: Network, names: Iterator[str], add: str, x: str, block: Bottleneck) -> str:
    y = x
    if n.shape(x)[3] != block.expanded:
        y = n.conv(next(names), y, block.expanded)
    y = n.depthwise(next(names), y, block.kernel, block.stride)
    y = n.conv(next(names), y, block.outputs, relu=False)
    return n.add(add, x, y) if n.shape(x) == n.shape(y) else y
