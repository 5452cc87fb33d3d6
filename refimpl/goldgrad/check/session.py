"""Puts a provider under the suite: functions side by side in processes of their own, properties one after another."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from queue import Empty
from time import monotonic
from typing import TYPE_CHECKING, Any

from .. import paths
from .._version import __version__
from ..conformance.case import VARIANT, Case
from ..conformance.compare import Mismatch, rules_of
from ..conformance.properties import PROPERTIES, verify
from ..conformance.providers import NotProvided, Provider, lacking
from ..conformance.search import explore, without
from ..errors import GoldgradError, show
from ..kernels import SETS
from ..ops import FUNCTIONS
from ..profiles import GOLDGRAD
from ..profiles import PROFILES as SEMANTICS
from ..profiles import functions_of as variants
from .providers.isolated import Isolated
from .providers.opening import open_provider
from .results import FINDINGS, Finding, Report, Result, Status, Subject, keep
from .vectors import Recorded, drawn, permanent, write_files

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

CLASSES = ("exact", "dot")


@dataclass(frozen=True)
class Profile:
    """How much is tried."""

    examples: int
    """Cases a property of a function."""
    seconds: float
    """What one call may take."""
    patience: float
    """What shrinking a failure may take."""
    same: bool
    """Whether the cases are the same each time."""


PROFILES = {
    "quick": Profile(20, 3.0, 6.0, True),
    "ci": Profile(120, 5.0, 20.0, True),
    "deep": Profile(5000, 10.0, 120.0, False),
}

ENOUGH_TO_TELL = 100
"""Cases on which one semantics is told from another."""

Told = Callable[[Result], None]


def functions_of(operators: Sequence[str]) -> list[str]:
    """The functions that ``--op`` names: an operator, a function, or a pattern of either; all, if none is named."""
    chosen: dict[str, None] = {}
    for wanted in operators or ["*"]:
        found = [name for name in FUNCTIONS if fnmatch.fnmatch(name, wanted) or name.partition(".")[0] == wanted]
        if not found:
            names = ", ".join(dict.fromkeys(name.partition(".")[0] for name in FUNCTIONS))
            raise GoldgradError(f"there is no operator {show(wanted)}; use one of {names}, or a function of one")
        chosen |= dict.fromkeys(found)
    return list(chosen)


def properties_of(function: str, klass: str, semantics: str = GOLDGRAD) -> list[str]:
    """The properties that a class asks of a function; of a variant not what speaks of goldgrad's own function."""
    entry = FUNCTIONS[function]
    own = ("adjoint", "adjoint_bound", "sparse") if function in variants(semantics) else ()
    return [p.name for p in PROPERTIES.values() if p.applies(entry) and p.asked(entry, klass) and p.name not in own]


def check_choices(subject: Subject, profile: str) -> None:
    """Raise for a class or a profile that there is not."""
    if subject.klass not in CLASSES:
        raise GoldgradError(f"there is no class {show(subject.klass)}; use {' or '.join(CLASSES)}")
    if variants(subject.semantics) and subject.klass != "exact":
        raise GoldgradError(f"semantics {subject.semantics} are exact; leave --class {subject.klass} out")
    if profile not in PROFILES:
        raise GoldgradError(f"there is no profile {show(profile)}; use {', '.join(PROFILES)}")


def check(
    subject: Subject,
    operators: Sequence[str] = (),
    profile: str = "quick",
    examples: int | None = None,
    jobs: int = 0,
    told: Told = lambda result: None,
    resume: bool = False,
    folder: Path = FINDINGS,
) -> Report:
    """Check a provider; every result is told as soon as it is there, and every finding kept in ``folder``.

    ``jobs`` is how many processes work side by side (0: as many as there are cores).  With ``resume`` what an
    interrupted check of the same subject has done is taken from ``folder``.
    """
    token = VARIANT.set(variants(subject.semantics))
    try:
        return _check(subject, operators, profile, examples, jobs, told, resume, folder)
    finally:
        VARIANT.reset(token)


def _check(
    subject: Subject,
    operators: Sequence[str],
    profile: str,
    examples: int | None,
    jobs: int,
    told: Told,
    resume: bool,
    folder: Path,
) -> Report:
    start = monotonic()
    chosen = functions_of(operators)
    check_choices(subject, profile)
    settings = PROFILES[profile]
    if examples is not None:
        settings = Profile(examples, settings.seconds, settings.patience, settings.same)
    journal = Journal(folder, subject, settings)
    done = journal.read() if resume else {}
    report = Report(subject, profile, __version__)
    with open_provider(subject.provider, settings.seconds, **subject.options) as provider:
        provided = [function for function in chosen if provider.provides(function)]
        report.not_provided = [function for function in chosen if function not in provided]
        count = min(jobs or os.cpu_count() or 1, len(provided))
        if not provided:
            raise GoldgradError(f"{subject.provider} provides none of {', '.join(chosen)}; choose others with --op")
        found: dict[str, list[Result]] = {function: [] for function in provided}
        if count <= 1:
            arriving = (r for function in provided for r in _function(provider, subject, function, settings, done))
            _collect(arriving, found, told, journal, folder)
    if count > 1:
        _collect(_side_by_side(subject, provided, settings, done, count), found, told, journal, folder)
    report.results = [result for function in provided for result in found[function]]
    _compare_semantics(report, settings)
    report.seconds = monotonic() - start
    journal.close()
    return report


