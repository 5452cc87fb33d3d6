"""Checks and conversions of int8 codes that the operators share."""

from __future__ import annotations

import numpy as np

from ..errors import require
from ..numerics import F64, Array


def widen(codes: Array, zero: int = 0) -> F64:
    """codes - zero in float64, where products and sums of codes are exact below 2^53."""
    return codes.astype(np.float64) - zero


def check_codes(rule_id: str, **values: int) -> None:
    """Zero points and clamp bounds are int8 codes, and lo <= hi; otherwise ``rule_id`` is broken."""
    for name, value in values.items():
        require(-128 <= value <= 127, rule_id, f"{name} is {value}", "give a code from -128 to 127")
    if "lo" in values:
        lo, hi = values["lo"], values["hi"]
        require(lo <= hi, rule_id, f"the output range is [{lo}, {hi}]", "give lo <= hi")
