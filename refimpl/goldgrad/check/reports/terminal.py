"""What ``goldgrad check`` prints."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ...ops import FUNCTIONS
from ..results import Finding, Report, Result, Status
from .rule_texts import first_paragraph, title

WIDEST = 200
"""Characters of a case that are printed; the file that keeps the finding has all."""


def show(console: Console, report: Report) -> None:
    """Print the table, every failure, and the verdict."""
    console.print(_table(report))
    if report.costs:
        console.print(_costs(report))
    seen: set[str] = set()
    for finding in report.findings:
        show_finding(console, finding, brief=finding.function in seen)
        seen.add(finding.function)
    for line in verdict(report):
        console.print(line, soft_wrap=True)


def _table(report: Report) -> Table:
    grid = Table("function", box=SIMPLE_HEAD)
    for heading in ("rules", "properties", "cases", "seconds"):
        grid.add_column(heading, justify="right")
    grid.add_column("")
    for function in report.functions:
        results = report.of(function)
        tried = [result for result in results if result.status is not Status.NO_CASE]
        grid.add_row(
            function,
            str(len({rule for result in tried for rule in result.rules})),
            str(len(tried)),
            f"{sum(result.cases for result in results):,}",
            f"{sum(result.seconds for result in results):.1f}",
            judgement(results),
        )
    return grid


def _costs(report: Report) -> Table:
    grid = Table(
        "largest case",
        box=SIMPLE_HEAD,
        caption="instructions counted, cycles by the timing model; i, c: a MAC or element; stack and text in bytes",
        caption_justify="left",
    )
    for heading in ("instructions", "cycles", "±", "i", "c", "stack", "text"):
        grid.add_column(heading, justify="right")
    for cost in report.costs:
        grid.add_row(
            f"{cost.function} [dim]{escape(cost.shape)}[/dim]",
            f"{cost.instructions:,}",
            f"{cost.cycles:,}",
            f"{cost.band_percent:g} %",
            f"{cost.each:.1f}",
            f"{cost.cycles_each:.1f}",
            f"{cost.stack:,}",
            f"{cost.flash:,}",
        )
    return grid


def judgement(results: Sequence[Result]) -> str:
    """What is said of a function, in rich's markup."""
    broken = [result.property for result in results if result.status is Status.FAILS]
    if broken:
        return f"[red]breaks[/red] {', '.join(broken)}"
    if not any(result.cases for result in results):
        return "[yellow]takes no case that was tried[/yellow]"
    untried = [result.property for result in results if result.status is Status.NO_CASE]
    return "[green]conforms[/green]" + (f" [dim](nothing to try for {', '.join(untried)})[/dim]" if untried else "")


def show_finding(console: Console, finding: Finding, brief: bool = False) -> None:
    """Print a failure: in whole, or as one line where its function has failed before."""
    head = f"[red]{finding.function}[/red] breaks '{finding.broken}': {escape(finding.headline)}"
    if finding.is_flaky:
        head += " [yellow](not every time)[/yellow]"
    if brief:
        console.print(f"{head}  [bold]{finding.repeat}[/bold]", soft_wrap=True)
        return
    console.print(head, soft_wrap=True)
    for line in finding.details:
        console.print(f"    {escape(line)}", soft_wrap=True)
    for line in str(finding.parsed()).splitlines():
        shown = line if len(line) <= WIDEST else f"{line[:WIDEST]} ..."
        console.print(f"  {escape(shown)}", soft_wrap=True)
    for rule in finding.rules[:3]:
        console.print(f"    [dim]{escape(title(rule))}. {escape(first_paragraph(rule))}[/dim]", soft_wrap=True)
    console.print(f"  repeat: [bold]{finding.repeat}[/bold]", soft_wrap=True)


def verdict(report: Report) -> list[str]:
    """The last lines."""
    lines = []
    subject = report.subject
    if report.not_provided:
        lines.append(f"not provided: {', '.join(_grouped(report.not_provided))}")
    against = "" if subject.semantics == "goldgrad" else f", as {subject.semantics} has it"
    cases = (
        f"{report.cases:,} cases in {report.seconds:.1f} s, class {subject.klass}, profile {report.profile}{against}"
    )
    functions = len(report.functions)
    if report.conforms:
        many = f"{functions} function{'s' if functions > 1 else ''}"
        lines.append(f"[green]{escape(subject.provider)} conforms[/green] in {many} ({cases})")
    elif not report.findings:
        lines.append(f"[red]{escape(subject.provider)}: no case was tried[/red]; look at `when` in its map")
    else:
        wrong = len({finding.function for finding in report.findings})
        lines.append(
            f"[red]{escape(subject.provider)} does not conform[/red]: {wrong} of {functions} functions fail ({cases})"
        )
    if report.conforms_to:
        lines.append(
            f"[yellow]{' and '.join(report.conforms_to)}[/yellow]: that is what the functions with other bits compute, "
            f"not {subject.semantics}"
        )
    if report.conforms_to and report.first_difference:
        lines.append(escape(report.first_difference))
    return lines


def _grouped(functions: Sequence[str]) -> list[str]:
    """Functions by name; those of an operator of which nothing is provided by the operator's."""
    missing = set(functions)
    whole = {op for op in (name.partition(".")[0] for name in functions) if missing >= set(_functions_of(op))}
    return list(dict.fromkeys(op if (op := name.partition(".")[0]) in whole else name for name in functions))


def _functions_of(operator: str) -> list[str]:
    """All of the operator table."""
    return [name for name in FUNCTIONS if name.partition(".")[0] == operator]
