"""``goldgrad plan``: what it prints, draws and writes is the plan, and bad input is one line with nothing written."""

from __future__ import annotations

import io
import json
import re
import sys
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

import streams
from goldgrad import cli
from goldgrad.errors import GoldgradError
from goldgrad.memory import cp_sat
from goldgrad.memory.plan import CHOICES, PARTS, plan
from goldgrad.model import Model
from goldgrad.models import architecture
from goldgrad.report import files
from goldgrad.report.places import Places
from goldgrad.report.plan import content, show, verdict
from goldgrad.report.plan_picture import COLOUR, rectangles, render
from goldgrad.report.planned import Planned, planned
from goldgrad.sparse import Scheme

SVG = "{http://www.w3.org/2000/svg}"
EXAMPLES = settings.default.max_examples // 2


def printed(found: Planned) -> str:
    out = io.StringIO()
    show(Console(file=out, width=160, highlight=False), found)
    return out.getvalue()


@pytest.fixture(scope="module")
def sparse() -> Planned:
    return planned("digits", "sparse")


# --- what is printed ---------------------------------------------------------------------------------------------


def test_every_node_has_a_line_with_its_live_bytes(sparse):
    lines = [line.split() for line in printed(sparse).splitlines()]
    for time, live in enumerate(sparse.plan.profile.live):
        assert any(line[:1] == [str(time)] and f"{live:,}" in line for line in lines)
    rows = next(node for node in sparse.plan.graph.nodes if node.function == "composite.rows")
    assert f"rows: {rows.body[0].function.removesuffix('.forward')}, " in printed(sparse)


@pytest.mark.parametrize("scheme", ["sparse", "full", "head"])
def test_the_tensors_listed_at_the_peak_make_it(scheme):
    found = planned("digits", scheme)
    text = printed(found)
    table = text[text.index("The peak: ") : text.index("What bytes are for")]
    amounts = re.findall(rf" (?:{'|'.join(PARTS)}) +([0-9,]+)", table)
    assert sum(int(amount.replace(",", "")) for amount in amounts) == found.plan.live_peak_bytes
    flat = " ".join(table.split())
    for entry in found.plan.live_at(found.plan.peak_node):
        assert entry.name in flat


@pytest.mark.rules("MEM-S10")
def test_the_split_sums_to_the_live_peak(sparse):
    text = printed(sparse)
    rows = re.findall(rf"^ +({'|'.join(PARTS)}) +([0-9,]+) +([0-9,]+)", text[text.index("What bytes are for") :], re.M)
    found = {part: (int(peak.replace(",", "")), int(total.replace(",", ""))) for part, peak, total in rows}
    assert sum(peak for peak, _ in found.values()) == sparse.plan.live_peak_bytes
    assert found["masks"][1] == sum(t.nbytes for t in sparse.plan.graph.tensors.values() if t.role == "mask")
    parameters = [sparse.plan.graph[name] for name in sparse.plan.graph.updates]
    assert found["trained biases"] == (sum(t.nbytes for t in parameters if t.role == "bias"),) * 2
    assert found["trained weights"] == (sum(t.nbytes for t in parameters if t.role == "weight"),) * 2


def test_a_scheme_may_have_any_printable_name(sparse):
    odd = replace(sparse, scheme=replace(sparse.scheme, name="[red]$x_$ & <b>"))
    assert "scheme [red]$x_$ & <b>: " in printed(odd)
    assert "[red]$x_$ & <b>" in "".join(ElementTree.fromstring(render(odd, ".svg")).itertext())


def test_gaps_are_told_or_that_there_is_none(sparse):
    made = sparse.plan
    tight = replace(made, profile=made.profile, bound_bytes=made.live_peak_bytes, floor_bytes=made.arena_bytes)
    arena, peak, bound, floor = verdict(tight)
    assert arena.startswith("arena") and f"{made.arena_bytes:,} bytes" in arena
    assert ("no gap" in peak) == (made.arena_bytes == made.live_peak_bytes)
    assert "proved: no order of these nodes needs fewer" in bound
    assert "the arena is 0 bytes (0.0 %) above it" in floor
    *_, bound, floor = verdict(replace(made, bound_bytes=made.live_peak_bytes - 7, floor_bytes=made.arena_bytes + 9))
    assert "the live peak is 7 bytes" in bound and "proved" not in bound
    assert "the arena is 9 below it: maps are computed twice" in floor


def test_a_gap_between_arena_and_live_peak_is_told():
    made = planned("digits", "full", without=["reorder", "in-place"]).plan
    assert made.arena_bytes > made.live_peak_bytes  # else the test needs another case
    gap = made.arena_bytes - made.live_peak_bytes
    assert any(f"the arena is {gap:,} bytes" in line for line in verdict(made) if line.startswith("live peak"))