def _collect(
    arriving: Iterator[Result], found: dict[str, list[Result]], told: Told, journal: Journal, folder: Path
) -> None:
    for result in arriving:
        found[result.function].append(result)
        journal.write(result)
        if result.finding:
            keep([result.finding], folder)
        told(result)


Done = dict[tuple[str, str], Result]


def _side_by_side(
    subject: Subject, functions: Sequence[str], settings: Profile, done: Done, jobs: int
) -> Iterator[Result]:
    """As :func:`_function`, for all functions, in as many processes as ``jobs``; each result as soon as it is there."""
    context = get_context("spawn")
    tasks, results = context.Queue(), context.Queue()
    # Those with many operands take longest: they go first.
    for function in (*sorted(functions, key=lambda function: -len(FUNCTIONS[function].inputs)), *[None] * jobs):
        tasks.put(function)
    arguments = (subject, settings, done, tasks, results)
    workers = [context.Process(target=_work, args=arguments, daemon=True) for _ in range(jobs)]
    try:
        for worker in workers:
            worker.start()
        working = jobs
        while working:
            try:
                arrived = results.get(timeout=1.0)
            except Empty:
                if sum(worker.exitcode is not None for worker in workers) > jobs - working:
                    raise GoldgradError("a process of the check died; go on with --resume") from None
                continue
            if isinstance(arrived, Result):
                yield arrived
            elif arrived is None:
                working -= 1
            else:
                raise arrived
    finally:
        for worker in workers:
            if worker.is_alive():
                worker.terminate()


def _work(subject: Subject, settings: Profile, done: Done, tasks: Queue[str | None], results: Queue[Any]) -> None:
    """Take one function after the other; tell every result, then that it was the last, or the error that ended it."""
    VARIANT.set(variants(subject.semantics))
    try:
        with open_provider(subject.provider, settings.seconds, **subject.options) as provider:
            while (function := tasks.get()) is not None:
                for result in _function(provider, subject, function, settings, done):
                    results.put(result)
        results.put(None)
    except KeyboardInterrupt:
        pass
    except GoldgradError as error:
        results.put(error)


def _function(provider: Isolated, subject: Subject, function: str, settings: Profile, done: Done) -> Iterator[Result]:
    """All properties of a function; once one hangs, the rest is skipped, and once one fails, others are shrunk less."""
    yield from _vectors(provider, subject, function)
    hangs, patience = False, settings.patience
    for name in properties_of(function, subject.klass, subject.semantics):
        rules = rules_of(function, PROPERTIES[name].letters)
        if (function, name) in done:
            yield done[function, name]
            continue
        if hangs:
            yield Result(function, name, Status.SKIPPED, 0, 0.0, rules)
            continue
        result = explored(provider, subject, function, name, settings, patience)
        if result.finding:
            hangs, patience = "raised Hung" in result.finding.headline, 1.0
        yield result


def explored(
    provider: Provider, subject: Subject, function: str, name: str, settings: Profile, patience: float
) -> Result:
    """What comes of looking for a case that breaks a property of a function."""
    start = monotonic()
    made = explore(name, function, provider, settings.examples, settings.same, patience)
    seconds = round(monotonic() - start, 3)
    if made.found:
        finding = Finding.of(subject, made.found, made.is_flaky)
        return Result(function, name, Status.FAILS, made.cases, seconds, finding.rules, finding)
    status = Status.HOLDS if made.cases else Status.NO_CASE
    return Result(function, name, status, made.cases, seconds, rules_of(function, PROPERTIES[name].letters))


