"""``goldgrad run MODEL --board stm32f746``: training on the emulated board, held to the interpreter (MEAS-S8)."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest
from typer.testing import CliRunner

import graphs
import tiny_model
from goldgrad.board.emulators import BACKENDS, backend, present
from goldgrad.board.errors import DoesNotFit, EmulatorDied, EmulatorMissing
from goldgrad.board.toolchain import toolchains
from goldgrad.cli import app, main
from goldgrad.errors import GoldgradError
from goldgrad.jobs import on_board
from goldgrad.memory.plan import plan
from goldgrad.models import architecture
from goldgrad.schemes import named, names
from goldgrad.sparse import FULL, Scheme
from goldgrad.training import Session

mark = pytest.mark
SPARSE = Scheme("sparse", biases=3, weights={"block.expand": (1, 3), "block.depthwise": 0.5})
NETWORKS = ("mcunet-5fps", "mobilenet-v2-w0.35", "proxyless-nas-w0.3")
KEYS = {"bit_exact", "instructions", "regions", "sram", "flash", "emulator", "compiler", "flags"}


def emulators():
    """Every emulator; those that are absent say why."""
    return [
        pytest.param(name, marks=mark.skipif(bool(backend(name).missing()), reason=str(backend(name).missing())))
        for name in BACKENDS
    ]


def cli(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@mark.rules("MEAS-S8", "PROG-S1", "PROG-S6", "MEAS-S2")
@mark.parametrize("emulator", emulators())
@mark.parametrize("scheme", [FULL, SPARSE], ids=["full", "sparse"])
def test_three_steps_have_the_interpreters_bits(emulator, scheme, tmp_path):
    session = Session(tiny_model.model(), scheme)
    made = on_board.firmware(session, tmp_path)
    run = on_board.train(session, made, [tiny_model.sample(seed) for seed in range(3)], 0.1, emulator)
    assert run.bit_exact, run.first_difference
    assert run.first_difference is None
    m = run.measurement
    assert m.instructions == sum(region.instructions for region in m.regions) + m.between
    assert m.sram.arena == made.plan.arena_bytes
    assert all(region.instructions > 0 for region in m.regions)
    assert len(run.loss) == m.steps == 3


@mark.rules("MEAS-S8")
def test_what_emulators_disagree_in_is_told():
    """Of one that runs twice; whether several agree is for test_agreement.py."""
    session = Session(tiny_model.model(), SPARSE)
    made, name = on_board.firmware(session), present()[0]
    first = on_board.train(session, made, [tiny_model.sample()], 0.1, name)
    again = on_board.train(Session(tiny_model.model(), SPARSE), made, [tiny_model.sample()], 0.1, name)
    assert on_board.disagreements([first, again]) == []
    other = replace(again, memory={**again.memory, "arena": b"\0" + again.memory["arena"][1:]})
    m = again.measurement
    longer = replace(m.regions[3], instructions=m.regions[3].instructions + 1)
    regions, sram = (*m.regions[:3], longer, *m.regions[4:]), replace(m.sram, stack=m.sram.stack + 4)
    other.measurement = replace(m, regions=regions, between=m.between + 1, sram=sram)
    found = on_board.disagreements([first, other])
    assert len(found) == 4
    assert longer.name in found[0]
    assert "between operators" in found[1]
    assert "bytes of stack" in found[2]
    assert "another arena" in found[3]


@mark.rules("MEAS-S8")
def test_a_bit_that_differs_is_found_and_named():
    """The board trains at another rate than the interpreter believes."""
    session = Session(tiny_model.model(), FULL)
    made = on_board.firmware(session)
    session.step(tiny_model.sample(seed=7), 0.1)
    run = on_board.train(session, made, [tiny_model.sample()], 0.1, present()[0])
    assert not run.bit_exact
    assert run.first_difference is not None
    assert run.first_difference.startswith("step 0, ")
    assert "in the interpreter" in run.first_difference


@mark.rules("BOARD-M1", "BOARD-S6")
@mark.parametrize("network", NETWORKS)
def test_the_smallest_and_the_largest_published_scheme_fit(network):
    """Built by every compiler that is here; what the plan says is what is linked."""
    model = architecture(network).model()
    for scheme in names(network)[:1] + names(network)[-1:]:
        session = Session(model, named(model, scheme))
        planned = plan(session.graph, tries=0)
        for toolchain in toolchains():
            if not toolchain.missing:
                made = on_board.firmware(session, planned=planned, toolchain=toolchain)
                assert made.elf.section_bytes(".arena") == made.plan.arena_bytes


@mark.rules("BOARD-M1", "BOARD-M3")
def test_full_update_does_not_fit_and_the_error_says_by_how_much():
    model = architecture("mcunet-5fps").model()
    session = Session(model, named(model, "full"))
    planned = plan(session.graph, tries=0)
    with pytest.raises(DoesNotFit, match="does not fit: it overflows SRAM1 and SRAM2") as caught:
        on_board.firmware(session, planned=planned)
    over = planned.arena_bytes - (256 << 10)
    assert over <= caught.value.regions["SRAM1 and SRAM2"] <= over + 32
    assert caught.value.exit_code == 3
    made = on_board.firmware(session, planned=planned, projected=True)
    run = on_board.train(session, made, [graphs.sample(model.graph, 1)], 0.02, "unicorn")
    assert run.bit_exact, run.first_difference
    assert run.measurement.sram.arena == planned.arena_bytes


@mark.rules("BOARD-M3")
def test_projected_board_counts_as_the_real_one(tmp_path):
    """Its code is the same: as many instructions, node by node, and the interpreter's bits."""
    runs = []
    for projected in (False, True):
        session = Session(tiny_model.model(), FULL)
        made = on_board.firmware(session, tmp_path, projected=projected)
        runs.append(on_board.train(session, made, [tiny_model.sample()], 0.1, "unicorn"))
    assert runs[1].bit_exact
    assert on_board.disagreements(runs) == []