def test_layers_of_a_composite_are_a_stretch():
    found = planned("digits", "sparse")
    places = Places(found.model.graph)
    names = [places.layers(node) for node in found.plan.graph.nodes]
    assert "block2.expand - block2.project" in names
    assert names[0] == "x" and "classifier" in names
    forward = found.model.graph.nodes
    apart = replace(forward[1], body=(forward[1], forward[3], forward[4]))
    assert places.layers(apart) == f"{places.names[1]}, {places.names[3]} - {places.names[4]}"


# --- the document ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("without", [(), ("stream-backward", "fuse"), CHOICES])
def test_the_document_is_the_plan(without):
    found = planned("digits", "sparse", without)
    made, document = found.plan, json.loads(files.as_json(content(found)))
    assert document["model"] == "digits" and document["scheme"] == "sparse"
    assert document["passes"] == [name for name in CHOICES if name not in without]
    for key in ("arena_bytes", "live_peak_bytes", "bound_bytes", "floor_bytes"):
        assert document[key] == getattr(made, key)
    of = {"trained_weight": "trained weights", "trained_bias": "trained biases", "saved": "saved", "mask": "masks"}
    for key, part in of.items():
        own = set(made.graph.updates.values())
        total = sum(t["bytes"] for t in document["tensors"] if t["part"] == part and t["name"] not in own)
        assert document[f"{key}_bytes"] == document["split"]["total"][part] == total
    assert sum(document["split"]["peak"].values()) == document["live_peak_bytes"]
    assert max(t["offset"] + t["bytes"] for t in document["tensors"]) == document["arena_bytes"]
    assert {t["name"]: t["offset"] for t in document["tensors"]} == dict(made.placement)
    assert [node["live_bytes"] for node in document["nodes"]] == list(made.profile.live)
    assert document["nodes"][document["peak"]["node"]]["live_bytes"] == document["live_peak_bytes"]
    sizes = {t["name"]: t["bytes"] for t in document["tensors"]}
    assert sum(sizes[name] for name in document["peak"]["tensors"]) == document["live_peak_bytes"]


# --- the picture -------------------------------------------------------------------------------------------------


@settings(max_examples=EXAMPLES)
@given(streams.steps(), st.sets(st.sampled_from(CHOICES)))
def test_rectangles_are_the_live_bytes_and_do_not_overlap(step, without):
    made = plan(step.session.graph, without, states=3, tries=0)
    drawn = list(rectangles(made))
    for time, live in enumerate(made.profile.live):
        assert sum(r.nbytes for r in drawn if r.start <= time + 0.25 < r.end) == live
    for i, one in enumerate(drawn):
        assert 0 <= one.start < one.end <= len(made.graph.nodes)
        assert one.offset >= 0 and one.offset + one.nbytes <= made.arena_bytes
        for other in drawn[:i]:
            at_once = one.start < other.end and other.start < one.end
            share = one.offset < other.offset + other.nbytes and other.offset < one.offset + one.nbytes
            assert not (at_once and share), (one, other)


def test_pictures_say_what_they_show(sparse):
    drawing = render(sparse, ".svg")
    words = " ".join("".join(text.itertext()) for text in ElementTree.fromstring(drawing).iter(f"{SVG}text"))
    made = sparse.plan
    for expected in (
        f"arena of {made.arena_bytes:,} bytes",
        f"peak: {made.live_peak_bytes:,} bytes live at node {made.peak_node}",
        f"{made.bound_bytes:,} bytes",
        f"{made.floor_bytes:,} bytes",
        "backward pass",
        *(f"{part}: {made.split_at(made.peak_node)[part]:,}" for part in PARTS if made.totals[part]),
    ):
        assert expected in words
    largest = max(rectangles(made), key=lambda r: r.nbytes * (r.end - r.start))
    assert largest.name in words
    assert drawing == render(sparse, ".svg")
    assert render(sparse, ".png").startswith(b"\x89PNG")


def test_every_part_has_a_colour_of_its_own():
    assert set(COLOUR) == set(PARTS) and len(set(COLOUR.values())) == len(PARTS)


# --- the command -------------------------------------------------------------------------------------------------


