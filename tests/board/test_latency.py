"""Steps of the published networks on the board, as figure 21 shows them (MEAS-S8)."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from goldgrad.board.timing.cost import PARTS
from goldgrad.cli import app
from goldgrad.jobs import latency, on_board
from goldgrad.models import architecture
from goldgrad.ops import FUNCTIONS
from goldgrad.report.bench_pictures import by_layer
from goldgrad.report.published_numbers import KINDS, PUBLISHED

mark = pytest.mark


@mark.rules("MEAS-S8", "TIM-S11")
def test_a_step_is_what_the_board_measures(tmp_path, monkeypatch):
    found = latency.streaming("mcunet-5fps", "49kb")
    step, whole = found.streamed, found.whole
    session = on_board.session("mcunet-5fps", "49kb")
    made = on_board.firmware(session, kernels="m7")
    run = on_board.train(session, made, on_board.samples("mcunet-5fps", session, 1), on_board.RATE, latency.EMULATOR)
    assert step.bit_exact and not step.projected
    assert (step.instructions, step.sram_bytes) == (run.measurement.instructions, run.measurement.sram.total)
    assert set(KINDS) <= set(step.forward)
    assert 0 < sum(step.forward.values()) < step.instructions
    assert sum(step.stages.values()) == pytest.approx(step.cycles, abs=len(run.measurement.regions) + 100)
    assert step.milliseconds == pytest.approx(1000 * step.cycles / 216e6)
    layers = [*step.layers]
    assert layers == [*whole.layers] and layers[0] == "x" and layers[-1] == "loss"
    assert set(step.layers["conv30"]) == set(latency.STAGES), "a layer whose weight trains has all stages"
    assert set(step.layers["conv03"]) == {"forward"}
    # What streaming takes and gives: fewer bytes, more cycles.
    assert whole.bit_exact
    assert whole.arena_bytes > 1.5 * step.arena_bytes
    assert whole.cycles < step.cycles
    assert found.percent == pytest.approx(100 * (step.cycles - whole.cycles) / whole.cycles)

    # By function, of the command as well.
    functions = step.profile
    assert sum(spent.instructions for spent in functions.values()) == step.instructions
    assert sum(spent.cycles for spent in functions.values()) == pytest.approx(step.cycles, abs=len(PARTS))
    assert functions["gg_program_step"].calls == 1
    assert functions["gg_conv2d_forward"].calls > 30
    monkeypatch.setattr(latency, "take", lambda *_, **__: step)
    files = ("--json", tmp_path / "step.json", "--picture", tmp_path / "step.svg")
    result = CliRunner().invoke(app, ["bench", "step", "mcunet-5fps", "--functions", *map(str, files)])
    assert result.exit_code == 0, result.output
    (line,) = [line.split() for line in result.output.splitlines() if line.split()[:1] == ["gg_program_step"]]
    spent = functions["gg_program_step"]
    assert line[1:4] == [f"{number:,.0f}" for number in (spent.calls, spent.instructions, spent.cycles)]
    listed = json.loads((tmp_path / "step.json").read_text())["functions"]
    assert [each["function"] for each in listed] == [*functions]
    assert "functions" not in step.as_json()

    words = {*ElementTree.fromstring(by_layer(step, ".svg")).itertext()}
    assert {"conv30 1x1", "conv31 dw 7x7", "loss"} <= words
    assert any(f"{step.milliseconds:,.1f} ms a step" in text for text in words)


@pytest.mark.parametrize(
    ("function", "stage"),
    [
        ("conv2d.forward", "forward"),
        ("quantize_input.from_uint8", "forward"),
        ("save_channels.forward", "forward"),
        ("softmax_cross_entropy.forward", "backward"),
        ("mask_scale.forward", "backward"),
        ("add.vjp_x", "backward"),
        ("bias_gradient.forward", "gradients"),
        ("depthwise_conv2d.vjp_w", "gradients"),
        ("sgd_update_weight_momentum.update", "update"),
    ],
)
def test_stages(function, stage):
    assert function in FUNCTIONS
    assert latency.stage_of(function) == stage


def test_every_layer_has_a_kind():
    for name in PUBLISHED:
        forward = architecture(name).model().graph
        kinds = latency.kinds_of(forward)
        operators = ("conv2d.forward", "depthwise_conv2d.forward", "add.forward")
        layers = {node.results[0].partition(".")[0] for node in forward.nodes if node.function in operators}
        assert set(kinds) == layers
        assert set(kinds.values()) <= set(KINDS)


def test_the_scheme_of_about_100_kb():
    assert [latency.scheme_of_100_kb(name) for name in PUBLISHED] == ["99kb", "98kb", "99kb"]
