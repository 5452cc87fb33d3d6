"""``goldgrad check`` and ``goldgrad repro``, behind the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ..conformance.case import Case
from ..conformance.compare import Mismatch
from ..conformance.properties import PROPERTIES, verify
from ..conformance.providers import NotProvided
from ..errors import GoldgradError
from ..report.files import as_json, check_outputs, write_files
from .providers.opening import open_provider
from .reports import terminal
from .results import FINDINGS, Finding, Report, Result, Subject, keep, kept
from .session import PROFILES, check, functions_of, properties_of


@dataclass(frozen=True)
class Wanted:
    """What the command line asks for."""

    subject: Subject
    operators: Sequence[str] = ()
    profile: str = "quick"
    examples: int | None = None
    jobs: int = 0
    resume: bool = False
    json: Path | None = None
    junit: Path | None = None
    html: Path | None = None
    folder: Path = FINDINGS


def run(console: Console, wanted: Wanted) -> int:
    """Check, print, write reports; 1 if something does not conform."""
    check_outputs(wanted.json, wanted.junit, wanted.html)
    functions = functions_of(wanted.operators)
    total = sum(len(properties_of(function, wanted.subject.klass)) for function in functions)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(wanted.subject.provider, total=total)

        def told(result: Result) -> None:
            progress.update(task, advance=1, description=f"{result.function} {result.property}")

        report = check(
            wanted.subject,
            wanted.operators,
            wanted.profile,
            wanted.examples,
            wanted.jobs,
            told,
            wanted.resume,
            wanted.folder,
        )
    terminal.show(console, report)
    files = documents(wanted, report)
    write_files(files)
    if files:
        console.print(f"written: {', '.join(map(str, files))}", markup=False, soft_wrap=True)
    return 0 if report.conforms else 1


def documents(wanted: Wanted, report: Report) -> Mapping[Path, bytes]:
    """The reports that were asked for."""
    files: dict[Path, bytes] = {}
    if wanted.json:
        files[wanted.json] = as_json(report.as_json())
    return files


def repro(console: Console, text: str, provider: str | None, subject: Subject | None = None) -> int:
    """Run a finding, or a pasted case, again; 1 if it still fails."""
    properties, case, subject = _asked(text, provider, subject)
    holds = True
    with open_provider(subject.provider, 30.0, **subject.options) as opened:
        if not opened.provides(case.function):
            raise GoldgradError(f"{subject.provider} does not provide {case.function}; name another provider")
        for each in properties:
            try:
                verify(each, case, opened)
                console.print(f"{case.function}: {each} holds", soft_wrap=True)
            except NotProvided:
                console.print(f"{case.function}: {subject.provider} does not take this case", soft_wrap=True)
            except Mismatch as mismatch:
                finding = Finding.of(subject, mismatch, is_flaky=False)
                keep([finding])
                terminal.show_finding(console, finding)
                holds = False
    return 0 if holds else 1


def _asked(text: str, provider: str | None, given: Subject | None) -> tuple[list[str], Case, Subject]:
    """The properties to check, the case, and who is asked."""
    word, _, rest = text.strip().partition(" ")
    if not rest:
        finding = kept(word)
        subject = given if provider and given else finding.subject
        return [finding.broken], finding.parsed(), subject
    case = Case.parse(rest if word in PROPERTIES else text)
    case.types  # noqa: B018  (a case that breaks a constraint says so here)
    subject = given or Subject(provider or "c")
    possible = [n for n in properties_of(case.function, subject.klass) if set(PROPERTIES[n].needs) <= set(case.extra)]
    return [word] if word in PROPERTIES else possible, case, subject


__all__ = ["PROFILES", "Wanted", "repro", "run"]
