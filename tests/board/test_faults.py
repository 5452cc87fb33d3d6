"""Whatever goes wrong on the board ends in one line that names the region, with exit code 3."""

import os
import signal
import sys

import pytest

from board_program import (
    any_compiler,
    build_program,
    each_compiler,
    each_emulator,
    emulator,
    fail,
    kill_in,
    program,
    samples,
)
from goldgrad import cli
from goldgrad.board import emulators
from goldgrad.board.board import Board
from goldgrad.board.errors import BoardError, EmulatorDied, EmulatorMissing, Hang, StackOverflow, Trap

KINDS = {
    "flash": (Trap, "write to flash in fault (address 0x0020"),
    "map": (Trap, "access outside the memory map in fault (address 0x20050000"),
    "null": (Trap, "access outside the memory map in fault (address 0x00000000"),
    "stack": (StackOverflow, "stack overflow in fault (address 0x1fff"),
    "trap": (Trap, "undefined instruction"),
    "data": (Trap, "execution outside code in fault"),
}
ITCM_KINDS = {
    "itcm": (Trap, "write to ITCM in fault (address 0x00000800"),
    "call-null": (Trap, "execution outside code in fault"),
    "write-null": (Trap, "access outside the memory map in fault (address 0x00000000"),
    "member-of-null": (Trap, "access outside the memory map in fault (address 0x000007fc"),
}


def one_line(error: BoardError) -> str:
    text = str(error)
    assert "\n" not in text
    assert error.exit_code == 3
    return text


@pytest.mark.rules("BOARD-C2", "BOARD-C3", "BOARD-S4")
@pytest.mark.parametrize("fault", KINDS)
@each_emulator
@each_compiler
def test_faults(compiler, name, fault):
    ends(compiler, name, fault, *KINDS[fault])


@pytest.mark.rules("BOARD-C2", "BOARD-M4", "BOARD-S4")
@pytest.mark.parametrize("fault", ITCM_KINDS)
@each_emulator
def test_faults_in_itcm(name, fault):
    """Below its code NULL is nowhere, and the code is read-only."""
    ends(any_compiler(), name, fault, *ITCM_KINDS[fault])


def ends(compiler, name, fault, kind, text):
    with Board(program(compiler), emulator(name)) as board:
        with pytest.raises(kind) as caught:
            fail(board, fault)
        assert text in one_line(caught.value)
        assert f"by-hand on {name}: " in str(caught.value)
        assert caught.value.region == "fault"
        if fault not in ("stack", "data", "call-null"):
            assert "in gg_program_step+0x" in str(caught.value), "PC tells the function"


@pytest.mark.rules("BOARD-C3")
@each_emulator
def test_a_stack_that_is_too_small_is_found_in_its_operator(name):
    compiler = any_compiler()
    elf = build_program(compiler, "small-stack", stack_bytes=160)
    with Board(elf, emulator(name)) as board, pytest.raises(StackOverflow, match="stack overflow in ") as caught:
        board.step(samples(1)[0])
    assert caught.value.region in {region.name for region in board.program.regions} | {"between operators"}
    one_line(caught.value)


@pytest.mark.rules("BOARD-C4")
@each_emulator
def test_an_endless_loop_ends_with_the_budget(name):
    with Board(program(any_compiler()), emulator(name), budget=3_000_000) as board:
        with pytest.raises(Hang, match="no end after 3,000,000 instructions, in fault;") as caught:
            fail(board, "loop")
        one_line(caught.value)


@pytest.mark.rules("BOARD-C4")
@each_emulator
def test_an_endless_loop_ends_with_the_time(name, monkeypatch):
    monkeypatch.setattr("goldgrad.board.emulators.unicorn.SLICE", 1_000_000)
    with Board(program(any_compiler()), emulator(name)) as board:
        board._seconds = 1.5  # a busy machine may take longer to start
        with pytest.raises(Hang, match=r"no end after 1\.5 s, in fault;") as caught:
            fail(board, "loop")
        one_line(caught.value)


@pytest.mark.rules("BOARD-C5")
def test_an_emulator_that_dies_half_way():
    with Board(program(any_compiler()), emulator("qemu")) as board:
        kill_in(board, "fault")
        with pytest.raises(EmulatorDied, match=r"by-hand: qemu ended with -9, in fault;") as caught:
            fail(board, "loop")
        one_line(caught.value)


@pytest.mark.rules("BOARD-C5")
def test_an_emulator_that_hangs():
    with Board(program(any_compiler()), emulator("qemu")) as board:
        board.emulator._gdb._seconds = 0.5
        os.kill(board.emulator._process.process.pid, signal.SIGSTOP)
        with pytest.raises(EmulatorDied, match="qemu stopped answering") as caught:
            board.read("fc.weight")
        one_line(caught.value)


@pytest.mark.rules("BOARD-C5")
def test_an_emulator_that_refuses_to_start(monkeypatch):
    kind = emulator("qemu")
    monkeypatch.setattr("goldgrad.board.emulators.qemu.MACHINE", "no-such-machine")
    with pytest.raises(EmulatorDied, match=r"qemu ended with 1: .*unsupported machine type") as caught:
        Board(program(any_compiler()), kind)
    one_line(caught.value)


@pytest.mark.rules("BOARD-C5")
@pytest.mark.parametrize(
    ("name", "hide", "remedy"),
    [
        ("qemu", "shutil.which", "install qemu-system-arm"),
        ("unicorn", "importlib.util.find_spec", "pip install unicorn"),
    ],
)
def test_an_emulator_that_is_missing(monkeypatch, name, hide, remedy):
    monkeypatch.setattr(f"goldgrad.board.emulators.{name}.{hide}", lambda *_: None)
    with pytest.raises(EmulatorMissing, match=remedy) as caught:
        emulators.find_emulator(name)
    one_line(caught.value)


def test_an_emulator_that_nobody_knows():
    with pytest.raises(BoardError, match="there is no emulator 'simics'; use unicorn, qemu"):
        emulators.find_emulator("simics")


def test_the_command_line_exits_with_3(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["goldgrad", "board", "measure", sys.executable, "--function", "main"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 3
    err = capsys.readouterr().err
    assert err.startswith("goldgrad: ")
    assert err.count("\n") == 1
    assert "not for Cortex-M7" in err
