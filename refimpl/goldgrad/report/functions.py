"""A profile by C function, as a table and as plain values (TIM-S11)."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from ..board.timing.functions import Profile, Spent, together


def by_function(profile: Profile) -> Table:
    """A line a function, the most cycles first, and their sum."""
    whole = _whole(profile)
    table = Table(box=SIMPLE_HEAD, caption_justify="left")
    table.caption = "what a function took itself, without what it calls; mispredicted branches are part of its cycles"
    for column in ("function", "calls", "instructions", "cycles", "mispredicted", "share"):
        table.add_column(column, justify="left" if column == "function" else "right", no_wrap=column != "function")
    for name, spent in profile.items():
        table.add_row(escape(name), *_numbers(spent, whole))
    table.add_section()
    table.add_row("all", *_numbers(whole, whole), style="bold")
    return table


def _numbers(spent: Spent, whole: Spent) -> list[str]:
    counts = (spent.calls, spent.instructions, spent.cycles, spent.mispredict)
    return [*(f"{count:,.0f}" for count in counts), f"{100 * _share(spent, whole):.1f} %"]


def listed(profile: Profile) -> list[dict[str, Any]]:
    """A list of functions as plain values; ``share`` is of all cycles, from 0 to 1."""
    whole = _whole(profile)
    return [{"function": name, **spent.as_json(), "share": _share(spent, whole)} for name, spent in profile.items()]


def _whole(profile: Profile) -> Spent:
    return together({"all": spent} for spent in profile.values()).get("all", Spent())


def _share(spent: Spent, whole: Spent) -> float:
    return spent.cycles / whole.cycles if whole.cycles else 0.0
