"""``goldgrad report``: published numbers as they were published, beside what the compiler makes."""

from __future__ import annotations

import io
import itertools
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from xml.etree import ElementTree

import pytest
from rich.console import Console

from goldgrad import cli
from goldgrad.jobs.latency import Step
from goldgrad.models import MODELS
from goldgrad.report import figures, kept
from goldgrad.report.figures import STAGES, measure
from goldgrad.report.planned import planned
from goldgrad.report.published_numbers import KINDS, PUBLISHED, REORDERING
from goldgrad.schemes import names

MODEL = "mcunet-5fps"


@pytest.fixture(scope="module")
def rows():
    """Of the full update and the smallest scheme: one after the other, the rest takes half a minute."""
    return measure([MODEL], each=lambda plan, cases: itertools.starmap(plan, cases[:2]))


def printed(part) -> str:
    out = io.StringIO()
    Console(file=out, width=160, highlight=False).print(part)
    return out.getvalue()


def cells(text: str, start: str) -> list[str]:
    """The numbers of the line that starts so."""
    line = next(line for line in text.splitlines() if line.strip().startswith(start))
    return line.strip().removeprefix(start).split()


def kb(nbytes: int) -> str:
    return f"{nbytes / 1024:,.1f}"


def test_rows_are_plans_of_every_scheme(rows):
    asked = []
    assert measure([MODEL], each=lambda plan, cases: asked.extend(cases) or ()) == []
    assert asked == [(MODEL, scheme) for scheme in ("full", *names(MODEL))]
    row = rows[1]
    assert row.scheme == names(MODEL)[0]
    for stage, without in STAGES.items():
        made = planned(MODEL, row.scheme, without).plan
        assert (row.arena_bytes[stage], row.live_peak_bytes[stage]) == (made.arena_bytes, made.live_peak_bytes)
        assert row.floor_bytes == made.floor_bytes


def test_each_stage_needs_no_more_than_the_one_before(rows):
    for row in rows:
        live = list(row.live_peak_bytes.values())
        assert live == sorted(live, reverse=True)
        assert row.floor_bytes <= live[-1]


@pytest.mark.parametrize("model", PUBLISHED)
def test_every_published_model_is_there_with_its_schemes(model):
    assert MODELS[model].published and len(names(model)) == 5
    p = PUBLISHED[model]
    assert p.full_kb > p.sparse_kb > p.reordered_kb
    assert p.projected_full_ms > p.tflm_sparse_ms > p.sparse_ms


def test_figure_20_has_both_sides(rows):
    text = "".join(map(printed, figures.figure20(rows)))
    p = PUBLISHED[MODEL]
    assert cells(text, "published: full") == [f"{p.full_kb:,}"]
    assert cells(text, "published: sparse") == [str(p.sparse_kb), str(p.reordered_kb)]
    for row in rows:
        start = f"{MODEL}   {row.scheme}" if row.scheme == "full" else row.scheme
        assert cells(text, start) == [kb(n) for n in (*row.arena_bytes.values(), row.floor_bytes)]


def test_figure_21_has_both_sides(rows):
    text = "".join(map(printed, figures.figure21(rows)))
    p, full = PUBLISHED[MODEL], rows[0].arena_bytes["sparse"]
    assert f"{p.sparse_kb} ({p.full_kb / p.sparse_kb:.1f}x)" in text
    for row in rows[1:]:
        assert cells(text, f"goldgrad, {row.scheme}")[:2] == [kb(full), kb(row.arena_bytes["sparse"])]
        least = row.arena_bytes["streamed backward"]
        assert f"{kb(least)} ({full / least:.1f}x)" in text
    for r in REORDERING:
        assert cells(text, f"published   average accuracy {r.accuracy} %") == [str(r.sparse_kb), str(r.reordered_kb)]
    *_, latency = text.split("Figure 21 (c)")
    assert cells(latency, MODEL) == ["published", f"{p.projected_full_ms:,}", "*", f"{p.tflm_sparse_ms:,}", "546"]
    assert "goldgrad's own steps on the board: --on-board" in latency


def step(scheme, kernels, cycles, projected=False):
    forward = dict.fromkeys(KINDS, 2_000_000)
    sizes, layers = (1024, 2048), {"conv00": {"forward": cycles}}
    return Step(MODEL, scheme, kernels, projected, True, 3 * cycles, *sizes, cycles, "m7", 9.5, layers, {}, forward)


STEPS = [
    step("full", "portable", 216_000_000, True),
    step("99kb", "portable", 108_000_000),
    step("99kb", "m7", 54_000_000),
]


