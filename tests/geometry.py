"""Sliding windows for tests, by definition (specs/ops/window.md): plain loops over plain ints."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Geometry:
    """A kernel, and the map that it slides over."""

    in_hw: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    pad: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)

    @property
    def attributes(self) -> dict[str, Any]:
        """What every operator with a window takes."""
        return {"stride": self.stride, "pad": self.pad, "dilation": self.dilation}

    @property
    def out_hw(self) -> tuple[int, int]:
        """How often the spread kernel can be laid onto the padded map, along each axis."""
        return self._places(0), self._places(1)

    def _places(self, axis: int) -> int:
        padded = self.in_hw[axis] + self.pad[2 * axis] + self.pad[2 * axis + 1]
        start = count = 0
        while start + (self.kernel[axis] - 1) * self.dilation[axis] < padded:
            start += self.stride[axis]
            count += 1
        return count

    def meetings(self) -> Iterator[tuple[tuple[int, int], tuple[int, int], tuple[int, int]]]:
        """(output, tap, input) for every tap that meets the map: outputs in raster order, then taps in raster order."""
        for oh in range(self.out_hw[0]):
            for ow in range(self.out_hw[1]):
                for kh in range(self.kernel[0]):
                    for kw in range(self.kernel[1]):
                        ih = oh * self.stride[0] - self.pad[0] + kh * self.dilation[0]
                        iw = ow * self.stride[1] - self.pad[2] + kw * self.dilation[1]
                        if 0 <= ih < self.in_hw[0] and 0 <= iw < self.in_hw[1]:
                            yield (oh, ow), (kh, kw), (ih, iw)

    def of_output(self) -> dict[tuple[int, int], list[Any]]:
        """For each output (tap, input), taps in raster order."""
        table = defaultdict(list)
        for output, tap, pixel in self.meetings():
            table[output].append((tap, pixel))
        return table

    def of_input(self) -> dict[tuple[int, int], list[Any]]:
        """For each input (output, tap), outputs in raster order."""
        table = defaultdict(list)
        for output, tap, pixel in self.meetings():
            table[pixel].append((output, tap))
        return table

    def of_tap(self) -> dict[tuple[int, int], list[Any]]:
        """For each tap (output, input), outputs in raster order."""
        table = defaultdict(list)
        for output, tap, pixel in self.meetings():
            table[tap].append((output, pixel))
        return table

    @property
    def fits(self) -> bool:
        """Whether there is an output."""
        return min(self.out_hw) > 0

    @property
    def pools(self) -> bool:
        """Whether every output meets a pixel."""
        return self.fits and len(self.of_output()) == self.out_hw[0] * self.out_hw[1]


ODD = {
    "one pixel": Geometry((1, 1), (1, 1)),
    "pointwise": Geometry((3, 2), (1, 1)),
    "whole map": Geometry((3, 4), (3, 4)),
    "same padding": Geometry((4, 3), (3, 3), pad=(1, 1, 1, 1)),
    "kernel larger than map": Geometry((2, 3), (5, 4), pad=(2, 2, 1, 3)),
    "stride larger than kernel": Geometry((9, 7), (2, 1), stride=(4, 3)),
    "stride leaves rows over": Geometry((6, 5), (3, 2), stride=(2, 2)),
    "padding on one side": Geometry((4, 5), (3, 3), stride=(2, 2), pad=(0, 1, 1, 0)),
    "dilation": Geometry((7, 6), (3, 2), pad=(1, 0, 2, 0), dilation=(3, 2)),
    "dilation and stride": Geometry((8, 5), (2, 3), stride=(3, 2), pad=(0, 2, 2, 1), dilation=(3, 2)),
    "padding larger than kernel": Geometry((2, 2), (1, 2), pad=(3, 0, 0, 4)),
    "map between the taps": Geometry((1, 2), (2, 1), pad=(2, 4, 1, 1), dilation=(5, 1)),
}
"""Geometries that a person should think of."""


def odd(pool: bool = False) -> dict[str, Geometry]:
    """ODD, or those of them that a pool accepts."""
    return {name: geometry for name, geometry in ODD.items() if geometry.pools or not pool}


def some(count: int, seed: int, pool: bool = False) -> list[Geometry]:
    """Random geometries with at least one output; for a pool, with a pixel in each."""
    rng, found = random.Random(seed), []

    def pair(most: int) -> tuple[int, int]:
        return rng.randint(1, most), rng.randint(1, most)

    while len(found) < count:
        pad = tuple(rng.choice((0, 0, 1, 2, 3)) for _ in range(4))
        geometry = Geometry(pair(7), pair(5), pair(4), pad, pair(3))
        if geometry.pools if pool else geometry.fits:
            found.append(geometry)
    return found
