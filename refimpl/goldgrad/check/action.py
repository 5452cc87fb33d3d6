"""What the GitHub action runs: a check that is told by GG_* variables, a summary, outputs, and a baseline of costs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import GoldgradError
from ..report.console import console
from .command import Wanted, run
from .results import FINDINGS, Subject

SUMMARY_ROWS = 20
"""Failures that the summary shows; the artifacts have all."""


def main(environment: Mapping[str, str] = os.environ) -> int:
    """0 if the kernels conform and cost no more than the baseline says, 1 if not, 2 for what cannot be."""
    try:
        return _main(environment)
    except GoldgradError as error:
        print(f"::error::goldgrad: {error}")
        return error.exit_code


def _main(environment: Mapping[str, str]) -> int:
    given = {name.removeprefix("GG_").lower(): value for name, value in environment.items() if name.startswith("GG_")}
    provider = given.get("provider", "")
    if given.get("board") and "@" not in provider:
        provider = f"{provider}@{given['board']}"
    mapping = given.get("map") or None
    subject = Subject(provider, mapping, (), given.get("semantics") or "goldgrad", given.get("class") or "exact")
    reports = {kind: FINDINGS / f"report.{kind}" for kind in ("json", "xml", "html")}
    wanted = Wanted(
        subject,
        given.get("operators", "").split(),
        given.get("profile") or "ci",
        json=reports["json"],
        junit=reports["xml"],
        html=reports["html"],
    )
    code = run(console(), wanted)
    report = json.loads(reports["json"].read_text(encoding="utf-8"))
    more = grown(report, given.get("baseline", ""), given.get("tolerance") or "0")
    _append(environment, "GITHUB_STEP_SUMMARY", summary(report, more))
    conforms = "true" if report["conforms"] and not more else "false"
    _append(environment, "GITHUB_OUTPUT", f"conforms={conforms}\nreport={FINDINGS}\n")
    for line in more:
        print(f"::error::{line}")
    return 1 if code or more else 0


def grown(report: Mapping[str, Any], baseline: str, tolerance: str) -> list[str]:
    """Functions whose instructions grew against the baseline on the same case, a line each."""
    if not baseline:
        return []
    try:
        allowed = 1 + float(tolerance) / 100
        costs = json.loads(Path(baseline).read_text(encoding="utf-8"))["costs"]
        before = {(cost["function"], cost["case"]): int(cost["instructions"]) for cost in costs}
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise GoldgradError(
            f"baseline {baseline} cannot be used ({fault}); give report.json of an earlier run"
        ) from None
    return [
        f"{cost['function']} takes {cost['instructions']:,} instructions, {was:,} before ({cost['shape']})"
        for cost in report["costs"]
        if (was := before.get((cost["function"], cost["case"]))) and cost["instructions"] > was * allowed
    ]


def summary(report: Mapping[str, Any], more: list[str]) -> str:
    """Markdown for the page of the run."""
    findings = [result["finding"] for result in report["results"] if result["finding"]]
    verdict = "conforms" if report["conforms"] else "does not conform"
    lines = [f"### `{report['subject']['provider']}` {verdict}", ""]
    lines += [f"{report['cases']:,} cases, class {report['subject']['klass']}, profile {report['profile']}.", ""]
    if findings:
        lines += ["| function | breaks | fault | rules |", "|---|---|---|---|"]
        for finding in findings[:SUMMARY_ROWS]:
            fault = finding["fault"].splitlines()[0].replace("|", "\\|")
            lines.append(f"| {finding['function']} | {finding['broken']} | {fault} | {', '.join(finding['rules'])} |")
        first = findings[0]
        lines += ["", "```", *first["fault"].splitlines(), "", first["repeat"], "```"]
    if report["first_difference"]:
        also = " and ".join(report["conforms_to"])
        lines += ["", f"{report['first_difference']}." + (f" These are the bits of {also}." if also else "")]
    lines += [f"- {line}" for line in more]
    return "\n".join(lines) + "\n"


def _append(environment: Mapping[str, str], name: str, text: str) -> None:
    """Add to a file that GitHub names, if it does."""
    if environment.get(name):
        with Path(environment[name]).open("a", encoding="utf-8") as stream:
            stream.write(text)


if __name__ == "__main__":
    sys.exit(main())
