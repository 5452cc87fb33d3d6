"""Where the timing model takes code and data to be, and what an emulator has to count for that."""

from __future__ import annotations

from enum import Enum

from ...errors import GoldgradError, show
from ...rules import rule

KINDS = ("dtcm", "sram", "flash-aware")
"""Everything without wait states; data beyond DTCM in SRAM1; code and weights in flash besides."""


@rule("TIM-C1")
def watched(kind: str) -> str:
    """What an emulator must watch for it: edges, or memory as well."""
    if kind not in KINDS:
        raise GoldgradError(f"there is no memory {show(kind)} for the timing model; use {', '.join(KINDS)}")
    return "edges" if kind == "dtcm" else "memory"


class Place(Enum):
    """What an address is to the timing model."""

    TIGHT = "without wait states"
    SRAM = "SRAM1 or SRAM2"
    FLASH = "flash on the AXI bus"
    FLASH_ITCM = "flash on the ITCM bus"
