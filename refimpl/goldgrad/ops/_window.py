"""The sliding window that convolutions and pools share: sizes, and which taps meet the map (specs/ops/window.md)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from ..errors import require
from ..numerics import INT32_MAX
from ..rules import rule

Pair = tuple[int, int]
Pad = tuple[int, int, int, int]
"""Rows above, rows below, columns left, columns right."""
Area = tuple[slice, slice]
"""Rows and columns of a map, of its result, or of a kernel."""


@dataclass(frozen=True)
class Window:
    """A kernel moving over a map of ``in_hw`` pixels: stride, per-side padding, dilation."""

    in_hw: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...] = (1, 1)
    pad: tuple[int, ...] = (0, 0, 0, 0)
    dilation: tuple[int, ...] = (1, 1)

    @rule("WIN-C1", "WIN-C2", "WIN-C3", "WIN-C4")
    def __post_init__(self) -> None:
        for name in ("in_hw", "kernel", "stride", "dilation"):
            value = getattr(self, name)
            require(
                _integers(value, 2) and min(value) >= 1,
                "WIN-C1",
                f"{name} is {value}",
                "give two integers of at least 1",
            )
        require(
            _integers(self.pad, 4) and min(self.pad) >= 0,
            "WIN-C2",
            f"pad is {self.pad}",
            "give (top, bottom, left, right), none negative",
        )
        require(
            min(self.out_hw) >= 1,
            "WIN-C3",
            f"a kernel of {self.kernel} with dilation {self.dilation} does not fit into a map of {self.in_hw} "
            f"padded by {self.pad}",
            "pad more or use a smaller kernel",
        )
        padded = (self.in_hw[0] + sum(self.pad[:2]), self.in_hw[1] + sum(self.pad[2:]))
        for name, value in (("the padded map", padded), ("stride", self.stride), ("dilation", self.dilation)):
            require(max(value) <= INT32_MAX, "WIN-C4", f"{name} is {value}", f"stay within {INT32_MAX}")

    @property
    @rule("WIN-S1")
    def out_hw(self) -> Pair:
        """Rows and columns of the result: floor((in + pads - reach) / stride) + 1."""
        top, bottom, left, right = self.pad
        (ih, iw), (kh, kw), (sh, sw), (dh, dw) = self.in_hw, self.kernel, self.stride, self.dilation
        return (
            (ih + top + bottom - (kh - 1) * dh - 1) // sh + 1,
            (iw + left + right - (kw - 1) * dw - 1) // sw + 1,
        )

    @rule("WIN-S2")
    def taps(self) -> Iterator[tuple[Pair, Area, Area]]:
        """For each tap (kh, kw) in raster order: the outputs where it meets the map, and the inputs that it meets.

        Both are slices of equal length over rows and columns; a tap that only ever meets padding is left out.
        """
        for kh in range(self.kernel[0]):
            for kw in range(self.kernel[1]):
                rows = self._reach(0, kh)
                columns = self._reach(1, kw)
                if rows and columns:
                    yield (kh, kw), (rows[0], columns[0]), (rows[1], columns[1])

    @rule("WIN-S2")
    def pixels(self) -> Iterator[tuple[Pair, Area, Area]]:
        """For each output (oh, ow) in raster order: the taps that meet the map, and the inputs that they meet.

        An output that no tap connects to the map is left out.
        """
        for oh in range(self.out_hw[0]):
            for ow in range(self.out_hw[1]):
                rows = self._meet(0, oh)
                columns = self._meet(1, ow)
                if rows and columns:
                    yield (oh, ow), (rows[0], columns[0]), (rows[1], columns[1])

    @rule("WIN-S3")
    def unmet(self) -> Pair | None:
        """The first output none of whose taps meets the map, or None where every output meets a pixel."""
        for axis in (0, 1):
            for output in range(self.out_hw[axis]):
                if self._meet(axis, output) is None:
                    return (output, 0) if axis == 0 else (0, output)
        return None

    def _reach(self, axis: int, tap: int) -> tuple[slice, slice] | None:
        """Along one axis: outputs o with 0 <= o * stride - pad + tap * dilation < size, and the inputs there."""
        size, stride = self.in_hw[axis], self.stride[axis]
        offset = tap * self.dilation[axis] - self.pad[2 * axis]
        first = max(0, -(offset // stride))  # ceil(-offset / stride)
        last = min(self.out_hw[axis] - 1, (size - 1 - offset) // stride)
        if first > last:
            return None
        start = first * stride + offset
        return slice(first, last + 1), slice(start, last * stride + offset + 1, stride)

    def _meet(self, axis: int, output: int) -> tuple[slice, slice] | None:
        """Along one axis: taps k with 0 <= origin + k * dilation < size, and the inputs there."""
        size, step = self.in_hw[axis], self.dilation[axis]
        origin = output * self.stride[axis] - self.pad[2 * axis]
        first = max(0, -(origin // step))  # ceil(-origin / step)
        last = min(self.kernel[axis] - 1, (size - 1 - origin) // step)
        if first > last:
            return None
        return slice(first, last + 1), slice(origin + first * step, origin + last * step + 1, step)


def _integers(value: Any, count: int) -> bool:
    """Whether value is a sequence of so many integers."""
    return isinstance(value, tuple | list) and len(value) == count and all(isinstance(v, Integral) for v in value)
