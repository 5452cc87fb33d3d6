"""Test vectors: cases that stay, and cases that are written out for whoever only exchanges files or runs C."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings

from ..conformance.case import Case
from ..conformance.properties import PROPERTIES
from ..conformance.providers import NotProvided, Scratch
from ..conformance.search import strategy
from ..conformance.strategies import ONLY
from ..errors import GoldgradError
from ..numerics import Array
from ..ops import FUNCTIONS, Type
from .results import Finding

Only = Callable[[str], Mapping[str, Sequence[int]]]

FOLDER = Path("vectors")
"""Where permanent vectors are looked for, under the working directory."""


def add(finding: Finding, folder: Path = FOLDER) -> Path:
    """Make a finding's case a permanent vector: a file with what it found, and the line."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{finding.function}-{finding.id}.case"
    about = f"# {finding.headline} ({', '.join(finding.rules)})\n"
    path.write_text(f"{about}{finding.broken} {finding.case}\n", encoding="utf-8")
    return path


def permanent(folder: Path = FOLDER) -> list[tuple[str, Case]]:
    """Property and case of every permanent vector."""
    found = []
    for path in sorted(folder.glob("*.case")):
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
        word, _, rest = lines[0].partition(" ") if len(lines) == 1 else ("", "", "")
        if word not in PROPERTIES:
            raise GoldgradError(f"{path} is no vector: it wants one line, PROPERTY FUNCTION operands; remove it")
        found.append((word, Case.parse(rest)))
    return found


def drawn(functions: Sequence[str], count: int, only: Only = lambda function: {}) -> Iterator[Case]:
    """``count`` cases of each function, the same ones each time; ``only`` says what shapes (``strategies.ONLY``)."""
    for function in functions:
        token = ONLY.set(only(function))
        try:
            yield from _drawn(function, count)
        finally:
            ONLY.reset(token)


def _drawn(function: str, count: int) -> list[Case]:
    cases: list[Case] = []

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy("bits", function))
    def each(case: Case) -> None:
        cases.append(case)

    each()
    return cases


def name_of(case: Case) -> str:
    """A vector's name: its function, and a number that is the same each time."""
    return f"{case.function}-{zlib.crc32(case.text().encode()):08x}"


MANIFEST = "manifest.json"


def write_files(folder: Path, cases: Sequence[Case]) -> int:
    """Write operands as raw little-endian files, and a manifest that says what they are; how many vectors."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for case in {name_of(case): case for case in cases}.values():
        name = name_of(case)
        operands = {each: array for each, array in case.operands.items() if array is not None}
        for each, array in operands.items():
            (folder / f"{name}.{each}.bin").write_bytes(_little(array).tobytes())
        entries.append(
            {
                "name": name,
                "function": case.function,
                "attributes": dict(case.attributes),
                "operands": {each: _described(name, each, Type.of(array)) for each, array in operands.items()},
                "results": {
                    each: _described(name, each, kind)
                    for each, kind in zip(case.entry.outputs, case.types, strict=True)
                },
                "case": case.text(),
            }
        )
    (folder / MANIFEST).write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
    return len(entries)


def _described(name: str, each: str, kind: Type) -> dict[str, Any]:
    return {"file": f"{name}.{each}.bin", "dtype": kind.dtype, "shape": list(kind.shape)}


def _little(array: Array) -> Array:
    return array.astype(array.dtype.newbyteorder("<"))


def read_manifest(folder: Path) -> list[tuple[str, Case, Mapping[str, Any]]]:
    """Name, case and results of every vector of a folder that :func:`write_files` wrote."""
    try:
        entries = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return [(entry["name"], Case.parse(entry["case"]), entry["results"]) for entry in entries]
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise GoldgradError(f"{folder / MANIFEST} cannot be read ({fault}); remove {folder} and start again") from None


class Recorded:
    """A provider whose results lie in files: one that only exchanges files with its device."""

    def __init__(self, name: str, folder: Path, results: Path) -> None:
        self.name, self._results = name, results
        self.cases = read_manifest(folder)
        self._by_text = {case.text(): (name, described) for name, case, described in self.cases}

    def provides(self, function: str) -> bool:
        """Whether there are results of the function."""
        return any(case.function == function and self._given(described) for _, case, described in self.cases)

    def run(
        self,
        function: str,
        inputs: Sequence[Array | None],
        outputs: Sequence[Array | None],
        scratch: Scratch,
        attributes: Mapping[str, Any],
    ) -> None:
        """Give what the file says; a file of another size is an error of the device's."""
        _, described = self._by_text[Case(function, tuple(inputs), dict(attributes)).text()]
        if not self._given(described):
            raise NotProvided
        for output, each in zip(outputs, FUNCTIONS[function].outputs, strict=True):
            path = self._results / described[each]["file"]
            if output is None or not path.exists():
                continue
            data = path.read_bytes()
            if len(data) != output.nbytes:
                raise ValueError(f"{path.name} has {len(data)} bytes, not {output.nbytes}")
            output[...] = np.frombuffer(data, output.dtype.newbyteorder("<")).reshape(output.shape)

    def _given(self, described: Mapping[str, Any]) -> bool:
        return any((self._results / each["file"]).exists() for each in described.values())