def test_figure_21_has_steps_beside_the_published(rows):
    text = "".join(map(printed, figures.figure21(rows, STEPS)))
    *_, latency = text.split("Figure 21 (c)")
    assert cells(latency, "goldgrad, 99kb") == ["1,000", "*", "500", "250"]
    assert cells(latency, "million instructions") == ["648.0", "324.0", "162.0"]
    assert "3 of 3 steps bit-exact" in latency and "± 9.5" in latency
    *_, forward = latency.split("million instructions by kind")
    assert cells(forward, "goldgrad, m7") == ["2.0"] * len(KINDS) + ["12.0"]
    assert cells(forward, "CMSIS-NN, -O3")[0] == "44.4"
    words = " ".join(ElementTree.fromstring(figures.FIGURES["figure21"][1](rows, STEPS, ".svg")).itertext())
    assert "goldgrad: full, plain kernels (projected)" in words and "250" in words.split()


@pytest.mark.parametrize("figure", figures.FIGURES)
def test_pictures_have_the_numbers(rows, figure):
    _, draw = figures.FIGURES[figure]
    words = " ".join(ElementTree.fromstring(draw(rows, (), ".svg")).itertext())
    last = rows[-1]
    for stage in ("sparse", "reordered", "streamed backward"):
        assert f"{last.arena_bytes[stage] / 1024:.0f}" in words.split()
    assert str(PUBLISHED[MODEL].sparse_kb) in words.split()
    assert draw(rows, (), ".png").startswith(b"\x89PNG")
    assert draw(rows, (), ".svg") == draw(rows, (), ".svg")


def goldgrad(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["goldgrad", "report", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return caught.value.code or 0, *capsys.readouterr()


@pytest.mark.parametrize("figure", figures.FIGURES)
def test_the_command_shows_draws_and_writes(monkeypatch, capsys, tmp_path, rows, figure):
    monkeypatch.chdir(tmp_path)
    asked = []
    monkeypatch.setattr(figures, "measure", lambda models, tell, each: asked.append(models) or rows)  # planned above
    code, out, err = goldgrad(monkeypatch, capsys, figure, "--model", MODEL, "--model", MODEL, "--json", "a.json")
    assert (code, err, asked) == (0, "", [[MODEL]])
    assert "What differs:" in out and "Arena and live peak are equal in " in out
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [f"{figure}.png", f"{figure}.svg"]
    document = json.loads((tmp_path / "a.json").read_text())
    assert document["figure"] == figure and document["published"][MODEL]["full_kb"] == PUBLISHED[MODEL].full_kb
    assert [row["arena_bytes"] for row in document["goldgrad"]] == [dict(row.arena_bytes) for row in rows]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["figure20", "--model", "digits"], "nothing is published of 'digits'; use mobilenet-v2-w0.35, "),
        (["figure21", "--picture", "a.gif"], "'a.gif' is no picture that can be drawn; name one .svg or .png"),
        (["figure20", "--json", "."], "is a folder; name another file"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(monkeypatch, capsys, tmp_path, arguments, said):
    monkeypatch.chdir(tmp_path)
    code, out, err = goldgrad(monkeypatch, capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("goldgrad: ") and err.count("\n") == 1 and said in err
    assert not list(tmp_path.iterdir())


def test_what_was_measured_of_the_same_sources_is_not_again(tmp_path):
    cases = [(2, 3), (4, 5)]
    with ThreadPoolExecutor(1) as pool:
        first = [*kept.each(pool, Fraction, fraction, cases, "content", tmp_path)]
        assert [f.value for f in first] == [2 / 3, 4 / 5]
        again = [*kept.each(pool, Fraction, fraction, [(4, 5), (6, 7)], "content", tmp_path)]
        assert [f.made for f in again] == [first[1].made, 3]
        assert [f.made for f in kept.each(pool, Fraction, fraction, cases, "other", tmp_path)] == [4, 5]
        (tmp_path / "fraction.part").write_text("{")  # what an interruption leaves
        assert [f.made for f in kept.each(pool, Fraction, fraction, cases, "other", tmp_path)] == [4, 5]


@dataclass
class Fraction:
    value: float
    made: int


made = itertools.count(1)


def fraction(a, b):
    return Fraction(a / b, next(made))


def test_plans_do_not_depend_on_how_they_are_run():
    assert kept.sources(False) != kept.sources(True)
    assert kept.sources(True) == kept.sources(True)
