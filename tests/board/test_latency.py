"""Steps of the published networks on the board, as figure 21 shows them (MEAS-S8)."""

from __future__ import annotations

import pytest

from goldgrad.jobs import latency, on_board
from goldgrad.models import architecture
from goldgrad.report.published_numbers import KINDS, PUBLISHED

mark = pytest.mark


@mark.rules("MEAS-S8")
def test_a_step_is_what_the_board_measures():
    step = latency.take("mcunet-5fps", "49kb", "m7")
    session = on_board.session("mcunet-5fps", "49kb")
    made = on_board.firmware(session, kernels="m7")
    run = on_board.train(session, made, on_board.samples("mcunet-5fps", session, 1), on_board.RATE, latency.EMULATOR)
    assert step.bit_exact and not step.projected
    assert (step.instructions, step.sram_bytes) == (run.measurement.instructions, run.measurement.sram.total)
    assert set(KINDS) <= set(step.forward)
    assert 0 < sum(step.forward.values()) < step.instructions
    assert sum(step.stages.values()) == pytest.approx(step.cycles, abs=len(run.measurement.regions) + 100)
    assert step.milliseconds == pytest.approx(1000 * step.cycles / 216e6)


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
