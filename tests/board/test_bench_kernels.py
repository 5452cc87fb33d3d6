"""What ``goldgrad bench kernels`` measures: counted as the board counts, for shapes from a file or of networks."""

from __future__ import annotations

import json
import sys

import pytest

from goldgrad import cli
from goldgrad.jobs.bench import Call, operands
from goldgrad.kernels import KERNELS
from goldgrad.ops import FUNCTIONS, Type

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
