"""The memory of the STM32F746 (RM0385), as renode/firmware/stm32f746.ld has it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bank:
    """Memory from ``start`` on."""

    name: str
    start: int
    size: int

    @property
    def end(self) -> int:
        """The first address after it."""
        return self.start + self.size

    def __contains__(self, address: int) -> bool:
        return self.start <= address < self.end


ITCM = Bank("ITCM", 0, 16 << 10)
CODE_IN_ITCM = Bank("ITCM", 0x800, 14 << 10)
"""What may be used of it (BOARD-M4): its first 2 KB are out of bounds, so that NULL faults."""
FLASH = Bank("flash", 0x0020_0000, 1 << 20)
"""As the program sees it, on the ITCM bus."""
FLASH_AXI = Bank("flash on the AXI bus", 0x0800_0000, 1 << 20)
"""The same bytes where programmers write them."""
DTCM = Bank("DTCM", 0x2000_0000, 64 << 10)
SRAM = Bank("SRAM1 and SRAM2", 0x2001_0000, 256 << 10)
PROJECTED_SRAM = Bank("SRAM of no real board", SRAM.start, 8 << 20)
"""Where SRAM1 and SRAM2 are, and larger: for steps that do not fit (BOARD-M3)."""
RAM = Bank("RAM", DTCM.start, DTCM.size + SRAM.size)
BELOW_STACK = Bank("what lies below the stack", RAM.start - (64 << 10), 64 << 10)
"""Out of bounds: a stack that overflows gets here."""
PERIPHERALS = Bank("peripherals", 0x4000_0000, 512 << 10)
SYSTEM = Bank("system control space", 0xE000_E000, 4 << 10)

LINKER_NAMES = {"ITCM": CODE_IN_ITCM, "FLASH": FLASH, "FLASH_AXI": FLASH, "DTCM": DTCM, "SRAM": SRAM}
"""Memory regions of the linker script."""


def refused(address: int) -> str:
    """What a load or a store that may not be was: code is read-only, and the rest out of bounds (BOARD-C2)."""
    for bank in (FLASH, CODE_IN_ITCM):
        if address in bank:
            return f"write to {bank.name}"
    return "access outside the memory map"
