"""The mutation gate: the suite must tell every mutant of kernels and reference from the original.

``python tests/mutants/gate.py`` (``make mutants``) applies each patch of ``c/*.toml``, ``python/*.toml`` and
``m7/*.toml`` to a copy, puts it under the suite, and prints the score and the survivors.  A mutant is a file, what
stands there, what shall stand there instead, and what that means; one that no test can tell from the original carries
the proof (``equivalent``).  A patch that does not fit the file any more, or does not compile, is a fault.

C mutants are compiled one file each, into a library of their own; those of the kernels for a Cortex-M7 into an ELF,
whose Thumb-2 code the emulator runs.  A mutant runs in a process forked from this one, which has imported everything:
a crash or a hang kills the mutant, and nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import signal
import sys
import tempfile
import time
import tomllib
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}

import board_build
import numpy as np
from hypothesis import HealthCheck, Phase, settings

from goldgrad import numerics, paths
from goldgrad.board.errors import BuildError
from goldgrad.board.toolchain import host_toolchains
from goldgrad.check.providers.calls import Abi
from goldgrad.check.providers.compiled import Compiled
from goldgrad.check.providers.machine import Host
from goldgrad.check.providers.opening import open_here
from goldgrad.conformance.properties import PROPERTIES, verify
from goldgrad.conformance.providers import CKernels, Provider
from goldgrad.conformance.search import apart
from goldgrad.kernels import KERNELS
from goldgrad.ops import FUNCTIONS

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PORTABLE = paths.data("kernels_c") / "src" / "portable"
PACKAGE = ROOT / "refimpl" / "goldgrad"
SECONDS = 60.0
"""A mutant that takes longer hangs."""
EXAMPLES = 80
"""Cases a property: what the property tests of ``make test`` try."""
KILLED, SURVIVED = 10, 0


@dataclass(frozen=True)
class Mutant:
    """One patch."""

    kind: str
    file: str
    what: str
    changes: tuple[tuple[str, str], ...]
    functions: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    contradiction: int | None = None
    equivalent: str = ""

    @property
    def source(self) -> Path:
        """What is patched."""
        if self.kind == "m7":
            return board_build.path_of(self.file)
        return (PORTABLE if self.kind == "c" else PACKAGE) / self.file

    @property
    def operators(self) -> tuple[str, ...]:
        """The functions that are put under the suite: those that the file can affect, unless the mutant names some."""
        if self.kind == "m7":
            return self.functions or board_build.functions_in(self.file)
        stem = Path(self.file).stem
        return self.functions or tuple(name for name in FUNCTIONS if name.partition(".")[0] == stem)

    def patched(self) -> str:
        """The file with the patch applied; each place must be there exactly once."""
        text = self.source.read_text(encoding="utf-8")
        for before, after in self.changes:
            if text.count(before) != 1:
                raise ValueError(f"{before[:60]!r} is there {text.count(before)} times")
            text = text.replace(before, after)
        return text

    def __str__(self) -> str:
        return f"{self.kind}/{self.file}: {self.what}"


def mutants() -> list[Mutant]:
    """All there are."""
    found = []
    for path in sorted(HERE.glob("*/*.toml")):
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        for table in document["mutants"]:
            also = table.get("also", [])
            changes = ((table["before"], table["after"]), *([(also[0], also[1])] if also else []))
            found.append(
                Mutant(
                    path.parent.name,
                    table.get("file") or document["file"],
                    table["what"],
                    changes,
                    tuple(table.get("functions") or document.get("functions", ())),
                    tuple(table.get("tests", "").split()),
                    table.get("contradiction"),
                    table.get("equivalent", ""),
                )
            )
    return found


# --- C ------------------------------------------------------------------------------------------------------------


def build(mutant: Mutant, folder: Path) -> Path:
    """A library of the operators that the mutant touches, or an ELF of them for a Cortex-M7."""
    folder.mkdir()
    if mutant.kind == "m7":
        return board_build.build(mutant.file, mutant.patched(), mutant.operators, folder)
    toolchain = next(toolchain for toolchain in host_toolchains() if not toolchain.missing)
    names = {f"{function.partition('.')[0]}.c" for function in mutant.operators}
    if "softmax_cross_entropy.c" in names:
        names.add("numerics.c")
    for name in names:
        (folder / name).write_text((PORTABLE / name).read_text())
    (folder / mutant.file).write_text(mutant.patched())
    target = folder / "kernels.so"
    flags = ("-shared", "-fPIC", "-O1", "-fno-sanitize=undefined", "-w", f"-I{PORTABLE}")
    run = toolchain.run(*flags, *(folder / name for name in sorted(names)), "-o", target, "-lm")
    if run.returncode:
        raise ValueError(f"it does not compile: {run.stderr[:300]}")
    return target


def open_mutant(built: Path) -> Provider:
    """The provider that runs what was built."""
    if built.suffix == ".elf":
        return open_here(f"elf:{built}@unicorn")
    return Compiled("mutant", Host(built), Abi())


def functions_differ(library: Path) -> str | None:
    """Whether exp32 or log32 of a library is not the reference's somewhere, as tests/property/test_numerics.py asks."""
    from ctypes import CDLL, POINTER, c_float, c_int32

    bits = np.random.default_rng(0).integers(0, 2**32, 1 << 18, np.uint32)
    floats = np.concatenate([bits.view(np.float32), np.linspace(-105, 90, 1 << 17, dtype=np.float32)])
    for name, function in (("exp32", numerics.exp32), ("log32", numerics.log32)):
        out = np.empty_like(floats)
        given, made = (array.ctypes.data_as(POINTER(c_float)) for array in (floats, out))
        getattr(CDLL(str(library)), f"gg_{name}_n")(c_int32(floats.size), given, made)
        if not numerics.same_bits(function(floats), out).all():
            return name
    return None


