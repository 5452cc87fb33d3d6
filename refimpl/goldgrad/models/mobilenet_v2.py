"""MobileNetV2 at width 0.35, as in the Tiny Training Engine's experiments: 17 inverted bottlenecks, 51 convolutions."""

from __future__ import annotations

from ..graph import Graph
from ._bottlenecks import Bottleneck, build
from ._network import Scales

NAME = "mobilenet-v2-w0.35"
BLOCKS = (
    Bottleneck(16, 8),
    Bottleneck(48, 8, stride=2),
    Bottleneck(48, 8),
    Bottleneck(48, 16, stride=2),
    *[Bottleneck(96, 16)] * 2,
    Bottleneck(96, 24, stride=2),
    *[Bottleneck(144, 24)] * 3,
    Bottleneck(144, 32),
    *[Bottleneck(192, 32)] * 2,
    Bottleneck(192, 56, stride=2),
    *[Bottleneck(336, 56)] * 2,
    Bottleneck(336, 112),
)


def network(quantization: Scales, batch: int = 1) -> Graph:
    """The forward graph with its loss: image uint8 [batch, 128, 128, 3], target int32 [batch]."""
    return build(NAME, BLOCKS, quantization, batch)
