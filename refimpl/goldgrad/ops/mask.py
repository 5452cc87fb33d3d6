"""Clamp masks: one bit an element, packed along channels (specs/ops/mask.md).

A mask of C channels takes ceil(C / 8) bytes a pixel: channel c is bit c % 8 of byte c // 8, bits past C are 0.
Shapes: flags bool [..., C], mask uint8 [..., ceil(C / 8)].
"""

from __future__ import annotations

import numpy as np

from ..errors import require
from ..numerics import Array
from ..rules import rule
from ._function import Shape, Type, function


@rule("MASK-S1")
def mask_type(shape: Shape) -> Type:
    """Type of the mask of an array of ``shape``."""
    return Type((*shape[:-1], -(-shape[-1] // 8)), "uint8")


@rule("MASK-C1")
def types_pack(flags: Type) -> tuple[Type]:
    """Type of the mask, or the constraint that the operand breaks."""
    require(
        flags.dtype == "bool" and min(flags.shape, default=0) >= 1,
        "MASK-C1",
        f"flags is {flags}",
        "give bool with channels on the last axis, no axis empty",
    )
    return (mask_type(flags.shape),)


@function("flags", "mask", types_pack)
@rule("MASK-S1", "MASK-S2", "MASK-A1", "MASK-F1")
def pack(flags: Array) -> Array:
    """bool [..., C] to uint8 [..., ceil(C / 8)]."""
    return np.packbits(flags, axis=-1, bitorder="little")


@rule("MASK-C2")
def types_unpack(mask: Type, *, channels: int) -> tuple[Type]:
    """Type of the flags, or the constraint that the operand breaks."""
    require(
        mask.dtype == "uint8" and len(mask.shape) >= 1 and channels >= 1 and mask.shape[-1] == -(-channels // 8),
        "MASK-C2",
        f"mask is {mask} for {channels} channels",
        "give uint8 with ceil(channels / 8) bytes on the last axis",
    )
    return (Type((*mask.shape[:-1], channels), "bool"),)


@function("mask", "flags", types_unpack)
@rule("MASK-S1", "MASK-S3", "MASK-A1", "MASK-F1")
def unpack(mask: Array, channels: int) -> Array:
    """uint8 [..., ceil(C / 8)] to bool [..., C]."""
    return np.unpackbits(mask, axis=-1, count=channels, bitorder="little").astype(bool)
