"""The fields of gg_weight_slice_t (kernels_c/include/goldgrad/weight_slice.h)."""

from __future__ import annotations

from math import prod

from ..ops import Type
from ..ops._weight_slice import scale_axis
from ._call import Struct


def weight_slice(w: Type, channels: Type | None) -> Struct:
    """The weight's layout, and how many of its channels train."""
    by_row = scale_axis(w.shape) == 0
    rows = w.shape[0] if by_row else 1
    return Struct(
        "gg_weight_slice_t",
        {
            "rows": rows,
            "taps": prod(w.shape[:-1]) // rows,
            "channels": w.shape[-1],
            "selected": w.shape[-1] if channels is None else channels.shape[0],
            "q_per_channel": int(not by_row),
        },
    )
