"""Offsets by constraint programming: OR-tools' CP-SAT, where it is installed and greedy placement leaves a gap.

Blocks are rectangles, time by bytes; each has one unknown, its offset, and no two may overlap.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import GoldgradError
from ..rules import rule

if TYPE_CHECKING:
    from .offsets import Packing


def is_available() -> bool:
    """Whether OR-tools is installed."""
    return importlib.util.find_spec("ortools") is not None


def check_available() -> None:
    """Raise if OR-tools is not installed."""
    if not is_available():
        raise GoldgradError("OR-tools is not installed; pip install 'goldgrad[solver]', or plan without it")


@rule("MEM-S7")
def solve(packing: Packing, start: Sequence[int], enough: int, seconds: float) -> Sequence[int]:
    """Offsets by the block's number: the lowest placement found in a time, from ``start`` on.

    ``enough`` bytes are what live at once: no placement needs fewer.
    """
    check_available()
    from ortools.sat.python import cp_model

    model, items, height = cp_model.CpModel(), packing.items, packing.height(start)
    arena = model.new_int_var(enough, height, "arena")
    times, places = [], []
    multiples = []
    for i, block in enumerate(items):
        multiples.append(model.new_int_var(0, (height - block.nbytes) // block.align, f"offset {i}"))
        model.add_hint(multiples[i], start[i] // block.align)
        offset = multiples[i] * block.align
        model.add(offset + block.nbytes <= arena)
        for span in block.spans:
            times.append(model.new_fixed_size_interval_var(span.first, span.last + 1 - span.first, ""))
            places.append(model.new_fixed_size_interval_var(offset, span.nbytes, ""))
    model.add_no_overlap_2d(times, places)
    model.minimize(arena)
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = seconds
    solver.parameters.num_workers = 2
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return start
    return [solver.value(multiple) * block.align for multiple, block in zip(multiples, items, strict=True)]
