"""The digits network: a MobileNet of six inverted bottlenecks for 8 x 8 scans of handwritten digits.

The scans are scikit-learn's bundled copy of the UCI test set: 1,797 images of 16 grey levels, written by people
whose writing no other part of the set contains.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..graph import Graph
from ..numerics import Array
from ._network import Network, Scales

CLASSES = 10
IMAGE_SCALE, IMAGE_ZERO = 1 / 16, 0
"""A grey level of 16 is 1.0."""


def network(quantization: Scales, batch: int = 1) -> Graph:
    """The forward graph with its loss: image uint8 [batch, 8, 8, 1], target int32 [batch]."""
    n = Network("digits", quantization)
    x = n.image((batch, 8, 8, 1), IMAGE_SCALE, IMAGE_ZERO)
    x = n.conv("stem", x, 8, kernel=3)
    x = n.inverted_bottleneck("block1", x, expanded=24, outputs=8, kernel=3)
    x = n.inverted_bottleneck("block2", x, expanded=24, outputs=16, kernel=3, stride=2)
    x = n.inverted_bottleneck("block3", x, expanded=48, outputs=16, kernel=3)
    x = n.inverted_bottleneck("block4", x, expanded=48, outputs=16, kernel=5)
    x = n.inverted_bottleneck("block5", x, expanded=64, outputs=24, kernel=3, stride=2)
    x = n.inverted_bottleneck("block6", x, expanded=72, outputs=24, kernel=3)
    x = n.global_average(x)
    return n.loss(n.classifier(x, CLASSES))


@dataclass(frozen=True)
class Scans:
    """Images uint8 [N, 8, 8, 1] with grey levels 0 .. 16, and labels int32 [N]."""

    images: Array
    labels: Array

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Array | slice) -> Scans:
        return Scans(self.images[index], self.labels[index])

    def sample(self, index: int) -> dict[str, Array]:
        """One scan as the feeds of a step."""
        return {"image": self.images[index : index + 1], "target": self.labels[index : index + 1]}

    def feeds(self) -> dict[str, Array]:
        """All scans as the feeds of a batch."""
        return {"image": self.images, "target": self.labels}


def load_scans() -> Scans:
    """All 1,797 scans in scikit-learn's order."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return Scans(bunch.images.astype(np.uint8)[..., None], bunch.target.astype(np.int32))


PRETRAINING = 900
"""Scans that the shipped model was pre-trained on: the first ones, so that most of their writers are others."""
HELD_OUT = 297
"""Scans of the new task that are never trained on."""


def pretraining_scans() -> Scans:
    """The scans that the shipped model has seen, as they are."""
    return load_scans()[:PRETRAINING]


def new_scans() -> tuple[Scans, Scans]:
    """The task that the model has not seen, to train on and held out: other writers' scans, turned by a quarter."""
    scans = load_scans()[PRETRAINING:]
    turned = Scans(np.ascontiguousarray(np.rot90(scans.images, axes=(1, 2))), scans.labels)
    return turned[: len(turned) - HELD_OUT], turned[len(turned) - HELD_OUT :]