def under_suite(provider: Provider, functions: Sequence[str], examples: int) -> str | None:
    """The first property that a function breaks; None if all hold."""
    for function in functions:
        for name, each in PROPERTIES.items():
            if each.applies(FUNCTIONS[function]) and each.only != "dot" and _breaks(name, function, provider, examples):
                return f"{function} {name}"
    return None


def _breaks(name: str, function: str, provider: Provider, examples: int) -> bool:
    profile = settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    try:
        apart(lambda case: verify(name, case, provider), name, function, profile)
    except Exception:
        return True
    return False


# --- Python -------------------------------------------------------------------------------------------------------


def patch(mutant: Mutant) -> None:
    """Run the mutated source in the module's own namespace, and give it to all who had imported the original."""
    name = "goldgrad." + mutant.file.removesuffix(".py").replace("/", ".")
    module = import_module(name)
    before = dict(vars(module))
    exec(compile(mutant.patched(), mutant.file, "exec"), vars(module))
    for other in [m for n, m in sys.modules.items() if n.startswith("goldgrad") and m is not module]:
        for attribute, value in list(vars(other).items()):
            if attribute in before and value is before[attribute] and not attribute.startswith("__"):
                setattr(other, attribute, vars(module)[attribute])


def under_tests(tests: Sequence[str]) -> str | None:
    """Whether one of the tests fails."""
    import pytest

    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    os.environ["HYPOTHESIS_PROFILE"] = "quick"
    code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:randomly", *tests])
    if code in (4, 5):
        os._exit(code)
    return f"tests (exit code {int(code)})" if code else None


# --- all of them --------------------------------------------------------------------------------------------------


@dataclass
class Trial:
    """A forked process that tries a mutant."""

    mutant: Mutant
    pid: int
    pipe: int
    until: float