def goldgrad(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["goldgrad", "plan", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return caught.value.code or 0, *capsys.readouterr()


def test_the_command_shows_draws_and_writes(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    code, out, err = goldgrad(monkeypatch, capsys, "digits", "--scheme", "head", "--json", "new/plan.json")
    assert (code, err) == (0, "")
    assert out.startswith("digits, scheme head: ") and "The peak: " in out
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["plan.png", "plan.svg"]
    document = json.loads((tmp_path / "new" / "plan.json").read_text())
    assert document == json.loads(files.as_json(content(planned("digits", "head"))))


def test_passes_can_be_left_out_and_asked_for(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    options = ("--without", "reorder", "--without", "fuse", "--also", "stream-image", "--json", "a.json")
    code, *_ = goldgrad(monkeypatch, capsys, "digits", "--scheme", "head", *options, "--picture", "a.png")
    assert code == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "a.png"]
    document = json.loads((tmp_path / "a.json").read_text())
    assert document["passes"] == ["fuse-bias", "stream-forward", "stream-backward", "stream-image", "group", "in-place"]
    assert "image" not in {tensor["name"] for tensor in document["tensors"]}


BAD_TOML = '[weights]\n"block9.expand" = 0.5\n'


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no", "--scheme", "full"], "there is no model 'no'; use one of digits, "),
        (["digits", "--scheme", "49kb"], "digits has no scheme '49kb'; use full, "),
        (["digits", "--scheme", "bad.toml"], "block9.expand"),
        (["digits", "--scheme", "head", "--without", "x"], "there is no pass 'x' to leave out; use fuse-bias, "),
        (["digits", "--scheme", "head", "--without", "recompute"], "there is no pass 'recompute' to leave out"),
        (["digits", "--scheme", "head", "--also", "fuse"], "'fuse' to make besides; use recompute, stream-image"),
        (["digits", "--scheme", "head", "--weights", "a.npz"], "digits takes no weights file; leave --weights out"),
        (["mcunet-5fps", "--scheme", "49kb", "--weights", "bad.toml"], "bad.toml"),
        (["mcunet-5fps", "--scheme", "49kb", "--weights", "a.npz"], "MODEL-I1: a.npz: there is no such file"),
        (["digits", "--scheme", "head", "--solver", "-1"], "--solver is -1; give a number of seconds"),
        (["digits", "--scheme", "head", "--solver", "nan"], "--solver is nan; give a number of seconds"),
        (["digits", "--scheme", "head", "--picture", "a.gif"], "'a.gif' is no picture that can be drawn"),
        (["digits", "--scheme", "head", "--picture", "a"], "'a' is no picture that can be drawn; name one .svg or"),
        (["digits", "--scheme", "head", "--json", "."], "is a folder; name another file"),
        (["digits", "--scheme", "head", "--json", "bad.toml/a"], "cannot be written"),
        (["digits", "--scheme", "head", "--picture", "bad.toml/a/b.png"], "cannot be written"),
        (["digits", "--scheme", "head", "--json", "x" * 300], "File name too long"),
        (["digits", "--scheme", "head", "--json", "a.png", "--picture", "a.png"], "'a.png' is named twice"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(monkeypatch, capsys, tmp_path, arguments, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.toml").write_text(BAD_TOML)
    code, out, err = goldgrad(monkeypatch, capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("goldgrad: ") and err.count("\n") == 1 and said in err
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("bad.toml", BAD_TOML)]


def test_what_cannot_be_written_after_all_leaves_nothing(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(files, "_fault", lambda file: None)
    (tmp_path / "file").touch()
    arguments = ("digits", "--scheme", "head", "--picture", "a.svg", "--json", "file/a.json")
    code, out, err = goldgrad(monkeypatch, capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("goldgrad: the result cannot be written (") and err.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_the_solver_is_an_extra(monkeypatch):
    monkeypatch.setattr(cp_sat, "is_available", lambda: False)
    with pytest.raises(GoldgradError, match=r"pip install 'goldgrad\[solver\]'"):
        cp_sat.check_available()


def test_the_solver_closes_a_gap_or_keeps_the_placement(monkeypatch, capsys, tmp_path):
    pytest.importorskip("ortools", reason="OR-tools is not installed (extra: solver)")
    monkeypatch.chdir(tmp_path)
    arguments = ("digits", "--scheme", "sparse", "--without", "stream-backward", "--json", "a.json")
    greedy = planned("digits", "sparse", ["stream-backward"]).plan
    code, *_ = goldgrad(monkeypatch, capsys, *arguments, "--solver", 2)
    found = json.loads((tmp_path / "a.json").read_text())
    assert code == 0
    assert greedy.live_peak_bytes == found["live_peak_bytes"] <= found["arena_bytes"] <= greedy.arena_bytes


def test_any_model_and_scheme_can_be_shown():
    """Also one that nothing of trains but the classifier's bias, whose plan has no saved slice and no weight."""
    model = architecture("digits").model()
    assert isinstance(model, Model)
    bias = Scheme("its bias", head="bias")
    from goldgrad.report.planned import training_graph

    found = Planned(model, bias, plan(training_graph(model, bias)))
    assert "trained weights" not in printed(found)
    assert content(found)["trained_weight_bytes"] == content(found)["saved_bytes"] == 0
