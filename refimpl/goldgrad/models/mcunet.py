"""MCUNet-5FPS, as in the Tiny Training Engine's experiments: 14 inverted bottlenecks, 42 convolutions."""

from __future__ import annotations

from ..graph import Graph
from ._bottlenecks import Bottleneck, build
from ._network import Scales

NAME = "mcunet-5fps"
BLOCKS = (
    Bottleneck(16, 8),
    Bottleneck(32, 16, stride=2),
    Bottleneck(48, 16),
    Bottleneck(48, 24, kernel=7, stride=2),
    Bottleneck(120, 24),
    Bottleneck(120, 40, stride=2),
    Bottleneck(160, 40, kernel=7),
    Bottleneck(160, 48, kernel=5),
    Bottleneck(144, 48),
    Bottleneck(192, 48),
    Bottleneck(240, 96, kernel=7, stride=2),
    Bottleneck(384, 96, kernel=5),
    Bottleneck(384, 96, kernel=5),
    Bottleneck(576, 160),
)


def network(quantization: Scales, batch: int = 1) -> Graph:
    """The forward graph with its loss: image uint8 [batch, 128, 128, 3], target int32 [batch]."""
    return build(NAME, BLOCKS, quantization, batch)
