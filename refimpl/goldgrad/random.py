"""Random numbers that are the same on every machine and for every version of NumPy.

NumPy promises its bit generators' raw output, not the distributions made from it; so the distributions are here.
"""

from __future__ import annotations

import numpy as np

from .numerics import F64, Array


class Stream:
    """A stream of draws from PCG64 with a seed."""

    def __init__(self, seed: int) -> None:
        self._raw = np.random.PCG64(seed)

    def uniform(self, *shape: int) -> F64:
        """Multiples of 2^-53 in [0, 1), each equally likely."""
        count = int(np.prod(shape, dtype=np.int64))
        return ((self._raw.random_raw(count) >> np.uint64(11)).astype(np.float64) * 2.0**-53).reshape(shape)

    def symmetric(self, *shape: int) -> F64:
        """Uniform in [-1, 1)."""
        return self.uniform(*shape) * 2 - 1

    def permutation(self, count: int) -> Array:
        """0 .. count - 1 in random order."""
        return np.argsort(self.uniform(count), kind="stable")