@mark.rules("MEAS-S8", "TIM-S8")
def test_command(tmp_path):
    """Digits, a few steps, on the default emulator: tables, verdict, pictures, JSON, C and ELF; and cycles."""
    out, keep, picture = tmp_path / "run.json", tmp_path / "kept", tmp_path / "board.png"
    command = ("run", "digits", "--board", "stm32f746", "--steps", 3, "--cycles")
    result = cli(*command, "--json", out, "--keep", keep, "--picture", picture)
    assert result.exit_code == 0, result.output
    text = " ".join(result.output.split())
    assert "bit-exact" in text
    assert "accuracy on 297 held-out scans" in text
    found = json.loads(out.read_text())
    assert set(found) >= KEYS
    assert found["bit_exact"] is True
    assert found["instructions"] == sum(region["instructions"] for region in found["regions"]) + found["between"]
    assert set(found["regions"][0]) == {"name", "op", "layer", "instructions"}
    assert set(found["sram"]) == {"arena", "scratch", "stack", "data", "bss", "total"}
    assert found["sram"]["total"] == sum(v for k, v in found["sram"].items() if k != "total")
    assert set(found["flash"]) == {"text", "itcm", "rodata", "data", "total"}
    assert found["flash"]["itcm"] > 0
    assert f"{found['flash']['itcm']:,} │ 16,384 ITCM" in text
    assert found["steps"] == len(found["loss"]) == 3
    assert "-mcpu" in " ".join(found["flags"])
    assert {file.suffix for file in keep.iterdir() if file.is_file()} >= {".c", ".elf"}
    assert "cycles of a step by the timing model" in text
    assert found["cycles"]["memory"] == "dtcm"
    assert found["instructions"] / 2 < found["cycles"]["total"] < 2 * found["instructions"]
    for file in (picture, tmp_path / "board-memory.png", tmp_path / "board-cycles.png"):
        assert file.read_bytes().startswith(b"\x89PNG")


