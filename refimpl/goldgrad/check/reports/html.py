"""A check as one page that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ..results import Finding, Report, Status
from .rule_texts import first_paragraph, title

SIGNS = {Status.HOLDS: "holds", Status.FAILS: "fails", Status.NO_CASE: "no case", Status.SKIPPED: "skipped"}


def document(report: Report, programs: Mapping[str, str]) -> bytes:
    """The page; ``programs`` has the C that repeats a finding, by its ID."""
    environment = Environment(
        loader=PackageLoader("goldgrad.check", "reports"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    properties = list(dict.fromkeys(result.property for result in report.results))
    table = [
        (
            function,
            {result.property: result for result in report.of(function)},
            sorted({rule for result in report.of(function) for rule in result.rules}),
        )
        for function in report.functions
    ]
    page = environment.get_template("report.html").render(
        report=report,
        properties=properties,
        table=table,
        costs={cost.function: cost for cost in report.costs},
        findings=[_finding(finding, programs) for finding in report.findings],
        title=title,
        signs=SIGNS,
    )
    return page.encode()


def _finding(finding: Finding, programs: Mapping[str, str]) -> dict[str, Any]:
    return {
        "it": finding,
        "case": str(finding.parsed()),
        "rules": [(title(rule), first_paragraph(rule)) for rule in finding.rules],
        "program": programs.get(finding.id),
    }