def start(mutant: Mutant, built: Path | None, examples: int) -> Trial:
    """Fork; the child says what killed the mutant."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        os.close(writing)
        return Trial(mutant, pid, reading, time.monotonic() + SECONDS)
    code = 77
    try:
        os.close(reading)
        warnings.simplefilter("ignore")
        if built is not None:
            said = functions_differ(built) if mutant.file == "numerics.c" else None
            said = said or under_suite(open_mutant(built), mutant.operators, examples)
        else:
            patch(mutant)
            if mutant.tests:
                said = under_tests([str(ROOT / test) for test in mutant.tests])
            else:
                said = under_suite(CKernels(), [f for f in mutant.operators if f in KERNELS], examples)
        os.write(writing, (said or "").encode())
        code = KILLED if said else SURVIVED
    except BaseException as error:  # a mutant that cannot even be imported is dead as well
        os.write(writing, f"{type(error).__name__}: {error}".encode()[:2000])
        code = KILLED
    os._exit(code)


def finish(trial: Trial, is_late: bool) -> str | None:
    """What killed it; None if it survived."""
    if is_late:
        os.kill(trial.pid, signal.SIGKILL)
    said = b""
    while part := os.read(trial.pipe, 4096):
        said += part
    os.close(trial.pipe)
    _, status = os.waitpid(trial.pid, 0)
    if is_late:
        return "hangs"
    if os.WIFSIGNALED(status):
        return f"crashes (signal {os.WTERMSIG(status)})"
    code = os.WEXITSTATUS(status)
    if code not in (KILLED, SURVIVED):
        raise RuntimeError(f"{trial.mutant}: the trial itself failed with {code}; look at its tests")
    return said.decode(errors="replace").splitlines()[0] if code == KILLED else None


Verdict = tuple[Mutant, str | None]
FAULT = "fault: "
"""How what is said of a mutant begins that could not be made."""


def prepared(mutant: Mutant, folder: Path) -> Path | str | None:
    """What a mutant is compiled to, if it is, or why it cannot be made."""
    try:
        if mutant.kind == "python":
            compile(mutant.patched(), mutant.file, "exec")
            return None
        if not mutant.operators:
            return f"{FAULT}no function that it affects is known; name some"
        return build(mutant, folder)
    except (ValueError, BuildError, SyntaxError) as error:
        return f"{FAULT}{error}"


def run(
    chosen: Sequence[Mutant], examples: int, jobs: int, told: Callable[[Verdict], None] = lambda v: None
) -> list[Verdict]:
    """Try the mutants; each with what killed it, or with a fault.  One is built while others are tried."""
    verdicts: list[Verdict] = []

    def tell(mutant: Mutant, said: str | None) -> None:
        verdicts.append((mutant, said))
        told(verdicts[-1])

    with tempfile.TemporaryDirectory(prefix="goldgrad-mutants-") as name:
        folder = Path(name)
        waiting = [*enumerate(chosen)]
        going: list[Trial] = []
        while waiting or going:
            while waiting and len(going) < jobs:
                number, mutant = waiting.pop(0)
                built = prepared(mutant, folder / str(number))
                if isinstance(built, str):
                    tell(mutant, built)
                else:
                    going.append(start(mutant, built, examples))
            ready, _, _ = select.select([trial.pipe for trial in going], [], [], 1.0)
            for trial in list(going):
                is_late = time.monotonic() > trial.until
                if trial.pipe in ready or is_late:
                    going.remove(trial)
                    tell(trial.mutant, finish(trial, is_late))
    return verdicts


def survivors(verdicts: Sequence[Verdict]) -> Iterator[Mutant]:
    """Those that the suite lets through, and that are not proven to be the original."""
    return (mutant for mutant, said in verdicts if said is None and not mutant.equivalent)


def sample(of: Sequence[Mutant], count: int, seed: int) -> list[Mutant]:
    """Some, every contradiction once and a few of each file, a quarter of them for a Cortex-M7; the same for a seed."""
    generator = random.Random(seed)
    shuffled = generator.sample(list(of), len(of))
    first: dict[object, Mutant] = {}
    for mutant in shuffled:
        first.setdefault(mutant.contradiction or (mutant.kind, mutant.file), mutant)
    order = [*first.values(), *(mutant for mutant in shuffled if mutant not in first.values())]
    on_board = [mutant for mutant in order if mutant.kind == "m7"][: count // 4]
    others = [mutant for mutant in order if mutant.kind != "m7"][: count - len(on_board)]
    return [*others, *on_board]


def main() -> int:
    """0 if every mutant is dead or proven equivalent."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=("c", "python", "m7"), help="try those of one folder alone")
    parser.add_argument("--sample", type=int, help="try so many, chosen by --seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="try those whose file or description has this in it")
    parser.add_argument("--part", default="1/1", help="try the first of two parts (1/2), the second (2/2), and so on")
    parser.add_argument("--survivors", type=Path, help="try those that survived, or were faults, in this --json")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--examples", type=int, default=EXAMPLES)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    chosen = [m for m in mutants() if arguments.only in str(m) and arguments.set in (None, m.kind)]
    if arguments.survivors:
        before = json.loads(arguments.survivors.read_text())
        left = {name for name, said in before if said is None or said.startswith(FAULT)}
        chosen = [mutant for mutant in chosen if str(mutant) in left]
    part, parts = map(int, arguments.part.split("/"))
    chosen = chosen[len(chosen) * (part - 1) // parts : len(chosen) * part // parts]
    if arguments.sample:
        chosen = sample(chosen, arguments.sample, arguments.seed)
    begun = time.monotonic()

    known: list[list[str | None]] = []

    def told(verdict: Verdict) -> None:
        mutant, said = verdict
        known.append([str(mutant), said])
        if arguments.json:
            arguments.json.write_text(json.dumps(known, indent=1))
        if said is None:
            print(f"{'equivalent' if mutant.equivalent else 'SURVIVES  '}  {mutant}", flush=True)
        elif said.startswith(FAULT):
            print(f"FAULT       {mutant}: {said.removeprefix(FAULT)}", flush=True)

    verdicts = run(chosen, arguments.examples, arguments.jobs, told)
    left = [*survivors(verdicts)]
    faults = [mutant for mutant, said in verdicts if said is not None and said.startswith(FAULT)]
    dead = [mutant for mutant, said in verdicts if said is not None and mutant not in faults]
    proven = [mutant for mutant, said in verdicts if said is None and mutant.equivalent]
    wrongly = [mutant for mutant in dead if mutant.equivalent]
    for mutant in wrongly:
        print(f"not equivalent after all: {mutant}")
    covered = sorted({mutant.contradiction for mutant in dead if mutant.contradiction})
    print(
        f"{len(dead)} of {len(verdicts)} mutants killed, {len(proven)} proven equivalent, {len(left)} survive, "
        f"{len(faults)} faults ({time.monotonic() - begun:.0f} s); "
        f"contradictions covered: {', '.join(map(str, covered))}"
    )
    return 1 if left or wrongly or faults else 0


if __name__ == "__main__":
    sys.exit(main())
