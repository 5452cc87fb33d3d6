"""docs/timing-validation.md: the timing model beside hardware and llvm-mca, and what each part of it is worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from ..board.errors import BoardError
from ..board.timing import mca
from ..board.timing.table import PARTS, Table, load
from ..board.timing.validate import USES, Fit, Outcome, Summary, Validation, band, best, data, summary
from ..errors import GoldgradError
from ..rules import rule
from .files import check_outputs, write_files, write_json

GOAL_MEDIAN, GOAL_WORST = 5.0, 12.0
"""Percent, on held-out integer code."""
SAME, OTHER = (
    "integer, held out, assembly or the board's compiler",
    "integer, held out, another compiler than the board's",
)
TELLS = 1.0
"""Percent by which a number must change a point for it to tell anything of that number."""
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
    fits = refits(validation, table)
    faults = [fault for refit in fits if (fault := refit.fault)]
    if len(done) == len(outcomes):
        faults += band_faults(table, bands)
    for refit in fits:
        console.print(refit.said)
    for part, changed in worth(outcomes, without).items():
        numbers = ", ".join(f"{kind} {value:+.1f} %" for kind, value in changed.items())
        console.print(f"without {part}: {numbers}")
    try:
        version, comparisons = mca.version(), mca.compare(table)
    except BoardError as error:
        version, comparisons = "", []
        console.print(f"no llvm-mca: {error}")
    if markdown:
        text = page(table, outcomes, without, version, comparisons, fits)
        write_files({markdown: text.encode()})
        console.print(f"written: {markdown}")
    if document:
        write_json(
            document,
            {
                "model": table.name,
                "points": [{**asdict(o.point), "predicted": o.predicted, "skipped": o.skipped} for o in outcomes],
                "worth": worth(outcomes, without),
                "bands": bands,
                "fits": [asdict(refit) for refit in fits],
            },
        )
    for fault in faults:
        console.print(f"[red]{fault}[/red]")
    return 1 if faults else 0


def fit(console: Console, folder: Path) -> int:
    """Compute the fitted numbers of the table anew, from the points that may decide them."""
    table = load()
    fits = refits(Validation(folder), table)
    for refit in fits:
        console.print(refit.said)
        for value, error in refit.errors.items():
            console.print(f"  {value:g}: a mean error of {error:.2f} %")
        for name, value in refit.others.items():
            console.print(f"  {name} alone would give {value:g}")
        if refit.fault:
            console.print(f"[red]{refit.fault}[/red]")
    return 1 if any(refit.fault for refit in fits) else 0


@dataclass(frozen=True)
class Refit:
    """What the declared points make of a fitted number, and what others would."""

    fit: Fit
    now: float
    errors: Mapping[float, float]
    """Of the declared points, in percent, by value; empty if their ELFs are not there."""
    others: Mapping[str, float]
    """What each other point of their kind would give if it alone decided, of those that it makes a difference to."""

    @property
    def fault(self) -> str:
        """What is wrong with the table; empty if nothing is."""
        if not self.errors or best(self.errors) == self.now:
            return ""
        return (
            f"pipeline.toml has {self.now:g} for {self.fit.name}, and its points give {best(self.errors):g}: set that"
        )

    @property
    def said(self) -> str:
        """One line."""
        decided = " and ".join(self.fit.points)
        if not self.errors:
            return f"{self.fit.name}: not fitted, the ELF of {decided} is not there"
        found = best(self.errors)
        return f"{self.fit.name}: {found:g}, by {decided}, with a mean error of {self.errors[found]:.1f} %"


@rule("TIM-S10")
def refits(validation: Validation, table: Table) -> list[Refit]:
    """All fitted numbers, computed anew."""
    known, found = {point.name: point for point in data().points}, []
    for entry in data().fits:
        declared = [known[name] for name in entry.points]
        errors = validation.fitted(entry, table, declared)
        others = {}
        for point in known.values():
            if point not in declared and point.kind == declared[0].kind:
                alone = validation.fitted(entry, table, [point])
                if alone and max(alone.values()) - min(alone.values()) >= TELLS:
                    others[point.name] = best(alone)
        found.append(Refit(entry, entry.now(table), errors, others))
    return found


@rule("TIM-S8")
def band_faults(table: Table, bands: Mapping[str, int]) -> list[str]:
    """Bands of the table that are not those of the points."""
    return [
        f"pipeline.toml has a band of {table.band[kind]:g} % for {kind}, and the points give {percent} %: set that"
        for kind, percent in bands.items()
        if table.band[kind] != percent
    ]


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

    def held(outcome: Outcome) -> bool:
        return outcome.point.kind == "integer" and outcome.point.use == "held out"

    found: dict[str, Summary | None] = {}
    for kind in ("integer", "float"):
        for use in USES:
            found[f"{kind}, {use}"] = of(lambda o, k=kind, u=use: o.point.kind == k and o.point.use == u)  # type: ignore[misc]
    found[SAME] = of(lambda o: held(o) and sources[o.point.source]["same_compiler"])
    found[OTHER] = of(lambda o: held(o) and not sources[o.point.source]["same_compiler"])
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
    fits: Sequence[Refit],
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
        "*fitted*: its count decided a number or a rule of the model. *seen*: looked at while the model was made, or "
        "the same code as a point that decided. *held out*: all others; what may decide is declared before it does "
        "(TIM-S10). An earlier model had a misprediction fitted to all five levels of CoreMark.",
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
    lines += _goal(outcomes)
    lines += _fits(fits)
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


def _goal(outcomes: Sequence[Outcome]) -> list[str]:
    same, other = summaries(outcomes)[SAME], summaries(outcomes)[OTHER]
    lines: list[str] = []
    if same:
        kept = same.median < GOAL_MEDIAN and same.worst < GOAL_WORST
        lines += [
            "",
            f"The goal: a median under {GOAL_MEDIAN:g} % and a worst under {GOAL_WORST:g} % on integer code that was "
            "held out, assembly or built by the compiler of the board that was measured. It is "
            f"{'kept' if kept else 'not kept'}: {same.median:.1f} % and {same.worst:.1f} % over {same.count} points.",
        ]
    if other and (other.median >= GOAL_MEDIAN or other.worst >= GOAL_WORST):
        lines += [
            "",
            f"Code that another compiler built is further off, {other.median:.1f} % and {other.worst:.1f} % over "
            f"{other.count} points: loops may differ, and nobody has the board's listing. These points show model and "
            "compiler together.",
        ]
    return lines


def _others(refit: Refit) -> str:
    """What decides is declared: what would have been decided by others."""
    if not refit.others:
        return "It makes a difference to no other point."
    by_value: dict[float, list[str]] = {}
    for name, value in refit.others.items():
        by_value.setdefault(value, []).append(name)
    said = "; ".join(f"{value:g}: {' / '.join(names)}" for value, names in sorted(by_value.items()))
    count = len(refit.others)
    return f"Of {count} other points to which it makes a difference of {TELLS:g} %, each alone would give {said}."


def _fits(fits: Sequence[Refit]) -> list[str]:
    lines = ["", "## What was fitted", ""]
    for refit in fits:
        lines.append(f"*{refit.fit.name}*, {refit.fit.what}. {refit.said}.")
        if refit.errors:
            tried = ", ".join(f"{value:g}: {error:.1f} %" for value, error in refit.errors.items())
            lines[-1] += f" By value: {tried}. {_others(refit)}"
        lines.append("")
    lines += ["Chosen, or found to be misread in a source, with points in view:", ""]
    for entry in data().decided.values():
        lines.append(f"- {entry['what']} ({'; '.join(entry['points'])})")
    return lines


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
