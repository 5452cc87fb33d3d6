"""Make a failing case plain and small: as many zeros, and as few elements, as it still fails with.

Hypothesis shrinks what it drew; the elements of arrays come from seeded patterns, which it cannot take apart.  That
is done here, on the case alone, so that a case from elsewhere is made plain in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations, islice
from time import monotonic

import numpy as np

from ..errors import ConstraintError
from ..numerics import Array
from ..ops._split_weight import merge
from .case import Case
from .compare import Mismatch

POSITIVE = frozenset({"m", "m1", "m2", "s", "q"})
"""Operands whose plainest value is 1, for they are scales."""

FIXED = frozenset({"channels", "limit", "target", "targets", "index"})
"""Operands whose elements are tied to each other or to another operand's: their values are left alone."""

Axis = tuple[str, int]
"""An operand's name and the number of one of its axes; or ``in_hw``, which says the size of a map, and 0 or 1."""


def minimise(
    found: Mismatch, fails: Callable[[Case], Mismatch | None], seconds: float = 5.0, keep_shapes: bool = False
) -> Mismatch:
    """The plainest failure that greedy steps from ``found`` reach in the time given; ``fails`` checks a case.

    ``keep_shapes`` leaves sizes as they are: the kernel is for some only.
    """
    until = monotonic() + seconds
    progress = True
    while progress:
        progress = False
        for steps in (_plainer,) if keep_shapes else (_plainer, _smaller):
            for candidate in steps(found.case):
                if monotonic() > until:
                    return found
                failure = fails(candidate)
                if failure is not None:
                    found, progress = failure, True
                    break
            if progress:
                break
    return found


def _plainer(case: Case) -> Iterator[Case]:
    """Cases with plainer elements, the largest steps first."""
    for name, array in case.operands.items():
        if array is None or name in FIXED:
            continue
        if name == "trained":
            whole = merge(*(case.operands[each] for each in ("w", "trained", "channels")))  # type: ignore[arg-type]
            yield case.having(w=whole, trained=None, channels=None)
        elif name in case.entry.optional:
            yield case.having(**{name: None})
        for candidate in _plainer_arrays(array, 1 if name in POSITIVE else 0):
            yield case.having(**{name: candidate})
    for name, array in case.extra.items():
        if name not in FIXED:
            for candidate in _plainer_arrays(array, 1 if name in POSITIVE else 0):
                yield case.also(**{name: candidate})


def _plainer_arrays(array: Array, plain: int) -> Iterator[Array]:
    """The array with parts of it plain, by halves down to single elements; then with smaller elements."""
    flat = array.reshape(-1)
    with np.errstate(invalid="ignore"):
        busy = np.flatnonzero((flat != plain) | np.signbit(flat.astype(np.float64)))
    parts = 1
    while parts < 2 * busy.size and parts <= 1024:
        for part in np.array_split(busy, min(parts, busy.size)):
            yield _with(array, part, plain)
        parts *= 2
    for at in busy[:16] if plain == 0 else ():
        value = array.flat[at]
        sign = -1 if value < 0 else 1  # another sign could let an accumulator overflow (CONV-C6)
        for smaller in (1, 2):
            if np.isnan(value) or abs(value) > smaller:
                yield _with(array, np.array([at]), sign * smaller)
        if array.dtype.kind == "i" and abs(int(value)) > 3:
            yield _with(array, np.array([at]), int(int(value) / 2))


def _with(array: Array, places: Array, value: int) -> Array:
    changed = array.copy()
    changed.flat[places] = value
    return changed


def _smaller(case: Case) -> Iterator[Case]:
    """Cases with fewer elements along all axes of one length, or along some of them, that break no constraint.

    Which axes belong together is left to chance and to the function's types; the list of a weight's channels that train
    follows.  Another list, or an array besides the operands, would have to follow too: such cases are left as they are.
    """
    yield from _fewer_channels(case)
    is_split = case.operands.get("trained") is not None
    if case.extra or (case.operands.get("channels") is not None and not is_split):
        return
    axes: dict[int, list[Axis]] = {}
    for name, array in case.operands.items():
        if array is None or name == "channels":
            continue
        for axis, length in enumerate(array.shape[:-1] if name == "trained" else array.shape):
            if length > 1 and (name, axis + 1) != ("mask", len(array.shape)):
                axes.setdefault(length, []).append((name, axis))
    for axis, length in enumerate(case.attributes.get("in_hw", ())):
        if length > 1:
            axes.setdefault(length, []).append(("in_hw", axis))
    for length in sorted(axes, reverse=True):
        for together in islice(_subsets(axes[length]), 24):
            for keep in _parts(length):
                candidate = _cropped(case, together, keep, length)
                if candidate is not None:
                    yield candidate


def _fewer_channels(case: Case) -> Iterator[Case]:
    """Cases in which fewer channels of a weight train, by halves down to single ones; at least one does."""
    channels, trained = (case.operands.get(name) for name in ("channels", "trained"))
    if channels is None or trained is None:
        return
    parts = 2
    while parts < 2 * channels.size:
        for part in np.array_split(np.arange(channels.size), min(parts, channels.size)):
            yield case.having(channels=np.delete(channels, part), trained=np.delete(trained, part, axis=-1))
        parts *= 2


def _subsets(axes: list[Axis]) -> Iterator[tuple[Axis, ...]]:
    for size in range(len(axes), 0, -1):
        yield from combinations(axes, size)


def _parts(length: int) -> Iterator[slice]:
    half = length // 2
    yield from (slice(0, half), slice(half, length), slice(1, length), slice(0, length - 1))


def _cropped(case: Case, axes: tuple[Axis, ...], keep: slice, length: int) -> Case | None:
    """The case with only ``keep`` of these axes, and of a mask's bits if channels are among them; None if illegal."""
    operands, attributes = dict(case.operands), dict(case.attributes)
    for name, axis in axes:
        if name == "in_hw":
            in_hw = [*attributes["in_hw"]]
            in_hw[axis] = len(range(length)[keep])
            attributes["in_hw"] = tuple(in_hw)
            continue
        array = operands[name]
        assert array is not None
        operands[name] = np.ascontiguousarray(array[(slice(None),) * axis + (keep,)])
        channels = operands.get("channels")
        if channels is not None and name == "w" and axis == array.ndim - 1:
            if not np.isin(channels, np.arange(length)[keep]).all():
                return None
            operands["channels"] = channels - np.int32(keep.start)
        mask = operands.get("mask")
        if mask is not None and name in ("g", "gy") and axis == array.ndim - 1:
            bits = np.unpackbits(mask, axis=-1, bitorder="little", count=length)[..., keep]
            operands["mask"] = np.packbits(bits, axis=-1, bitorder="little")
    try:
        smaller = replace(case.having(**operands), attributes=attributes)
        assert smaller.types
    except ConstraintError:
        return None
    return smaller
