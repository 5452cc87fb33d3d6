"""How many instructions a stretch of Thumb code has."""

from __future__ import annotations


def count_instructions(code: bytes) -> int:
    """Count those that begin in ``code``, the first at its start (Arm DDI 0403, A5.1).

    A halfword of which the top five bits are 0b11101 or more is the first of two.
    """
    at = count = 0
    while at + 1 < len(code):
        at += 4 if code[at + 1] >= 0xE8 else 2
        count += 1
    return count
