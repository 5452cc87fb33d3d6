"""Where tables are printed, and what numbers look like."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

WIDTH = 120
"""Columns where nobody watches: tables in a log do not wrap to a terminal's width."""


def console() -> Console:
    """Standard output."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)


def kb(nbytes: int) -> str:
    """Bytes in KB of 1,024, as the published schemes count them."""
    return f"{nbytes / 1024:,.1f} KB"


def tell_files(console: Console, pictures: Sequence[Path], document: Path | None) -> None:
    """The last line: what was written."""
    line = f"pictures: {', '.join(map(str, pictures))}" + (f"; JSON: {document}" if document else "")
    console.print(line, markup=False, soft_wrap=True)
