"""goldgrad check as a whole: what it prints, what it writes, and that it can go on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from goldgrad import GoldgradError, paths
from goldgrad.check import session
from goldgrad.check.results import Finding, Report, Status, Subject, kept
from goldgrad.check.session import check, functions_of, properties_of
from goldgrad.cli import app
from goldgrad.ops import FUNCTIONS

HERE = Path(__file__).parent / "kernels"
PORTABLE = paths.data("kernels_c") / "src" / "portable"
FAULTY = f"c:{HERE / 'faulty.c'}"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Findings and reports land here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")


def goldgrad(*arguments: str | Path, code: int) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert isinstance(done.exception, SystemExit | None), done.exception
    assert done.exit_code == code, done.output
    return done.output


def test_a_kernel_that_conforms():
    text = goldgrad("check", f"c:{PORTABLE / 'mask.c'}", "--op", "mask", "--jobs", "2", "--json", "out.json", code=0)
    assert "conforms in 2 functions" in text
    found = json.loads(Path("out.json").read_text())
    assert found["conforms"] is True
    assert found["cases"] == sum(result["cases"] for result in found["results"]) == 200
    assert {result["status"] for result in found["results"]} == {"holds"}


def test_a_kernel_that_does_not_conform_and_its_repetition():
    arguments = ("--op", "mask", "--cflag=-DFAULT=BEYOND", "--jobs", "1")
    text = goldgrad("check", FAULTY, *arguments, "--json", "out.json", code=1)
    for said in (
        "mask.pack breaks 'frame': memory outside result mask changed",
        "MASK-F1",
        "not provided: mask.unpack",
        "does not conform: 1 of 1 functions fail",
    ):
        assert said in text
    found = json.loads(Path("out.json").read_text())
    (finding,) = [result["finding"] for result in found["results"] if result["finding"]]
    assert finding == json.loads(Path(f"out/check/{finding['id']}.json").read_text())
    assert f"repeat: goldgrad repro {finding['id']}" in text
    assert Finding.from_json(finding) == kept(finding["id"][:5])
    again = goldgrad("repro", finding["id"], code=1)
    assert "breaks 'frame': memory outside result mask changed" in again
    line = finding["repeat"].removeprefix("goldgrad repro ")
    case, _, rest = line.removeprefix("'").partition("' ")
    assert "breaks 'frame'" in goldgrad("repro", case, *rest.split(), code=1)
    assert "frame holds" in goldgrad("repro", finding["id"], "--provider", "c", code=0)


def test_once_a_case_hangs_the_rest_is_skipped():
    report = check(Subject(FAULTY, flags=("-DFAULT=ENDLESS",)), ["mask.pack"], jobs=1, examples=120)
    statuses = [result.status for result in report.results]
    assert statuses.count(Status.FAILS) == 1
    assert set(statuses[statuses.index(Status.FAILS) + 1 :]) == {Status.SKIPPED}
    assert "no end after" in report.findings[0].headline
    assert report.findings[0].parsed().operands["flags"].shape[-1] == 3
    assert not report.conforms


def test_an_interrupted_check_goes_on(monkeypatch):
    subject, tried = Subject("c"), []

    def interrupt(result):
        tried.append(result)
        if len(tried) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check(subject, ["mask"], jobs=1, examples=3, told=interrupt)
    explored = []
    explore = session.explore
    monkeypatch.setattr(session, "explore", lambda name, *rest: explored.append(name) or explore(name, *rest))
    report = check(subject, ["mask"], jobs=1, examples=3, resume=True)
    assert len(explored) == len(report.results) - 3
    assert report.conforms
    assert not list(Path("out/check").glob("journal*"))


def test_a_report_can_be_read_back():
    report = check(Subject(FAULTY, flags=("-DFAULT=BEYOND",)), ["mask.pack"], jobs=1, examples=5)
    content = json.loads(json.dumps(report.as_json()))
    assert [session.Result.from_json(each) for each in content["results"]] == report.results


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "nothing to check"),
        (("c", "--op", "conv3d"), "no operator 'conv3d'"),
        (("c", "--class", "close"), "no class 'close'"),
        (("c", "--profile", "endless"), "no profile 'endless'"),
        (("c", "--json", "/"), "is a folder"),
        ((FAULTY, "--op", "conv2d"), "provides none of conv2d.forward"),
        (("--template", "conv3d"), "no operator 'conv3d'"),
    ],
)
def test_what_cannot_be_checked_is_told_in_one_line(arguments, says):
    done = CliRunner().invoke(app, ["check", *arguments])
    assert isinstance(done.exception, GoldgradError)
    assert says in str(done.exception)
    assert "\n" not in str(done.exception)


@pytest.mark.parametrize("name", ["12345678", "", "../x"])
def test_a_finding_that_is_not_there(name):
    with pytest.raises(GoldgradError, match="there is no finding"):
        kept(name)


def test_what_is_asked():
    assert functions_of(["mask", "conv2d.vjp_*"]) == ["mask.pack", "mask.unpack", "conv2d.vjp_x", "conv2d.vjp_w"]
    assert functions_of([]) == list(FUNCTIONS)
    assert "bits" in properties_of("conv2d.vjp_x", "exact")
    assert "bits" not in properties_of("conv2d.vjp_x", "dot")
    assert "bits" in properties_of("conv2d.forward", "dot")


def test_nothing_tried_is_no_conformance():
    assert not Report(Subject("c"), "quick", "0").conforms
