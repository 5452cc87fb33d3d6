"""What kernels are told beside their arrays: sizes, codes, and the window that convolutions and pools share."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from ..ops import Type
from ..ops._window import Pad, Pair, Window
from ._call import Struct

ABSENT = {"lo": -128, "hi": 127}
"""What stands for a code that a function does not have: no clamp, and 0 for a zero point."""

CODES = ("x_zero", "y_zero", "lo", "hi")


def codes(attributes: Mapping[str, Any], names: tuple[str, ...] = CODES) -> dict[str, int]:
    """The attributes that are codes, in the order of ``names``."""
    return {name: attributes.get(name, ABSENT.get(name, 0)) for name in names}


def pixels(type_: Type) -> int:
    """How many pixels an array has: the product of all axes but the last, samples included."""
    return prod(type_.shape[:-1])


def window(
    in_hw: Pair, kernel: Pair, stride: Pair = (1, 1), pad: Pad = (0, 0, 0, 0), dilation: Pair = (1, 1)
) -> dict[str, int]:
    """Fields of gg_window_t."""
    out_h, out_w = Window(in_hw, kernel, stride, pad, dilation).out_hw
    return {
        "in_h": in_hw[0],
        "in_w": in_hw[1],
        "out_h": out_h,
        "out_w": out_w,
        "kernel_h": kernel[0],
        "kernel_w": kernel[1],
        "stride_h": stride[0],
        "stride_w": stride[1],
        "pad_top": pad[0],
        "pad_left": pad[2],
        "dilation_h": dilation[0],
        "dilation_w": dilation[1],
    }


def windowed(
    ctype: str,
    in_hw: Any,
    kernel: Any,
    attributes: Mapping[str, Any],
    sizes: Mapping[str, int],
    names: tuple[str, ...] = CODES,
) -> Struct:
    """The struct of an operator with a window: geometry, ``sizes``, and the codes ``names``."""
    geometry = {k: attributes[k] for k in ("stride", "pad", "dilation") if k in attributes}
    return Struct(ctype, {"window": window(in_hw, kernel, **geometry), **sizes, **codes(attributes, names)})
