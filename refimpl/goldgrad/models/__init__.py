"""Networks by name, each with parameters: shipped ones, seeded ones, or real ones from a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import GoldgradError, show
from ..model import Model
from ..model_file import load
from . import digits, mcunet, mobilenet_v2, proxyless_nas
from .calibrate import Build
from .published import load_weights
from .synthetic import synthetic


@dataclass(frozen=True)
class Architecture:
    """A network: ``build(scales, batch)`` gives its forward graph.

    ``shipped`` is the model that comes with goldgrad, pre-trained; ``published`` says that others publish its weights,
    in the layout that :mod:`~goldgrad.models.published` reads.
    """

    name: str
    about: str
    build: Build
    shipped: Path | None = None
    published: bool = False

    def model(self, weights: Path | None = None) -> Model:
        """The network with the weights of a file, or else those shipped with it, or else seeded ones."""
        if weights is not None:
            if not self.published:
                raise GoldgradError(f"{self.name} takes no weights file; leave --weights out")
            return load_weights(weights, self.build)
        return load(self.shipped) if self.shipped else synthetic(self.build)


MODELS = {
    entry.name: entry
    for entry in (
        Architecture(
            "digits", "8 x 8 scans of handwritten digits", digits.network, Path(__file__).with_name("digits.json")
        ),
        Architecture(mobilenet_v2.NAME, "MobileNetV2, width 0.35", mobilenet_v2.network, published=True),
        Architecture(proxyless_nas.NAME, "ProxylessNAS, width 0.3", proxyless_nas.network, published=True),
        Architecture(mcunet.NAME, "MCUNet, 5 frames a second", mcunet.network, published=True),
    )
}
"""Networks by name."""


def architecture(name: str) -> Architecture:
    """The network of that name, or an error that lists those there are."""
    if name not in MODELS:
        raise GoldgradError(f"there is no model {show(name)}; use one of {', '.join(MODELS)}")
    return MODELS[name]
