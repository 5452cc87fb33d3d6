"""What ``goldgrad spec`` prints; each function returns the command's exit code."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markdown import Markdown
from rich.markup import escape
from rich.table import Table

from ..spec import Place, Row, checkout, faults, find, scan, table


def show_table() -> int:
    """Print the operators and the other pages, with how many of their rules are tied."""
    operators, others = table(scan(checkout()))
    grid = Table("operator", title="Operators", title_justify="left", box=SIMPLE_HEAD)
    for heading in ("specified", "interpreted", "promised in C", "tested"):
        grid.add_column(heading, justify="right")
    for heading in ("functions", "C", "property-tested"):
        grid.add_column(heading)
    for row in operators:
        grid.add_row(
            row.name,
            str(row.rules) if row.rules else "[red]no page[/]",
            *_counts(row),
            ", ".join(row.functions) or "-",
            _part(row.bound, row.functions),
            _part(row.properties, row.functions),
        )
    pages = Table("page", title="Other pages", title_justify="left", box=SIMPLE_HEAD)
    for heading in ("specified", "implemented", "promised in C", "tested"):
        pages.add_column(heading, justify="right")
    for row in others:
        pages.add_row(row.name, str(row.rules), *_counts(row))
    console = _console()
    console.print(grid)
    console.print(pages)
    return 0


def check() -> int:
    """Print each fault on a line; 1 if there is one."""
    spec = scan(checkout())
    found = faults(spec)
    for fault in found:
        print(fault)
    print(f"{len(spec.rules)} rules, {len(spec.functions)} functions, {len(found)} faults")
    return 1 if found else 0


def show_rule(rule_id: str) -> int:
    """Print the rule's text, and where it is implemented, promised and tested."""
    spec = scan(checkout())
    rule = find(spec, rule_id)
    console = _console()
    console.print(f"[bold]{rule.id}: {escape(rule.title)}[/] {escape(' '.join(sorted(rule.marks)))}")
    console.print(Markdown(rule.text))
    console.print()
    for label, places in (
        ("defined", [rule.place]),
        ("implemented", spec.implemented[rule.id]),
        ("promised", spec.promised[rule.id]),
        ("in C", spec.in_c[rule.id]),
        ("tested", spec.tested[rule.id]),
    ):
        _show_places(console, label, places)
    return 0


def _console() -> Console:
    """Wide where nobody watches: tables in a log do not wrap."""
    return Console(width=None if sys.stdout.isatty() else 132)


def _show_places(console: Console, label: str, places: Iterable[Place]) -> None:
    lines = [str(place) for place in dict.fromkeys(places)] or ["nowhere"]
    for i, line in enumerate(lines):
        console.print(f"{label if i == 0 else '':<12} {line}", highlight=False, markup=False, soft_wrap=True)


def _counts(row: Row) -> tuple[str, str, str]:
    promised = "-" if row.promised is None else _of(row.promised, row.promisable)
    return _of(row.implemented, row.rules), promised, _of(row.tested, row.rules)


def _of(part: int, whole: int) -> str:
    return str(part) if part == whole else f"[red]{part} of {whole}[/]"


def _part(part: tuple[str, ...], whole: tuple[str, ...]) -> str:
    if not whole:
        return "-"
    missing = [name for name in whole if name not in part]
    return "yes" if not missing else f"[red]not {', '.join(missing)}[/]" if part else "[red]no[/]"
