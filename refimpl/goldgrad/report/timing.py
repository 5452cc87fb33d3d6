"""docs/timing-validation.md: the timing model beside hardware and llvm-mca, and what each part of it is worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from ..board.errors import BoardError
from ..board.timing import mca
from ..board.timing.table import PARTS, Table, load
from ..board.timing.validate import USES, Outcome, Summary, Validation, band, data, summary
from ..errors import GoldgradError
from .files import check_outputs, write_files, write_json

GOAL_MEDIAN, GOAL_WORST = 5.0, 12.0
"""Percent, on held-out integer code."""
PIPELINE = tuple(part for part in PARTS if part not in ("unaligned access", "banks", "flash", "SRAM1"))
"""Parts that calls on their own, without memory, can show."""


def run(console: Console, folder: Path, markdown: Path | None, document: Path | None) -> int:
    """Put the model beside what ``folder`` has; an error if that is nothing."""
    check_outputs(markdown, document)
    table, validation = load(), Validation(folder)
    outcomes = validation.outcomes(table)
    done = [outcome for outcome in outcomes if outcome.predicted is not None]
    for outcome in outcomes:
        console.print(_line(outcome), markup=False)
    if not done:
        raise GoldgradError(f"{folder} has none of the ELFs that validation.toml tells of; build some of them there")
    without = {part: validation.outcomes(table.without(part)) for part in PIPELINE}
    for name, found in summaries(outcomes).items():
        if found:
            console.print(f"{name}: {_said(found)}")
    bands = {kind: band(outcomes, kind) for kind in ("integer", "float")}
    console.print(f"bands: {bands['integer']} % for integer code, {bands['float']} % for float32")
    for part, changed in worth(outcomes, without).items():
        numbers = ", ".join(f"{kind} {value:+.1f} %" for kind, value in changed.items())
        console.print(f"without {part}: {numbers}")
    try:
        version, comparisons = mca.version(), mca.compare(table)
    except BoardError as error:
        version, comparisons = "", []
        console.print(f"no llvm-mca: {error}")
    if markdown:
        text = page(table, outcomes, without, version, comparisons)
        write_files({markdown: text.encode()})
        console.print(f"written: {markdown}")
    if document:
        write_json(
            document,
            {
                "model": table.name,
                "points": [{**asdict(o.point), "predicted": o.predicted, "skipped": o.skipped} for o in outcomes],
                "worth": worth(outcomes, without),
            },
        )
    return 0


def _line(outcome: Outcome) -> str:
    p = outcome.point
    if outcome.predicted is None:
        return f"{p.name}: skipped, {outcome.skipped}"
    return f"{p.name}: {p.cycles:,g} on hardware, {outcome.predicted:,.1f} predicted ({outcome.error:+.1f} %), {p.use}"


def _said(found: Summary) -> str:
    return f"{found.count} points, median {found.median:.1f} %, worst {found.worst:.1f} %"


def summaries(outcomes: Sequence[Outcome]) -> dict[str, Summary | None]:
    """Absolute errors by kind, use, and whether the compiler was the board's."""
    sources = data().sources

    def of(test: Callable[[Outcome], bool]) -> Summary | None:
        return summary([outcome for outcome in outcomes if test(outcome)])

    found: dict[str, Summary | None] = {}
    for kind in ("integer", "float"):
        for use in USES:
            found[f"{kind}, {use}"] = of(lambda o, k=kind, u=use: o.point.kind == k and o.point.use == u)  # type: ignore[misc]
    found["integer, not fitted, compiler as on the board"] = of(
        lambda o: o.point.kind == "integer" and o.point.use != "fitted" and sources[o.point.source]["same_compiler"]
    )
    found["integer, not fitted"] = of(lambda o: o.point.kind == "integer" and o.point.use != "fitted")
    return found


def worth(outcomes: Sequence[Outcome], without: Mapping[str, Sequence[Outcome]]) -> dict[str, dict[str, float]]:
    """By how many percent cycles change when a part is left out: the median over points, by kind."""
    found: dict[str, dict[str, float]] = {}
    for part, others in without.items():
        found[part] = {}
        for kind in ("integer", "float"):
            changes = [
                100 * (other.predicted / outcome.predicted - 1)
                for outcome, other in zip(outcomes, others, strict=True)
                if outcome.point.kind == kind and outcome.predicted and other.predicted is not None
            ]
            if changes:
                found[part][kind] = median(changes)
    return found


