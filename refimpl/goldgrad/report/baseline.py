"""What ``goldgrad board baseline`` and ``compare`` show: a table a case, for a terminal and for GitHub."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..errors import GoldgradError
from ..jobs import baseline
from ..jobs.baseline import TOTAL, Budgets, Comparison, Row
from .files import check_outputs, write_json

SUMMARY = "GITHUB_STEP_SUMMARY"
"""The variable in which GitHub names the file of a step's summary, in Markdown."""
TOTALS = {"instructions": "instructions", "stack": "stack high-water", "sram": "SRAM", "flash": "flash"}
PARTS = {"data": ".data", "bss": ".bss", "text": ".text", "itcm": ".itcm", "rodata": ".rodata"}
COLUMNS = ("", "baseline", "now", "change", "")


def write(console: Console, file: Path, programs: Sequence[str], functions: Sequence[str], compiler: str | None) -> int:
    """Measure what is named, else what the file has, else goldgrad's own programs; write the file."""
    check_outputs(file)
    old = baseline.read(file) if file.exists() and not (programs or functions) else None
    cases: list[baseline.Case] = [baseline.program_case(text) for text in programs]
    cases += [baseline.function_case(text, file.parent) for text in functions]
    if not cases:
        known = [baseline.ProgramCase(*names) for names in baseline.PROGRAMS]
        cases = [m.case for m in old.measured] if old else [*known]
    new = baseline.measure(cases, compiler or (old.toolchain if old else None), file.parent)
    write_json(file, new.document())
    for m in new.measured:
        totals = {TOTALS[kind]: table[TOTAL] for kind, table in m.costs.items() if TOTAL in table}
        line = f"{m.case.title}: {', '.join(f'{name} {n:,}' for name, n in totals.items())}"
        console.print(line, markup=False, soft_wrap=True)
    console.print(f"written: {file}", markup=False, soft_wrap=True)
    return 0


def compare(console: Console, file: Path, budgets: Budgets, everything: bool, document: Path | None) -> int:
    """Measure the file's cases again and show what changed; 1 if something is over its budget."""
    budgets.check()
    check_outputs(document)
    old = baseline.read(file)
    new = baseline.measure([m.case for m in old.measured], old.toolchain, file.parent)
    found = baseline.compare(old, new, budgets)
    for comparison in found:
        console.print(_table(comparison, everything))
        for note in comparison.notes:
            console.print(f"[yellow]{escape(comparison.case.title)}[/yellow]: {escape(note)}", soft_wrap=True)
    verdict = _verdict(file, found, budgets)
    over = any(comparison.regressions for comparison in found)
    console.print(f"[{'red' if over else 'green'}]{escape(verdict)}[/]", soft_wrap=True)
    if document:
        write_json(
            document, {"baseline": str(file), "over": over, "cases": [_plain(comparison) for comparison in found]}
        )
    _summarise(file, found, verdict, everything)
    return int(over)


def _verdict(file: Path, found: Sequence[Comparison], budgets: Budgets) -> str:
    over = [f"{_name(row)} of {c.case.title}" for c in found for row in c.regressions]
    if over:
        more = f"; and {len(over) - 3} more" if len(over) > 3 else ""
        return f"over the budget ({budgets}): {'; '.join(over[:3])}{more}"
    less = sum(row.judged and row.change < 0 for c in found for row in c.rows)
    better = f"; {less} below the baseline: goldgrad board baseline {file} keeps that" if less else ""
    return f"nothing is over the budget ({budgets}){better}"


# --- rows ----------------------------------------------------------------------------------------------------------


def _shown(comparison: Comparison, everything: bool) -> list[Row]:
    """Totals, and what changed; small changes of an operator's instructions come with every other compilation."""
    return [row for row in comparison.rows if everything or row.item == TOTAL or row.over or _is_telling(row)]


def _is_telling(row: Row) -> bool:
    if row.kind == "instructions" and row.old and row.new:
        return abs(row.change) * 1000 > row.old
    return row.change != 0


def _name(row: Row) -> str:
    if row.item == TOTAL:
        return TOTALS[row.kind]
    if row.kind in ("sram", "flash"):
        return f"{TOTALS[row.kind]}: {PARTS.get(row.item, row.item)}"
    return f"{row.kind}: {row.item}"


def _cells(row: Row) -> tuple[str, str, str, str, str]:
    old, new = ("" if n is None else f"{n:,}" for n in (row.old, row.new))
    share = f" ({100 * row.change / row.old:+.2f} %)" if row.old and row.new is not None and row.change else ""
    change = f"{row.change:+,}{share}" if row.change else "0"
    state = "new" if row.old is None else "gone" if row.new is None else ""
    verdict = "over" if row.over else "less" if row.judged and row.change < 0 else state
    return _name(row), old, new, change, verdict


def _table(comparison: Comparison, everything: bool) -> Table:
    table = Table(title=escape(comparison.case.title), title_justify="left", caption_justify="left")
    for position, column in enumerate(COLUMNS):
        table.add_column(column, justify="right" if 0 < position < 4 else "left")
    shown = _shown(comparison, everything)
    for row in shown:
        style = "red" if row.over else "bold" if row.item == TOTAL else None
        table.add_row(*map(escape, _cells(row)), style=style)
    left_out = len(comparison.rows) - len(shown)
    if left_out:
        table.caption = f"{left_out} left out: no change, or of instructions no more than 0.1 % (--all shows them)"
    return table


def _plain(comparison: Comparison) -> dict[str, object]:
    rows = [{**asdict(row), "change": row.change} for row in comparison.rows]
    return {**comparison.case.key(), "notes": list(comparison.notes), "rows": rows}


# --- Markdown ------------------------------------------------------------------------------------------------------


def markdown(file: Path, found: Sequence[Comparison], verdict: str, everything: bool) -> str:
    """The same tables for a page on GitHub."""
    return "\n".join(_lines(file, found, verdict, everything)) + "\n"


def _lines(file: Path, found: Sequence[Comparison], verdict: str, everything: bool) -> Iterator[str]:
    yield from (f"## Costs beside {file.as_posix()}", "", f"{verdict[:1].upper()}{verdict[1:]}.", "")
    for comparison in found:
        yield from (f"### {comparison.case.title}", "")
        for note in comparison.notes:
            yield from (f"**Note:** {note}.", "")
        yield from ("| | baseline | now | change | |", "|---|--:|--:|--:|---|")
        for row in _shown(comparison, everything):
            marks = "**" if row.over else ""
            cells = (cell.replace("|", "\\|") for cell in _cells(row))
            yield "| " + " | ".join(f"{marks}{cell}{marks}" if cell else "" for cell in cells) + " |"
        yield ""


def _summarise(file: Path, found: Sequence[Comparison], verdict: str, everything: bool) -> None:
    """Append to GitHub's summary, if the variable names one."""
    target = os.environ.get(SUMMARY)
    if not target:
        return
    try:
        with Path(target).open("a", encoding="utf-8") as stream:
            stream.write(markdown(file, found, verdict, everything))
    except OSError as fault:
        raise GoldgradError(f"{SUMMARY} names {target}, which cannot be written ({fault.strerror}); unset it") from None
