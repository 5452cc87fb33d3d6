"""``goldgrad graph``: text that parses back, and pictures of what was pruned and what trains."""

from __future__ import annotations

import re
import sys
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings

import graphs
from goldgrad import cli
from goldgrad.autodiff import differentiate
from goldgrad.graph_text import parse_graph
from goldgrad.model import LAYERS, layer_name
from goldgrad.models import architecture
from goldgrad.report.graph import STAGES, stage_of, text
from goldgrad.report.graph_dot import dot
from goldgrad.report.graph_picture import FILL, LEGEND, picture
from goldgrad.report.graph_svg import WIDTHS, svg
from goldgrad.schemes import named
from goldgrad.sparse import parameter_of

SVG = "{http://www.w3.org/2000/svg}"


def drawn(step):
    model = step.session.model
    full = differentiate(model.graph, "loss")
    return full, step.session.graph, picture(model.graph, full, step.session.graph, 'any <network> & "scheme"')


@settings(max_examples=40)
@given(graphs.steps())
def test_each_node_has_one_box_and_what_is_gone_is_a_ghost(step):
    full, graph, shown = drawn(step)
    kept = sorted((box for box in shown.boxes if box.time is not None), key=lambda box: box.time)
    assert [box.node for box in kept] == list(graph.nodes)
    ghosts = {name for box in shown.boxes if box.kind == "ghost" for name in box.node.results}
    computed = {name.replace(".trained.", ".w.") for node in graph.nodes for name in node.results}
    assert ghosts == {name for node in full.nodes if computed.isdisjoint(node.results) for name in node.results}
    places = [(box.row, box.column, box.line) for box in shown.boxes]
    assert len(set(places)) == len(places)


@settings(max_examples=40)
@given(graphs.steps())
def test_colours_tell_what_trains(step):
    _, graph, shown = drawn(step)
    trains = {parameter_of(graph, name).replace(".trained", ".w") for name in graph.updates}
    for box in shown.boxes:
        if box.node.function in LAYERS:
            layer = layer_name(box.node)
            bias = "bias" if f"{layer}.b" in trains else "frozen"
            assert box.kind == ("weight" if f"{layer}.w" in trains else bias)
    updates = [box.kind for box in shown.boxes if box.node.function.endswith(".update") and box.time is not None]
    assert len(updates) == len(trains)


@settings(max_examples=20)
@given(graphs.steps())
def test_pictures_are_well_formed(step):
    _, graph, shown = drawn(step)
    root = ElementTree.fromstring(svg(shown))
    titles = [title.text for title in root.iter(f"{SVG}title")]
    for node in graph.nodes:
        assert any(title.startswith(f"{node.function}: ") for title in titles)
    width, height = float(root.get("width")), float(root.get("height"))
    for box in root.iter(f"{SVG}rect"):
        assert float(box.get("x", 0)) + float(box.get("width")) <= width
        assert float(box.get("y", 0)) + float(box.get("height")) <= height
    lines = dot(shown).splitlines()
    assert lines[1].startswith(r'  label="any <network> & \"scheme\""; ')
    declared = {line.split()[0] for line in lines if "fillcolor" in line}
    assert declared == {f"n{index}" for index in range(len(shown.boxes))}
    for line in lines:
        if "->" in line:
            assert set(re.findall(r"\bn\d+\b", line)) <= declared


def test_the_picture_of_a_published_scheme():
    shown = text("mcunet-5fps", "49kb", "pruned", "svg", None)
    for words in (
        "mcunet-5fps, scheme 49kb, pruned: ",
        "conv24:  1×1 convolution, 8×8×144",
        "12 of 48 channels",
        "update 24 of 48 channels",
        "update 576 biases",
        "add12:  sum, 4×4×96",
    ):
        assert words in shown
    for kind in LEGEND:
        assert FILL[kind] in shown
    assert len(WIDTHS) == 6


@pytest.mark.rules("MODEL-S6")
@pytest.mark.parametrize("stage", STAGES)
def test_the_text_of_every_stage_parses_back(stage):
    model = architecture("digits").model()
    graph = stage_of(model, named(model, "sparse"), stage)
    assert parse_graph(text("digits", "sparse", stage, None, None)) == graph


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("form", ["dot", "svg"])
def test_every_stage_can_be_drawn(stage, form):
    assert "digits, " in text("digits", "last-2", stage, form, None)


def goldgrad(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["goldgrad", "graph", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return caught.value.code, *capsys.readouterr()


def test_the_command_prints_and_succeeds(monkeypatch, capsys):
    code, out, err = goldgrad(monkeypatch, capsys, "digits", "--scheme", "sparse")
    assert (code, err) == (0, "") and out.startswith("graph digits\n")
    assert goldgrad(monkeypatch, capsys, "digits", "--scheme", "head", "--dot")[1].startswith("digraph")
    assert goldgrad(monkeypatch, capsys, "digits", "--scheme", "head", "--stage", "forward", "--svg")[1].startswith(
        "<svg"
    )


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("no", "--scheme", "full"), "there is no model 'no'; use one of digits, "),
        (("digits", "--scheme", "49kb"), "digits has no scheme '49kb'; use full, "),
        (("digits", "--scheme", "last-99"), "digits has 19 convolutions, not 99; use fewer"),
        (("digits", "--scheme", "full", "--stage", "x"), "there is no stage 'x'; use one of forward, "),
        (("digits", "--scheme", "full", "--dot", "--svg"), "--dot and --svg cannot both be"),
        (("digits", "--scheme", "full", "--weights", "a.npz"), "digits takes no weights file; leave --weights out"),
        (("mcunet-5fps", "--scheme", "full", "--weights", "a.npz"), "MODEL-I1: a.npz: there is no such file; give"),
        (("digits", "--scheme", "a.toml"), "SCHEME-I1: there is no file 'a.toml'"),
    ],
)
def test_bad_input_is_one_line(monkeypatch, capsys, tmp_path, arguments, named):
    monkeypatch.chdir(tmp_path)
    code, out, err = goldgrad(monkeypatch, capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("goldgrad: ") and err.count("\n") == 1 and named in err
    assert not list(tmp_path.iterdir())