class Opened:
    """A provider, open, whose properties are asked for one by one: what the pytest plug-in holds."""

    def __init__(self, subject: Subject, profile: str) -> None:
        self.subject, self.settings = subject, PROFILES[profile]
        self.provider = open_provider(subject.provider, self.settings.seconds, **subject.options)

    def asked(self, operators: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Function and property of all that is provided; an error if nothing is."""
        chosen = [function for function in functions_of(operators) if self.provider.provides(function)]
        if not chosen:
            raise GoldgradError(f"{self.subject.provider} provides none of the functions asked for; choose others")
        for function in chosen:
            yield from (
                (function, name) for name in properties_of(function, self.subject.klass, self.subject.semantics)
            )

    def one(self, function: str, name: str) -> Result:
        """Check a property, and keep what is found."""
        token = VARIANT.set(variants(self.subject.semantics))
        try:
            result = explored(self.provider, self.subject, function, name, self.settings, self.settings.patience)
        finally:
            VARIANT.reset(token)
        keep([result.finding] if result.finding else [])
        return result

    def close(self) -> None:
        """End the provider's process."""
        self.provider.close()


def _vectors(provider: Provider, subject: Subject, function: str) -> Iterator[Result]:
    """The permanent vectors of a function, each under the property that it once broke."""
    for name, case in permanent():
        if case.function == function:
            yield replace(_once(provider, subject, name, [case]), is_vector=True)


def _once(provider: Provider, subject: Subject, name: str, cases: Sequence[Case]) -> Result:
    """A property on given cases; the first failure is what is found."""
    function, start, count = cases[0].function, monotonic(), 0
    rules = rules_of(function, PROPERTIES[name].letters)
    for case in cases:
        try:
            verify(name, without(case, lacking(provider, function)), provider)
        except NotProvided:
            continue
        except Mismatch as mismatch:
            finding = Finding.of(subject, mismatch, is_flaky=False)
            seconds = round(monotonic() - start, 3)
            return Result(function, name, Status.FAILS, count + 1, seconds, finding.rules, finding)
        count += 1
    status = Status.HOLDS if count else Status.NO_CASE
    return Result(function, name, status, count, round(monotonic() - start, 3), rules)


def check_files(subject: Subject, operators: Sequence[str], profile: str, told: Told, folder: Path) -> Report | int:
    """Judge the results in ``dir:PATH``; where there are none yet, write the vectors there and say how many."""
    start, path = monotonic(), Path(subject.provider.partition(":")[2])
    functions = functions_of(operators)
    if not (path / "vectors").exists():
        return write_files(path / "vectors", [*drawn(functions, PROFILES[profile].examples)])
    provider = Recorded(subject.provider, path / "vectors", path / "results")
    report = Report(subject, profile, __version__)
    for function in functions:
        cases = [case for _, case, _ in provider.cases if case.function == function]
        if not cases or not provider.provides(function):
            report.not_provided.append(function)
            continue
        asked = "bound" if "bound" in properties_of(function, subject.klass) else "bits"
        report.results.append(_once(provider, subject, asked, cases))
        told(report.results[-1])
    keep(report.findings, folder)
    report.seconds = monotonic() - start
    return report


def _compare_semantics(report: Report, settings: Profile) -> None:
    """Of other semantics, those that the functions with wrong bits have in every case that is tried."""
    subject = report.subject
    wrong = [finding for finding in report.findings if finding.broken == "bits" and "raised" not in finding.headline]
    if not wrong or subject.klass != "exact":
        return
    shown = "; ".join([wrong[0].headline, *(" ".join(line.split()) for line in wrong[0].details)])
    report.first_difference = f"first difference from {subject.semantics}: {wrong[0].function}, {shown}"
    functions = list(dict.fromkeys(finding.function for finding in wrong))
    with open_provider(subject.provider, settings.seconds, **subject.options) as provider:
        for name in (GOLDGRAD, *SEMANTICS):
            if name == subject.semantics or (name != GOLDGRAD and not set(functions) <= set(variants(name))):
                continue
            token = VARIANT.set(variants(name))
            count = max(settings.examples, ENOUGH_TO_TELL)
            tried = [explore("bits", f, provider, count, settings.same, 0.0) for f in functions]
            VARIANT.reset(token)
            if all(each.found is None and each.cases for each in tried):
                report.conforms_to.append(name)


class Journal:
    """What a check has done so far, a line a result, so that it can go on after it was interrupted."""

    def __init__(self, folder: Path, subject: Subject, settings: Profile) -> None:
        key = json.dumps([asdict(subject), asdict(settings), _digests(subject)], sort_keys=True)
        self._path = folder / f"journal-{hashlib.sha256(key.encode()).hexdigest()[:12]}.jsonl"
        self._results: dict[tuple[str, str], Result] = {}

    def read(self) -> Done:
        """The results that are there; they stay until the check has ended."""
        if self._path.exists():
            results = [Result.from_json(json.loads(line)) for line in self._path.read_text().splitlines()]
            self._results = {(result.function, result.property): result for result in results}
        return dict(self._results)

    def write(self, result: Result) -> None:
        """Add one; those of permanent vectors are quickly had again."""
        if result.is_vector:
            return
        self._results[result.function, result.property] = result
        self._path.parent.mkdir(parents=True, exist_ok=True)
        lines = (json.dumps(each.as_json()) for each in self._results.values())
        part = self._path.with_suffix(".part")
        part.write_text("\n".join(lines) + "\n")
        part.replace(self._path)

    def close(self) -> None:
        """Forget it: the check has ended."""
        self._path.unlink(missing_ok=True)


def _digests(subject: Subject) -> list[str]:
    """Of the files that the provider is made of: a changed kernel is another subject."""
    kind, _, target = subject.provider.partition(":")
    files = [Path(part) for part in (target.rpartition("@")[0] or target).split(",")]
    if kind.partition("@")[0] in ("c", *SETS) and not target:
        files = sorted((paths.data("kernels_c") / "src").rglob("*.[ch]"))
    files += [Path(subject.map)] if subject.map else []
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()]