def page(
    table: Table,
    outcomes: Sequence[Outcome],
    without: Mapping[str, Sequence[Outcome]],
    version: str,
    comparisons: Sequence[mca.Comparison],
) -> str:
    """The whole page."""
    lines = [
        "# How good the timing model is",
        "",
        f"Made by `goldgrad timing validate FOLDER --markdown docs/timing-validation.md`, for the model {table.name}. "
        "Counts of hardware are their publishers' (`refimpl/goldgrad/board/timing/validation.toml`); predictions are "
        "of the same code, called alone on Unicorn, everything without wait states. The code is not here: whoever has "
        "it builds it, and a point whose ELF is missing is skipped with that reason.",
        "",
        "*fitted*: its count decided a number or a rule of the model. *seen*: looked at while the model was made, "
        "decided nothing. *held out*: looked at when the integer part of the model was fixed.",
        "",
        *_points(outcomes),
        "## Errors",
        "",
        "| points | how many | median | worst |",
        "|---|---|---|---|",
    ]
    for name, found in summaries(outcomes).items():
        if found:
            lines.append(f"| {name} | {found.count} | {found.median:.1f} % | {found.worst:.1f} % |")
    held = summaries(outcomes)["integer, held out"]
    if held:
        kept = held.median < GOAL_MEDIAN and held.worst < GOAL_WORST
        lines += [
            "",
            f"The goal was a median under {GOAL_MEDIAN:g} % and a worst under {GOAL_WORST:g} % on integer code that "
            f"was held out: {'kept' if kept else 'not kept'}. Where compilers differ, loops may differ, and nobody has "
            "the board's listing: these points show model and compiler together.",
        ]
    lines += [
        "",
        f"The band beside every total is ± {table.band['integer']:g} % for integer code and "
        f"± {table.band['float']:g} % for float32: within it are four of five of the points to which nothing was "
        "fitted. Their worst are above. "
        "No count of an fp32 matrix product, an axpy or a training kernel was found anywhere: for these the float band "
        "rests on filters and transforms. What memory adds (`--memory sram`, `flash-aware`) is not validated at all.",
        "",
        "## What each part is worth",
        "",
        "Cycles when one part of the model is left out, as the median change over the points above:",
        "",
        "| without | integer | float |",
        "|---|---|---|",
    ]
    for part, changed in worth(outcomes, without).items():
        cells = (f"{changed[kind]:+.1f} %" if kind in changed else "" for kind in ("integer", "float"))
        lines.append(f"| {part} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *_mca(table, version, comparisons)]) + "\n"


def _points(outcomes: Sequence[Outcome]) -> list[str]:
    lines: list[str] = []
    for name, source in data().sources.items():
        lines += [
            f"## {name}",
            "",
            f"{source['what']}. Compiler: {source['compiler']}. {source['elves']}.",
            "",
            "| | hardware | predicted | error | instructions | level | |",
            "|---|---|---|---|---|---|---|",
        ]
        for outcome in outcomes:
            p = outcome.point
            if p.source != name:
                continue
            if outcome.predicted is None:
                lines.append(f"| {p.name} | {p.cycles:,g} | | | | {p.level} | skipped: {outcome.skipped} |")
                continue
            cells = f"{p.cycles:,g} | {outcome.predicted:,.1f} | {outcome.error:+.1f} % | {outcome.instructions:,.1f}"
            lines.append(f"| {p.name} | {cells} | {p.level} | {p.use} |")
        lines.append("")
    return lines


def _mca(table: Table, version: str, comparisons: Sequence[mca.Comparison]) -> list[str]:
    if not comparisons:
        return ["## llvm-mca", "", "Not installed where this page was made."]
    crashed = [c.bench.name for c in comparisons if c.theirs is None]
    known = [(c.bench, c.theirs) for c in comparisons if c.theirs is not None]
    differ = [(bench, theirs) for bench, theirs in known if abs(theirs - bench.cycles) > 0.05 * bench.cycles]
    lines = [
        "## llvm-mca",
        "",
        f"{version}, the microbenchmarks of the table as loops: of {len(known)} that it simulates, "
        f"{len(known) - len(differ)} within 5 %"
        + (f" (it crashes on {', '.join(crashed)})" if crashed else "")
        + ". Where they differ, the last column has what the row follows, and who disagrees:",
        "",
        "| microbenchmark | part of the table | model | llvm-mca | the table on it |",
        "|---|---|---|---|---|",
    ]
    for bench, theirs in differ:
        note = _note(table, bench.rule)
        lines.append(f"| {bench.name} | {bench.rule} | {bench.cycles:g} | {theirs:.2f} | {note} |")
    return lines


def _note(table: Table, rule: str) -> str:
    """Whom a part of the table follows, and who says otherwise."""
    entry: Mapping[str, Any] = table.notes.get(".".join(rule.split(".")[:2]), {})
    sources = ", ".join(entry.get("sources", ()))
    return "; ".join(text for text in (sources, entry.get("disagreement", "")) if text)
