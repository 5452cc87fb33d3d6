"""Gradient of a bias: the gradient of the accumulator summed over pixels (specs/ops/bias_gradient.md).

Shapes: g float32 [..., C], db float32 [C].
"""

from __future__ import annotations

import numpy as np

from ..errors import require
from ..numerics import F32, add32
from ..rules import rule
from ._checks import check_start, has_channels
from ._function import Type, function


@rule("BIAS-C1", "BIAS-C2")
def types(g: Type, db0: Type | None = None) -> tuple[Type]:
    """Type of db: one float32 a channel of g."""
    require(
        has_channels(g, "float32"),
        "BIAS-C1",
        f"g is {g}",
        "give float32 with channels on the last of at least two axes, no axis empty",
    )
    db = Type(g.shape[-1:], "float32")
    check_start("BIAS-C2", "db0", db0, db)
    return (db,)


@function("g db0?", "db", types, aliases="db=db0:BIAS-A1")
@rule("BIAS-S1", "BIAS-A1", "BIAS-F1")
def forward(g: F32, db0: F32 | None = None) -> F32:
    """From db0 (or +0), the sum of g over samples and, in each, over pixels in raster order."""
    db = np.zeros(g.shape[-1], np.float32) if db0 is None else db0
    for pixel in g.reshape(-1, g.shape[-1]):
        db = add32(db, pixel)
    return db
