"""Passes: graph to graph, a file each, none of which changes a bit of what is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..graph import Graph
from .fuse import fuse
from .fuse_bias import fuse_bias
from .recompute import recompute
from .stream_backward import stream_backward
from .stream_forward import stream_forward
from .stream_image import stream_image

Pass = Callable[[Graph], Graph]
PASSES: Mapping[str, Pass] = {
    "fuse-bias": fuse_bias,
    "stream-forward": stream_forward,
    "stream-backward": stream_backward,
    "fuse": fuse,
}
"""The passes that can be left out, by name, in the order in which they are made."""
OPTIONS: Mapping[str, Pass] = {
    "recompute": recompute,
    "stream-image": stream_image,
}
"""The passes that are made only if asked for: one costs operations, one wants samples row by row."""
SEQUENCE: Mapping[str, Pass] = {"recompute": recompute, **PASSES, "stream-image": stream_image}
"""All of them, in the order in which they are made."""

__all__ = ["OPTIONS", "PASSES", "SEQUENCE", "Pass"]
