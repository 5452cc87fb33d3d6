"""Equality of bits, and what to say where it fails."""

from __future__ import annotations

import numpy as np

from ..numerics import Array, same_bits
from ..ops import FUNCTIONS, Type
from .case import Case


class Mismatch(AssertionError):  # noqa: N818  (a finding, not a fault of ours)
    """A provider broke a property on a case; the text says everything that is needed to find out why."""

    def __init__(self, case: Case, property_name: str, fault: str, rules: tuple[str, ...] = ()) -> None:
        cited = f" ({', '.join(rules)})" if rules else ""
        super().__init__(f"{case.function}: {fault.splitlines()[0]}{cited}")
        self.case = case
        self.property_name = property_name
        self.fault = fault
        self.rules = rules

    def __str__(self) -> str:
        headline, *details = self.fault.splitlines()
        cited = f" ({', '.join(self.rules)})" if self.rules else ""
        return "\n".join(
            [
                f"{self.case.function} breaks '{self.property_name}': {headline}{cited}",
                *(f"    {line}" for line in details),
                str(self.case),
                f"  repeat: {self.line}",
            ]
        )

    @property
    def line(self) -> str:
        """What to paste into a shell to see this again."""
        return f"python -m goldgrad.conformance '{self.property_name} {self.case.text()}'"


def rules_of(function: str, letters: str) -> tuple[str, ...]:
    """The rules of these class letters that the function and its table of aliases carry; if none does, all."""
    entry = FUNCTIONS[function]
    cited = dict.fromkeys([*getattr(entry.run, "__rules__", ()), *(alias.rule for alias in entry.aliases)])
    return tuple(rule for rule in cited if rule.rpartition("-")[2][0] in letters) or tuple(cited)


def difference(name: str, expected: Array, actual: Array, first: str, second: str) -> str | None:
    """How ``actual`` differs from ``expected`` in bits; None if it does not.

    The number of elements and the first index, then both values (called ``first`` and ``second``) in decimal and in
    hex, and for floats their distance in ulps.
    """
    if (Type.of(expected), actual.dtype) != (Type.of(actual), expected.dtype):
        return f"{name} is {Type.of(actual)}, not {Type.of(expected)}"
    differs = ~same_bits(expected, actual)
    if not differs.any():
        return None
    where = tuple(int(i) for i in np.argwhere(differs)[0])
    count = int(np.count_nonzero(differs))
    left, right = expected[where], actual[where]
    width = max(len(first), len(second))
    return "\n".join(
        [
            f"{count} of {differs.size} elements of {name} differ, first at {list(where)}",
            f"{first:{width}} {_shown(left)}",
            f"{second:{width}} {_shown(right)}{_distance(left, right)}",
        ]
    )


def ulps(a: np.float32, b: np.float32) -> int:
    """How many steps along the float32 line from a to b; -0 and +0 are one step apart."""
    return abs(_ordinal(a) - _ordinal(b))


def _ordinal(x: np.float32) -> int:
    bits = int(np.float32(x).view(np.int32))
    return bits if bits >= 0 else -(bits & 0x7FFFFFFF) - 1


def _shown(value: np.generic) -> str:
    raw = value.tobytes()[::-1].hex()
    return f"{value!s:<15} 0x{raw}"


def _distance(a: np.generic, b: np.generic) -> str:
    if isinstance(a, np.float32) and isinstance(b, np.float32):
        if np.isnan(a) or np.isnan(b):
            return ""
        steps = ulps(a, b)
        return f"  {steps} ulp" + ("s" if steps != 1 else "")
    return f"  off by {int(b) - int(a)}" if isinstance(a, np.integer) and isinstance(b, np.integer) else ""
