"""What a check found: plain data, as it stands in JSON and as every report reads it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from ..conformance.case import Case
from ..conformance.compare import Mismatch
from ..errors import GoldgradError

SCHEMA = 1


class Status(StrEnum):
    """What became of a property of a function."""

    HOLDS = "holds"
    FAILS = "fails"
    NO_CASE = "no case"
    """No case was one that the kernel takes."""
    SKIPPED = "skipped"
    """Not tried, since another property hung."""


@dataclass(frozen=True)
class Subject:
    """Who is checked, and how: all that it takes to open the provider again."""

    provider: str
    map: str | None = None
    flags: tuple[str, ...] = ()
    semantics: str = "goldgrad"
    klass: str = "exact"

    @property
    def options(self) -> dict[str, Any]:
        """What :func:`~goldgrad.check.providers.opening.open_provider` wants besides the name."""
        return {"mapping": Path(self.map) if self.map else None, "flags": self.flags}


@dataclass(frozen=True)
class Finding:
    """A failure, as small as it was made."""

    id: str
    subject: Subject
    function: str
    broken: str
    """The property."""
    rules: tuple[str, ...]
    fault: str
    """A headline, and lines of detail: first bad element, values, hex, distance, bound."""
    case: str
    """The case as a line of text (:meth:`~goldgrad.conformance.case.Case.parse`)."""
    is_flaky: bool = False

    @staticmethod
    def of(subject: Subject, mismatch: Mismatch, is_flaky: bool) -> Finding:
        """The finding that a mismatch is."""
        case = mismatch.case.text()
        key = "\n".join([subject.provider, subject.semantics, mismatch.property_name, case])
        name = hashlib.sha256(key.encode()).hexdigest()[:8]
        function, broken = mismatch.case.function, mismatch.property_name
        return Finding(name, subject, function, broken, mismatch.rules, mismatch.fault, case, is_flaky)

    @property
    def headline(self) -> str:
        """The first line of the fault."""
        return self.fault.splitlines()[0]

    @property
    def details(self) -> list[str]:
        """The other lines of the fault."""
        return self.fault.splitlines()[1:]

    @property
    def repeat(self) -> str:
        """The line that repeats it."""
        return f"goldgrad repro {self.id}"

    @property
    def repeat_anywhere(self) -> str:
        """The line that repeats it where its file is not."""
        s = self.subject
        options = f" --map {s.map}" if s.map else ""
        options += "".join(f" --cflag={flag}" for flag in s.flags)
        options += f" --semantics {s.semantics}" if s.semantics != "goldgrad" else ""
        return f"goldgrad repro '{self.broken} {self.case}' --provider {s.provider}{options}"

    def parsed(self) -> Case:
        """The case itself."""
        return Case.parse(self.case)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "repeat": self.repeat_anywhere}

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> Finding:
        """What :meth:`as_json` gave."""
        subject = {**content["subject"], "flags": tuple(content["subject"]["flags"])}
        names = ("id", "function", "broken", "fault", "case", "is_flaky")
        return Finding(subject=Subject(**subject), rules=tuple(content["rules"]), **{n: content[n] for n in names})


@dataclass(frozen=True)
class Result:
    """A property of a function."""

    function: str
    property: str
    status: Status
    cases: int
    seconds: float
    rules: tuple[str, ...]
    finding: Finding | None = None
    is_vector: bool = False
    """Whether it is of a permanent vector alone."""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            **{
                name: getattr(self, name) for name in ("function", "property", "cases", "seconds", "rules", "is_vector")
            },
            "status": self.status.value,
            "finding": self.finding.as_json() if self.finding else None,
        }

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> Result:
        """What :meth:`as_json` gave."""
        finding = content["finding"]
        return Result(
            content["function"],
            content["property"],
            Status(content["status"]),
            content["cases"],
            content["seconds"],
            tuple(content["rules"]),
            Finding.from_json(finding) if finding else None,
            content["is_vector"],
        )


@dataclass(frozen=True)
class Cost:
    """What one case took on the board: a call a sample."""

    function: str
    case: str
    """The operands' types and the attributes."""
    shape: str
    """The same in a few words."""
    instructions: int
    cycles: int
    """By the timing model, code and data without wait states."""
    band_percent: float
    """By how much the cycles may be off."""
    work: int
    unit: str
    """What there was to do: so many multiply-accumulates (MAC), or elements."""
    stack: int
    flash: int
    """Bytes of the functions that were entered."""

    @property
    def each(self) -> float:
        """Instructions a unit of work."""
        return self.instructions / self.work

    @property
    def cycles_each(self) -> float:
        """Cycles a unit of work."""
        return self.cycles / self.work


@dataclass
class Report:
    """All of a check."""

    subject: Subject
    profile: str
    version: str
    results: list[Result] = field(default_factory=list)
    not_provided: list[str] = field(default_factory=list)
    seconds: float = 0.0
    conforms_to: list[str] = field(default_factory=list)
    """Other semantics whose bits the provider has in every case that was tried."""
    first_difference: str = ""
    costs: list[Cost] = field(default_factory=list)

    @property
    def findings(self) -> list[Finding]:
        """The failures."""
        return [result.finding for result in self.results if result.finding]

    @property
    def functions(self) -> list[str]:
        """The functions that were checked."""
        return list(dict.fromkeys(result.function for result in self.results))

    @property
    def cases(self) -> int:
        """How many cases were run."""
        return sum(result.cases for result in self.results)

    @property
    def conforms(self) -> bool:
        """Whether every property of every function that is provided holds, on what was tried."""
        return not self.findings and self.cases > 0

    def of(self, function: str) -> list[Result]:
        """The results of one function."""
        return [result for result in self.results if result.function == function]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "schema": SCHEMA,
            "goldgrad": self.version,
            "subject": asdict(self.subject),
            "profile": self.profile,
            "conforms": self.conforms,
            "conforms_to": self.conforms_to,
            "first_difference": self.first_difference,
            "cases": self.cases,
            "seconds": round(self.seconds, 3),
            "not_provided": self.not_provided,
            "results": [result.as_json() for result in self.results],
            "costs": [asdict(cost) for cost in self.costs],
        }


FINDINGS = Path("out/check")
"""Where findings are kept, under the working directory."""


def keep(findings: Sequence[Finding], folder: Path = FINDINGS) -> None:
    """Write each finding to a file of its own, so that it can be repeated by its ID."""
    for finding in findings:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{finding.id}.json").write_text(json.dumps(finding.as_json(), indent=1) + "\n", encoding="utf-8")


def kept(name: str, folder: Path = FINDINGS) -> Finding:
    """The finding of this ID; a unique beginning of it is enough."""
    files = sorted(folder.glob(f"{name}*.json")) if name.isalnum() else []
    if len(files) != 1:
        there = ", ".join(file.stem for file in sorted(folder.glob("*.json"))[:8]) or "none"
        what = "no finding" if not files else "more than one finding"
        raise GoldgradError(f"there is {what} {name} in {folder} (there: {there}); run goldgrad check again")
    try:
        return Finding.from_json(json.loads(files[0].read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise GoldgradError(f"{files[0]} is no finding ({fault!r}); run goldgrad check again") from None
