"""Clamp masks: one bit an element, packed along channels (specs/ops/mask.md).

A mask of C channels takes ceil(C / 8) bytes a pixel: channel c is bit c % 8 of byte c // 8, bits past C are 0.
"""

from __future__ import annotations

import numpy as np

from ..numerics import Array
from ..rules import rule
from ._function import Shape, Type


@rule("MASK-S1")
def mask_type(shape: Shape) -> Type:
    """Type of the mask of an array of ``shape``."""
    return Type((*shape[:-1], -(-shape[-1] // 8)), "uint8")


@rule("MASK-S1")
def pack(mask: Array) -> Array:
    """bool [..., C] to uint8 [..., ceil(C / 8)]."""
    return np.packbits(mask, axis=-1, bitorder="little")


@rule("MASK-S1")
def unpack(packed: Array, channels: int) -> Array:
    """uint8 [..., ceil(C / 8)] to bool [..., C]."""
    return np.unpackbits(packed, axis=-1, count=channels, bitorder="little").astype(bool)
