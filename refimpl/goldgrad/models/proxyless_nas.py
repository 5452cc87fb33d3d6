"""ProxylessNAS at width 0.3, as in the Tiny Training Engine's experiments: 20 inverted bottlenecks, 60 convolutions."""

from __future__ import annotations

from ..graph import Graph
from ._bottlenecks import Bottleneck, build
from ._network import Scales

NAME = "proxyless-nas-w0.3"
BLOCKS = (
    Bottleneck(16, 8),
    Bottleneck(24, 16, kernel=5, stride=2),
    Bottleneck(48, 16),
    Bottleneck(48, 16, kernel=7, stride=2),
    Bottleneck(48, 16),
    *[Bottleneck(48, 16, kernel=5)] * 2,
    Bottleneck(96, 24, kernel=7, stride=2),
    *[Bottleneck(72, 24, kernel=5)] * 3,
    Bottleneck(144, 32, kernel=5),
    *[Bottleneck(96, 32, kernel=5)] * 3,
    Bottleneck(192, 64, kernel=7, stride=2),
    Bottleneck(384, 64, kernel=7),
    *[Bottleneck(192, 64, kernel=7)] * 2,
    Bottleneck(384, 96, kernel=7),
)


def network(quantization: Scales, batch: int = 1) -> Graph:
    """The forward graph with its loss: image uint8 [batch, 128, 128, 3], target int32 [batch]."""
    return build(NAME, BLOCKS, quantization, batch)
