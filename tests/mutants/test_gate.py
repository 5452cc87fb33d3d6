"""A sample of the mutation gate: ``make mutants`` tries all."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
SAMPLE = 40


def tables():
    for path in sorted(HERE.glob("*/*.toml")):
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        yield from ({"file": document.get("file"), "kind": path.parent.name, **table} for table in document["mutants"])


def test_the_mutants_are_many_and_cover_the_contradictions():
    found = [*tables()]
    assert len(found) >= 150
    assert len({(each["kind"], each["file"], each["what"]) for each in found}) == len(found)
    assert {each["contradiction"] for each in found if "contradiction" in each} == set(range(1, 13))
    kinds = [each["kind"] for each in found]
    assert set(kinds) == {"c", "python", "m7"}
    assert kinds.count("m7") >= 60


def test_every_patch_fits(monkeypatch):
    """Of a sample, those that do not would be seen one by one, run after run."""
    monkeypatch.syspath_prepend(str(HERE))
    gate = importlib.import_module("gate")
    found = gate.mutants()
    assert len(found) == len([*tables()])
    for mutant in found:
        assert mutant.patched() != mutant.source.read_text(encoding="utf-8"), mutant


def test_a_sample_of_mutants_is_killed(tmp_path):
    """In a process of its own: mutants are forked from it."""
    command = [
        sys.executable,
        HERE / "gate.py",
        "--sample",
        str(SAMPLE),
        "--jobs",
        "1",
        "--json",
        tmp_path / "out.json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    verdicts = json.loads((tmp_path / "out.json").read_text())
    assert len(verdicts) == SAMPLE
    assert sum(name.startswith("m7/") for name, _ in verdicts) == SAMPLE // 4
    assert sum(said is not None for _, said in verdicts) >= SAMPLE - 2


def test_a_patch_that_does_nothing_survives(tmp_path):
    """The gate tells what it lets through."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, HERE], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    said, left = json.loads(done.stdout)
    assert said.pop("not to be compiled").startswith("fault: ")
    assert said == {
        "a crash": "crashes (signal 11)",
        "never ends": "hangs",
        "nothing": None,
        "nothing on the board": None,
        "not there": "fault: 'what is not there' is there 0 times",
    }
    assert left == ["nothing", "nothing on the board"]


PROGRAM = """
import json, sys
sys.path.insert(0, sys.argv[1])
import gate
begin, pack = "uint8_t bits = 0;", "return np.packbits("
forever = "__import__('time').sleep(1e6); " + pack
inside = "const int32_t whole = channels / BLOCK;"
tried = [
    gate.Mutant("c", "mask.c", "nothing", ((begin, "uint8_t bits = 0U;"),)),
    gate.Mutant("c", "mask.c", "a crash", ((begin, "uint8_t bits = *(volatile uint8_t *)0;"),)),
    gate.Mutant("python", "ops/mask.py", "never ends", ((pack, forever),)),
    gate.Mutant("m7", "mask_scale.c", "nothing on the board", ((inside, "const int32_t whole = channels / 8;"),)),
    gate.Mutant("m7", "mask_scale.c", "not to be compiled", ((inside, "const int32_t whole = channels / ;"),)),
    gate.Mutant("c", "mask.c", "not there", (("what is not there", ""),)),
]
gate.SECONDS = 15.0
verdicts = gate.run(tried, 5, 2)
print(json.dumps([{m.what: said for m, said in verdicts}, sorted(m.what for m in gate.survivors(verdicts))]))
"""
