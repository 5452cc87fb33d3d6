"""``goldgrad check`` and ``goldgrad repro``, behind the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ..conformance.case import VARIANT, Case
from ..conformance.compare import Mismatch
from ..conformance.properties import PROPERTIES, verify
from ..conformance.providers import NotProvided, Provider
from ..errors import GoldgradError
from ..profiles import functions_of as variants
from ..report.files import as_json, check_outputs, write_files
from .c_program import Vector, main_of
from .costs import costs
from .providers.opening import calls_of, open_provider
from .reports import terminal
from .results import FINDINGS, Finding, Report, Result, Subject, keep, kept
from .session import PROFILES, check, check_choices, check_files, functions_of, properties_of
from .vectors import MANIFEST, Recorded

INTERRUPTED = 130
"""The exit code of what Ctrl-C has ended."""


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
    check_choices(wanted.subject, wanted.profile)
    functions = functions_of(wanted.operators)
    total = sum(len(properties_of(function, wanted.subject.klass, wanted.subject.semantics)) for function in functions)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(wanted.subject.provider, total=total)

        def told(result: Result) -> None:
            progress.update(task, advance=1, description=f"{result.function} {result.property}")

        if wanted.subject.provider.startswith("dir:"):
            made = check_files(wanted.subject, wanted.operators, wanted.profile, told, wanted.folder)
            if isinstance(made, int):
                _tell_files(console, Path(wanted.subject.provider.partition(":")[2]), made)
                return 0
            return _finish(console, wanted, made)
        try:
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
        except KeyboardInterrupt:
            console.print("interrupted; the same command with --resume goes on")
            return INTERRUPTED
    return _finish(console, wanted, report)


def _tell_files(console: Console, folder: Path, count: int) -> None:
    console.print(
        f"written: {count} vectors, described by {folder / 'vectors' / MANIFEST}. Run them on your device, put each "
        f"result into {folder / 'results'} under the name that the manifest gives it, and run this again.",
        soft_wrap=True,
    )


def _finish(console: Console, wanted: Wanted, report: Report) -> int:
    """Print, write, and give the exit code."""
    report.costs = costs(wanted.subject, report.functions)
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
    if wanted.junit:
        from .reports import junit

        files[wanted.junit] = junit.document(report)
    if wanted.html:
        from .reports import html

        files[wanted.html] = html.document(report, {f.id: text for f in report.findings if (text := program_of(f))})
    return files


def program_of(finding: Finding) -> str | None:
    """C that repeats a finding; None where the provider is not called from C."""
    calls = calls_of(finding.subject.provider, finding.subject.options["mapping"])
    if calls is None:
        return None
    headline = f"{finding.function} breaks '{finding.broken}' ({', '.join(finding.rules)}): {finding.headline}"
    return main_of(Vector(finding.id, finding.parsed()), calls, headline)


def repro(console: Console, text: str, provider: str | None, subject: Subject | None = None) -> int:
    """Run a finding, or a pasted case, again; 1 if it still fails."""
    properties, case, subject = _asked(text, provider, subject)
    token = VARIANT.set(variants(subject.semantics))
    try:
        return _again(console, properties, case, subject)
    finally:
        VARIANT.reset(token)


def _again(console: Console, properties: Sequence[str], case: Case, subject: Subject) -> int:
    holds = True
    with _opened(subject) as opened:
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


def _opened(subject: Subject) -> AbstractContextManager[Provider]:
    kind, _, target = subject.provider.partition(":")
    if kind == "dir":
        return nullcontext(Recorded(subject.provider, Path(target) / "vectors", Path(target) / "results"))
    return open_provider(subject.provider, 30.0, **subject.options)


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
    possible = [
        n
        for n in properties_of(case.function, subject.klass, subject.semantics)
        if set(PROPERTIES[n].needs) <= set(case.extra)
    ]
    return [word] if word in PROPERTIES else possible, case, subject


__all__ = ["PROFILES", "Wanted", "repro", "run"]
