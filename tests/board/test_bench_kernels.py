"""What ``goldgrad bench kernels`` measures: counted as the board counts, for shapes from a file or of networks."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from goldgrad import cli, paths
from goldgrad.board.build import build_kernels, included
from goldgrad.board.toolchain import find_toolchain
from goldgrad.errors import GoldgradError
from goldgrad.jobs import bench_baseline
from goldgrad.jobs.bench import Call, of_file, of_networks, operands
from goldgrad.jobs.bench_baseline import COSTS, Baseline, Budgets
from goldgrad.jobs.limits import limit, multiplied
from goldgrad.kernels import KERNELS
from goldgrad.ops import FUNCTIONS, Type
from goldgrad.report import peer_counts
from goldgrad.report.bench import compare, measure
from goldgrad.report.bench_pictures import KINDS
from goldgrad.report.console import console

SHAPES = """
[[call]]
function = "conv2d.forward"
x = [1, 4, 4, 16]
w = [8, 1, 1, 16]
b = [8]
m = [8]
x_zero = -3
y_zero = -128
without = ["mask"]

[[call]]
function = "depthwise_conv2d.vjp_x"
g = [1, 4, 4, 6]
w = [3, 3, 6]
in_hw = [4, 4]
pad = [1, 1, 1, 1]
"""


@pytest.fixture(autouse=True)
def objects(monkeypatch, tmp_path_factory):
    monkeypatch.setattr("goldgrad.report.bench.FOLDER", tmp_path_factory.getbasetemp() / "bench")


def bench(monkeypatch, tmp_path, text, *arguments):
    (tmp_path / "shapes.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["goldgrad", "bench", "kernels", "--shapes", "shapes.toml", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code or 0


def test_instructions_scratch_and_text(monkeypatch, tmp_path, capsys):
    assert bench(monkeypatch, tmp_path, SHAPES, "--json", "found.json") == 0
    assert "x 4x4x16 w 8x1x1x16" in capsys.readouterr().out
    found = json.loads((tmp_path / "found.json").read_text())
    conv, depthwise = found["calls"]
    assert (conv["work"], conv["unit"]) == (4 * 4 * 8 * 16, "MAC")
    assert depthwise["work"] == 4 * 4 * 6 * 9
    assert conv["instructions_each"] == conv["instructions"] / conv["work"]
    assert conv["text"] > 500
    assert conv["scratch"] > 0
    assert 0 < conv["stack"] < 1000

    assert bench(monkeypatch, tmp_path, SHAPES, "--json", "old.json", "--kernels", "portable", "--op", "conv2d") == 0
    (portable,) = json.loads((tmp_path / "old.json").read_text())["calls"]
    assert portable["scratch"] == 0
    assert portable["limit_cycles"] == conv["limit_cycles"] == conv["work"] / 2
    assert conv["limit_by"] == "SMLAD"
    assert depthwise["limit_by"] == "VFMA"
    for call in (conv, depthwise, portable):
        assert call["cycles"] > call["limit_cycles"]
    assert portable["instructions"] > 2 * conv["instructions"]


@pytest.mark.parametrize(
    ("text", "arguments", "says"),
    [
        ("", (), "lists no calls"),
        ('[[call]]\nfunction = "conv2d.sideways"', (), "no kernel 'conv2d.sideways'; use one of add"),
        ('[[call]]\nfunction = "mask.pack"\nx = 3', (), "call 0"),
        (SHAPES, ("--op", "add"), "has no call of add"),
        (SHAPES, ("--kernels", "m4"), "no kernels 'm4'; use m7 or portable"),
    ],
)
def test_what_cannot_be_measured(monkeypatch, tmp_path, capsys, text, arguments, says):
    assert bench(monkeypatch, tmp_path, text, *arguments) == 2
    fault = capsys.readouterr().err
    assert says in fault
    assert fault.count("\n") == 1


@pytest.mark.parametrize("function", ["save_channels.forward", "depthwise_conv2d.vjp_w", "conv2d.forward"])
def test_operands_keep_the_rules(function):
    types = {
        "save_channels.forward": (Type((1, 2, 2, 9), "int8"), Type((4,), "int32")),
        "depthwise_conv2d.vjp_w": (
            Type((1, 2, 2, 9), "float32"), Type((1, 2, 2, 3), "int8"), None, Type((3,), "int32")
        ),
        "conv2d.forward": (
            Type((1, 2, 2, 9), "int8"), Type((2, 1, 1, 9), "int8"), Type((2,), "int32"), Type((2,), "float32"),
            Type((2, 1, 1, 3), "int8"), Type((3,), "int32"),
        ),
    }[function]  # fmt: skip
    attributes = {
        "save_channels.forward": {},
        "depthwise_conv2d.vjp_w": {"x_zero": 0, "kernel": (1, 1)},
        "conv2d.forward": {"x_zero": 0, "y_zero": 0},
    }[function]
    assert function in KERNELS
    FUNCTIONS[function](*operands(Call(function, types, attributes, (True,))), **attributes)


# --- limits and peers ----------------------------------------------------------------------------------------------


def call_of(text, tmp_path):
    (tmp_path / "call.toml").write_text(text)
    (found,) = of_file(tmp_path / "call.toml")
    return found


@pytest.mark.parametrize("stride", [1, 2])
def test_padding_is_no_part_of_the_limit(tmp_path, stride):
    out = 7 // stride + 1
    text = f"""
        [[call]]
        function = "depthwise_conv2d.forward"
        x = [1, 8, 8, 6]
        w = [5, 5, 6]
        b = [6]
        m = [6]
        x_zero = 0
        y_zero = 0
        pad = [2, 2, 2, 2]
        stride = [{stride}, {stride}]
    """
    call = call_of(text, tmp_path)
    met = sum(0 <= o * stride - 2 + k < 8 for o, k in itertools.product(range(out), range(5)))
    assert multiplied(call) == 6 * met**2 < call.work[0] == 6 * out**2 * 25
    assert limit(call).cycles == 6 * met**2 / 2


def test_what_a_call_cannot_go_below(tmp_path):
    add = call_of('[[call]]\nfunction="add.forward"\nx1=[1,4,9]\nx2=[1,4,9]\nm1=[1]\nm2=[1]\n'
                  "x1_zero=0\nx2_zero=0\ny_zero=0", tmp_path)  # fmt: skip
    assert (limit(add).cycles, limit(add).by) == (3 * 36, "FP")
    copy = call_of('[[call]]\nfunction="save_channels.forward"\nx=[1,4,4,8]\nchannels=[8]', tmp_path)
    loads, stores = (128 + 32) / 4, 128 / 4
    assert (limit(copy).cycles, limit(copy).by) == ((loads + stores) / 2, "memory")


def test_no_kernel_is_below_its_limit_and_every_count_of_a_peer_has_a_call():
    calls = of_networks()
    keys = [(call.function, call.shape) for call in calls]
    assert len(set(keys)) == len(keys)
    kept = bench_baseline.read(paths.data("renode").parent / "baselines" / "kernels.json")
    assert set(kept.costs) == set(keys), "write baselines/kernels.json anew: make baseline"
    for call in calls:
        assert limit(call).cycles <= kept.costs[call.function, call.shape]["cycles"]
    entries = peer_counts._file()["count"]
    assert all(any(peer_counts._fits(entry, call) for call in calls) for entry in entries)
    first = next(call for call in calls if call.shape == "x 128x128x3 w 16x3x3x3, stride 2")
    assert peer_counts.counts(first).each == {"tinyengine": 1.98, "cmsis_nn": 4.86, "tflm": 25.5}


# --- what is compiled ----------------------------------------------------------------------------------------------


def test_only_what_a_function_needs_is_compiled(tmp_path, monkeypatch):
    monkeypatch.delenv("GOLDGRAD_OBJECTS")
    elf = build_kernels("m7", tmp_path / "one.elf", functions=["gg_mask_scale_forward"])
    assert "gg_mask_scale_forward" in elf.symbols
    assert "gg_conv2d_forward" not in elf.symbols
    few = len([*(tmp_path / "objects").iterdir()])
    more = build_kernels("m7", tmp_path / "two.elf", functions=["gg_depthwise_conv2d_forward"])
    wanted = {"gg_depthwise_conv2d_forward", "gg_portable_depthwise_conv2d_forward", "gg_m7_merge"}
    assert wanted <= set(more.symbols)
    assert "gg_add_forward" not in more.symbols
    assert few < len([*(tmp_path / "objects").iterdir()]) < 15


def test_headers_are_those_that_a_source_includes():
    kernels_c = paths.data("kernels_c")
    found = included(kernels_c / "src" / "cortex_m7" / "conv2d.c", [kernels_c / "include"])
    names = {header.name for header in found}
    assert {"conv2d.h", "window.h", "dot_int8.h"} <= names
    assert "add.h" not in names


# --- baselines -----------------------------------------------------------------------------------------------------

COST = {"instructions": 1000, "cycles": 800, "scratch": 0, "stack": 16, "text": 64}
OLD = Baseline("m7", "zig", "a compiler", "m7-1", {("mask.pack", "x 4"): COST})


def changed(**costs):
    ((key, old),) = OLD.costs.items()
    return Baseline("m7", "zig", "a compiler", "m7-1", {key: {**old, **costs}})


@pytest.mark.parametrize(
    ("costs", "over"),
    [
        ({}, False),
        ({"instructions": 1001}, False),
        ({"instructions": 1002}, True),
        ({"cycles": 804}, False),
        ({"cycles": 805}, True),
        ({"scratch": 1}, True),
        ({"stack": 24}, True),
        ({"text": 66}, True),
        ({"instructions": 900, "text": 60}, False),
    ],
)
def test_budgets(costs, over):
    found = bench_baseline.compare(OLD, changed(**costs), Budgets())
    assert bool(found.regressions) is over
    assert len(found.changes) == len(costs)
    assert found.verdict.startswith("over the budget" if over else "nothing is over")


def test_shapes_that_come_and_go_and_another_compiler():
    new = Baseline("m7", "gcc", "another", "m7-2", {("add.forward", "x1 4"): dict.fromkeys(COSTS, 1)})
    found = bench_baseline.compare(OLD, new, Budgets())
    assert (found.new, found.gone) == ((("add.forward", "x1 4"),), (("mask.pack", "x 4"),))
    assert [note.partition(":")[0] for note in found.notes] == ["another compiler", "another timing model"]
    assert not bench_baseline.compare(OLD, new, Budgets(), "add").gone


def test_a_baseline_is_read_as_it_was_written(tmp_path):
    file = tmp_path / "kernels.json"
    file.write_bytes(OLD.text())
    assert bench_baseline.read(file) == OLD


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (b"kernels baseline 1", b"kernels baseline 9", "is no 'goldgrad kernels baseline 1'"),
        (b'"zig"', b'"tcc"', "has toolchain 'tcc'"),
        (b"[1000, ", b"[", "mask.pack, x 4 has no 5 costs"),
        (b"800", b"-8", "has no 5 costs"),
        (b'"a compiler"', b"3", "lacks its compiler"),
        (b"{", b"", "is no JSON"),
    ],
)
def test_what_is_no_baseline(tmp_path, before, after, says):
    (tmp_path / "kernels.json").write_bytes(OLD.text().replace(before, after))
    with pytest.raises(GoldgradError, match="write it with goldgrad bench baseline") as fault:
        bench_baseline.read(tmp_path / "kernels.json")
    assert says in str(fault.value)


def test_a_kernel_that_got_slower_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sweep = measure(of_networks("fully_connected.vjp_w"), "m7", find_toolchain())
    kept = sweep.baseline()
    file = tmp_path / "kernels.json"
    file.write_bytes(kept.text())
    assert compare(console(), file, "fully_connected.vjp_w", Budgets(), False, None) == 0
    (key, *_) = kept.costs
    less = {**kept.costs, key: {**kept.costs[key], "instructions": int(0.99 * kept.costs[key]["instructions"])}}
    file.write_bytes(Baseline(kept.kernels, kept.toolchain, kept.compiler, kept.timing_model, less).text())
    document = tmp_path / "found.json"
    assert compare(console(), file, "fully_connected.vjp_w", Budgets(), False, document) == 1
    found = json.loads(document.read_text())
    assert found["over"]
    assert [(c["shape"], c["cost"]) for c in found["changes"] if c["over"]] == [(key[1], "instructions")]


# --- the page ------------------------------------------------------------------------------------------------------


def test_a_page_that_needs_nothing_else(monkeypatch, tmp_path):
    arguments = ("--html", "page.html", "--picture", "roof.svg")
    assert bench(monkeypatch, tmp_path, SHAPES, *arguments) == 0
    page = Path("page.html").read_text()
    assert all(text in page for text in ("conv2d.forward", "depthwise_conv2d.vjp_x", "x 4x4x16 w 8x1x1x16", "SMLAD"))
    assert page.count("<svg") == 1
    assert "<script" not in page and "<link" not in page and "src=" not in page
    picture = ElementTree.parse("roof.svg").getroot()
    words = {element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")}
    assert {KINDS["pointwise"][2], KINDS["depthwise vjp_x"][2]} <= words
    assert KINDS["vjp_w"][2] not in words
