"""The suite in somebody's own CI: the pytest plug-in, the GitHub action, and the example repository."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from goldgrad import GoldgradError
from goldgrad.check import action

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent / "kernels"
EXAMPLE = ROOT / "examples" / "bring-your-own-kernel"


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A copy of the example, as its owner has it."""
    copy = tmp_path / "repository"
    shutil.copytree(EXAMPLE, copy)
    monkeypatch.chdir(copy)
    return copy


def fixed(repository: Path) -> None:
    """What fix.patch says, applied."""
    kernel = repository / "bias_gradient.c"
    lines = kernel.read_text().splitlines()
    removed, added, at = [], [], 0
    for line in (repository / "fix.patch").read_text().splitlines()[2:]:
        if line.startswith("@@"):
            at = int(line.split("-")[1].split(",")[0]) - 1
        elif line.startswith("-"):
            assert lines[at] == line[1:], "fix.patch is not of this file"
            removed.append(lines.pop(at))
        elif line.startswith("+"):
            lines.insert(at, line[1:])
            added.append(line)
            at += 1
        else:
            assert lines[at] == line[1:], "fix.patch is not of this file"
            at += 1
    assert removed
    assert added
    kernel.write_text("\n".join(lines) + "\n")


def run_pytest(*arguments: str) -> subprocess.CompletedProcess[str]:
    """As its owner runs it: the plug-in is there because goldgrad is installed."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


# The plug-in


def test_the_suite_runs_as_tests_beside_their_own(repository):
    (repository / "test_own.py").write_text("def test_own():\n    pass\n")
    wanted = ("--goldgrad-provider=c:bias_gradient.c", "--goldgrad-op=bias_gradient")
    done = run_pytest(*wanted)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "bias_gradient.forward breaks 'bits': not the reference's bits" in done.stdout
    assert "BIAS-S1" in done.stdout
    assert re.search(r"repeat: goldgrad repro [0-9a-f]{8}", done.stdout)
    failed, passed = (int(n) for n in re.search(r"(\d+) failed, (\d+) passed", done.stdout).groups())
    assert failed >= 2
    assert passed >= 4
    fixed(repository)
    done = run_pytest(*wanted)
    assert done.returncode == 0, done.stdout
    assert f"{failed + passed} passed" in done.stdout


def test_without_the_option_it_does_nothing(repository):
    (repository / "test_own.py").write_text(
        "def test_own():\n    import sys\n    assert 'goldgrad' not in sys.modules\n"
    )
    done = run_pytest()
    assert "1 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("--goldgrad-provider=c:none.c", "there is no file none.c"),
        ("--goldgrad-class=close", "no class 'close'"),
        ("--goldgrad-op=conv2d", "provides none"),
    ],
)
def test_what_the_plugin_cannot_use(repository, option, says):
    done = run_pytest("--goldgrad-provider=c:bias_gradient.c", option)
    assert done.returncode == 4
    assert says in done.stdout + done.stderr


# The action


def test_the_action_finds_the_bug_and_lets_the_fix_pass(repository):
    environment = {
        "GG_PROVIDER": "c:bias_gradient.c",
        "GG_OPERATORS": "bias_gradient",
        "GG_PROFILE": "quick",
        "GITHUB_STEP_SUMMARY": "summary.md",
        "GITHUB_OUTPUT": "output.txt",
    }
    assert action.main(environment) == 1
    summary = Path("summary.md").read_text()
    assert "`c:bias_gradient.c` does not conform" in summary
    assert "| bias_gradient.forward | bits | not the reference's bits | BIAS-S1" in summary
    assert "goldgrad repro 'bits bias_gradient.forward " in summary
    assert "conforms=false\nreport=out/check\n" in Path("output.txt").read_text()
    fixed(repository)
    assert action.main({**environment, "GITHUB_OUTPUT": "fixed.txt"}) == 0
    assert "conforms=true" in Path("fixed.txt").read_text()
    assert {"report.html", "report.json", "report.xml"} <= {path.name for path in Path("out/check").iterdir()}


def test_the_action_runs_on_the_board_and_holds_to_a_baseline(repository):
    fixed(repository)
    environment = {"GG_PROVIDER": "c:bias_gradient.c", "GG_OPERATORS": "bias_gradient", "GG_PROFILE": "quick"}
    environment |= {"GG_BOARD": "unicorn"}
    assert action.main(environment) == 0
    report = json.loads(Path("out/check/report.json").read_text())
    assert report["subject"]["provider"] == "c:bias_gradient.c@unicorn"
    (cost,) = report["costs"]
    assert cost["instructions"] > 20
    less = {**report, "costs": [{**cost, "instructions": int(cost["instructions"] * 0.9)}]}
    Path("less.json").write_text(json.dumps(less))
    assert action.main({**environment, "GG_BASELINE": "less.json"}) == 1
    assert action.grown(report, "less.json", "20") == []
    assert action.grown(report, "", "0") == []
    with pytest.raises(GoldgradError, match="cannot be used"):
        action.grown(report, "none.json", "0")


def test_the_action_tells_what_it_cannot_do(repository, capsys):
    assert action.main({"GG_PROVIDER": "c:none.c"}) == 2
    assert "::error::goldgrad: c:none.c: there is no file none.c" in capsys.readouterr().out


def test_what_the_action_takes_is_what_it_runs():
    """Every input reaches the command, and no other variable is read."""
    text = (ROOT / "action.yml").read_text()
    inputs = re.findall(r"^  ([\w-]+):\n    description", text.partition("outputs:")[0], re.MULTILINE)
    passed = dict(re.findall(r"GG_(\w+): \$\{\{ inputs\.([\w-]+) \}\}", text))
    assert set(passed.values()) | {"python-version", "artifact"} == set(inputs)
    assert {name.lower() for name in passed} == set(passed.values())
    used = set(re.findall(r'given(?:\.get\(|\[)"(\w+)"', Path(action.__file__).read_text()))
    assert used == set(passed.values())


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("vendor.github-workflows", [*ROOT.glob(".github/workflows/*.yml"), *EXAMPLE.glob(".github/workflows/*.yml")]),
        ("vendor.github-actions", [ROOT / "action.yml"]),
    ],
)
def test_workflows_and_action_are_what_github_takes(schema, files):
    assert files
    if find_spec("check_jsonschema") is None:
        pytest.skip("check-jsonschema is not installed: make lint installs it, and checks the same")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
