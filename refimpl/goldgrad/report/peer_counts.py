"""What other kernels take for the work of a call, from peer_counts.toml, which says how it was counted."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..jobs.bench import Call

FILE = Path(__file__).with_suffix(".toml")


@dataclass(frozen=True)
class Counts:
    """Instructions a multiply-accumulate, or an element, by peer."""

    each: Mapping[str, float]
    of: str
    """What was counted, where that is not the call itself."""
    others: tuple[str, ...]
    """Functions whose work was counted as well."""


@cache
def peers() -> Mapping[str, str]:
    """What each peer is, by its short name."""
    return dict(_file()["peers"])


def counts(call: Call) -> Counts | None:
    """The counts for a call; None if nobody counted such a one."""
    entry = next((entry for entry in _file()["count"] if _fits(entry, call)), None)
    if entry is None:
        return None
    each = {name: float(entry[name]) for name in peers() if name in entry}
    return Counts(each, entry.get("of", ""), tuple(entry.get("with", ())))


@cache
def _file() -> Mapping[str, Any]:
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


def _fits(entry: Mapping[str, Any], call: Call) -> bool:
    if entry["function"] != call.function:
        return False
    shapes = {name: _without_sample(name, kind.shape) for name, kind in call.named.items()}
    if any(shapes.get(name) != tuple(shape) for name, shape in entry.get("shapes", {}).items()):
        return False
    wanted = {key: entry[key] for key in ("kernel", "stride", "map") if key in entry}
    return all(_geometry(call).get(key) == value for key, value in wanted.items())


def _without_sample(name: str, shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(shape if name == "w" else shape[1:])


def _geometry(call: Call) -> dict[str, int]:
    """Height of the kernel and of the map of what moves under it, and the stride."""
    found = {"stride": int(call.attributes.get("stride", (1, 1))[0])}
    operator, _, function = call.function.partition(".")
    if operator in ("conv2d", "depthwise_conv2d"):
        weight = call.results[0] if function == "vjp_w" else call.named["w"]
        found["kernel"] = weight.shape[1 if operator == "conv2d" else 0]
        found["map"] = call.named["x"].shape[1] if "x" in call.named else call.attributes["in_hw"][0]
    return found