@mark.rules("BOARD-C5")
def test_what_the_others_found_is_kept_where_one_emulator_dies(tmp_path, monkeypatch):
    train = on_board.train

    def dies_on_the_second(session, made, samples, rate, emulator, *rest):
        if emulator == "second":
            raise EmulatorDied("second ended; run it again")
        return train(session, made, samples, rate, present()[0], *rest)

    monkeypatch.setattr(on_board, "chosen_emulators", lambda *_: ["first", "second"])
    monkeypatch.setattr(on_board, "train", dies_on_the_second)
    out, picture = tmp_path / "run.json", tmp_path / "board.png"
    command = ("run", "digits", "--board", "stm32f746", "--emulator", "all", "--steps", 1)
    result = cli(*command, "--json", out, "--picture", picture, "--itcm", "none")
    assert isinstance(result.exception, EmulatorDied)
    found = json.loads(out.read_text())
    assert found["flash"]["itcm"] == 0, "all code in flash"
    assert found["died"] == ["second ended; run it again"]
    assert found["bit_exact"] is True
    assert "bit-exact" in result.output


@mark.parametrize(
    ("arguments", "message"),
    [
        (("digits", "--board", "stm32f4"), "there is no board 'stm32f4'; use stm32f746"),
        (("digits", "--board", "stm32f746", "--emulator", "bochs"), "there is no emulator 'bochs'"),
        (("digits", "--board", "stm32f746", "--steps", "0"), "--steps is 0"),
        (("digits", "--board", "stm32f746", "--rate", "-1"), "--rate is -1"),
        (("lenet", "--board", "stm32f746"), "there is no model 'lenet'"),
        (("mcunet-5fps", "--board", "stm32f746"), "has no scheme 'sparse'"),
        (("mcunet-5fps",), "trains on the board only"),
        (("digits", "--board", "stm32f746", "--itcm", "some"), "--itcm is 'some'; use auto or none"),
        (("digits", "--itcm", "none"), "--itcm none is the board's; add --board stm32f746"),
    ],
)
def test_bad_words_are_one_line_and_nothing_is_written(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = cli("run", *arguments)
    assert isinstance(result.exception, GoldgradError)
    assert result.exception.exit_code in (2, 3)
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_is_a_folder_is_refused_before_anything_runs(tmp_path):
    result = cli("run", "digits", "--board", "stm32f746", "--picture", tmp_path)
    assert isinstance(result.exception, GoldgradError)
    assert "is a folder" in str(result.exception)


@mark.rules("BOARD-C5")
def test_emulators_by_name(monkeypatch):
    first = present()[0]
    assert on_board.chosen_emulators(first) == [first]
    assert on_board.chosen_emulators("all") == present()
    assert on_board.chosen_emulators(None) == present()[:1]
    for name in BACKENDS:
        monkeypatch.setattr(backend(name), "missing", classmethod(lambda cls: f"{cls.name} is not here; install it"))
    with pytest.raises(EmulatorMissing, match="no emulator is here"):
        on_board.chosen_emulators("all")
    with pytest.raises(EmulatorMissing, match="unicorn is not here; install it; qemu: qemu is not here"):
        on_board.chosen_emulators(None)


@mark.rules("BOARD-C5")
@mark.parametrize("name", BACKENDS)
def test_an_emulator_that_is_missing_is_told_before_anything_is_built(name, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(backend(name), "missing", classmethod(lambda cls: f"{cls.name} is not here; install it"))
    words = ["goldgrad", "run", "digits", "--board", "stm32f746", "--emulator", name, "--keep", "kept"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 3
    assert capsys.readouterr().err == f"goldgrad: no emulator: {name}: {name} is not here; install it\n"
    assert list(tmp_path.iterdir()) == []
