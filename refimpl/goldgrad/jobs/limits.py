"""What no kernel can go below on a Cortex-M7, function and shape by function and shape: the ``limit`` of ``bench``.

Four things that a core does a stated number of times a cycle (docs/fast-kernels.md, specs/timing.md); the limit is the
one that takes longest.  They say what arithmetic and operands alone take, not that a kernel exists that takes no more:
widening codes, addresses and the ends of loops are not in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from ..ops._window import Window

if TYPE_CHECKING:
    from .bench import Call

MAC_FUNCTIONS = ("conv2d", "depthwise_conv2d", "fully_connected")
"""Operators whose functions are multiply-accumulates."""
FLOATS: Mapping[str, tuple[int, int]] = {
    "conv2d.forward": (0, 3),
    "depthwise_conv2d.forward": (0, 3),
    "fully_connected.forward": (0, 3),
    "avg_pool2d.forward": (0, 3),
    "add.forward": (3, 0),
    "add.vjp_x": (1, 0),
    "avg_pool2d.vjp_x": (1, 0),
    "mask_scale.forward": (1, 0),
    "bias_gradient.forward": (1, 0),
    "sgd_update_weight.update": (2, 0),
    "sgd_update_bias.update": (2, 0),
}
"""Float operations that rules ask for, besides multiply-accumulates: an element, and one of the result.

Requantization (NUM-N6) converts, multiplies and rounds; a sum of codes (ADD-S1) multiplies, adds fused and rounds, its
codes perhaps from a table; an update multiplies or adds fused and rounds.
"""
ADDED_AT_ONCE = 2
"""Codes that one instruction adds to sums of int16, which average pooling needs."""
WORD = 4
LOADS, STORES = 2, 1
"""Words a cycle from and to memory without wait states."""


@dataclass(frozen=True)
class Limit:
    """The least cycles of a call, and what they are spent on."""

    cycles: float
    by: str
    """``SMLAD``: two products of int8 an instruction, one of these a cycle; ``VFMA``: one of float32 a cycle; ``FP``:
    one float operation a cycle; ``memory``: each byte moved once, two words loaded or one stored a cycle; ``issue``:
    two instructions a cycle, all of the above together."""


def limit(call: Call) -> Limit:
    """The limit of one sample's call."""
    macs, is_float = multiplied(call), call.function.partition(".")[2] != "forward"
    elements = call.elements
    each, each_result = FLOATS.get(call.function, (0, 0))
    floats = elements * each + prod(call.results[0].shape) * each_result
    products = macs if is_float else macs / 2
    added = elements / ADDED_AT_ONCE if call.function == "avg_pool2d.forward" else 0
    loads, stores = (nbytes / WORD for nbytes in moved(call))
    bounds = {
        "VFMA" if is_float else "SMLAD": products,
        "FP": floats + (macs if is_float else 0),
        "memory": max(stores / STORES, (loads + stores) / LOADS),
        "issue": (products + floats + added + loads + stores) / 2,
    }
    by = max(bounds, key=lambda name: bounds[name])  # the first of equal ones: arithmetic before memory
    return Limit(bounds[by], by)


def moved(call: Call) -> tuple[int, int]:
    """Bytes of operands, and of results that are wanted."""
    wanted = (t.nbytes for t, is_wanted in zip(call.results, call.wanted, strict=True) if is_wanted)
    return sum(t.nbytes for t in call.named.values()), sum(wanted)


def multiplied(call: Call) -> int:
    """Multiply-accumulates that meet the map: padding adds none, and nobody need compute it; 0 for other functions."""
    operator, _, function = call.function.partition(".")
    if operator not in MAC_FUNCTIONS:
        return 0
    work: int = call.work[0]
    if operator == "fully_connected":
        return work
    t, attributes = call.named, call.attributes
    whole = t["x"].shape[1:3] if "x" in t else tuple(attributes["in_hw"])
    weight = call.results[0] if function == "vjp_w" else t["w"]
    kernel = weight.shape[:2] if operator == "depthwise_conv2d" else weight.shape[1:3]
    geometry: dict[str, Any] = {k: tuple(v) for k, v in attributes.items() if k in ("stride", "pad", "dilation")}
    window = Window(tuple(whole), tuple(kernel), **geometry)
    met = sum((oh.stop - oh.start) * (ow.stop - ow.start) for _, (oh, ow), _ in window.taps())
    return int(work * met) // (prod(window.out_hw) * prod(kernel))
