"""Update schemes by name: general ones, those that come with a model, and anybody's own in a TOML file."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from ..errors import GoldgradError, show
from ..model import Model, layer_name
from ..rules import rule
from ..sparse import BIAS_ONLY, FULL, HEAD, Scheme, load_scheme

GENERAL = {
    "full": FULL,  # every weight and bias
    "bias-only": replace(BIAS_ONLY, name="bias-only"),  # every bias, and the head
    "head": HEAD,  # the head alone
}
"""Schemes that fit any model; ``last-K`` besides."""
LAST = re.compile(r"last-([0-9]{1,4})")
_FOLDER = Path(__file__).parent


def names(model: str) -> list[str]:
    """The schemes that come with a model, by the name that follows the model's in their file's."""
    files = sorted(_FOLDER.glob(f"{model}-*.toml"), key=lambda file: (len(file.name), file.name))
    return [file.stem.removeprefix(f"{model}-") for file in files]


@rule("SCHEME-S5")
def named(model: Model, name: str) -> Scheme:
    """The scheme of that name: general, the model's own, or in the TOML file that ``name`` is the path of."""
    own, last = names(model.graph.name), LAST.fullmatch(name)
    if name in GENERAL:
        return GENERAL[name]
    if last:
        return last_layers(model, int(last[1]))
    if name in own:
        return load_scheme(_FOLDER / f"{model.graph.name}-{name}.toml")
    if name.endswith(".toml") or Path(name).is_file():
        return load_scheme(name)
    known = ", ".join([*GENERAL, "last-K", *own])
    raise GoldgradError(f"{model.graph.name} has no scheme {show(name)}; use {known}, or a TOML file")


@rule("SCHEME-S5")
def last_layers(model: Model, count: int) -> Scheme:
    """Weights and biases of the last ``count`` convolutions in full, and the head."""
    convolutions = model.convolutions()
    if count > len(convolutions):
        raise GoldgradError(f"{model.graph.name} has {len(convolutions)} convolutions, not {count}; use fewer")
    layers = convolutions[len(convolutions) - count :]
    return Scheme(f"last-{count}", biases=count, weights={layer_name(node): 1.0 for node in layers})
