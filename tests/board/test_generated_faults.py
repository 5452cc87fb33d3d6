"""A generated program with a fault in one operator: whatever emulator runs it, the error names that operator."""

from __future__ import annotations

import functools
import re
import sys

import pytest

import tiny_model
from board_program import emulator, folder, kill_in
from goldgrad import cli
from goldgrad.board.board import Board
from goldgrad.board.build import build
from goldgrad.board.emulators import BACKENDS
from goldgrad.board.errors import BoardError, EmulatorDied, Hang, StackOverflow, Trap
from goldgrad.codegen import generate
from goldgrad.jobs import on_board
from goldgrad.sparse import FULL
from goldgrad.training import Session

OPERATOR, FUNCTION = "block.depthwise.y", "static void node_3(void) {"
FAULTS = {
    "trap": ('__asm__ volatile("udf #0");', Trap, "undefined instruction"),
    "flash": ("*(volatile uint8_t *)(uintptr_t)block_depthwise_m = 1;", Trap, "write to flash"),
    "map": ("*(volatile uint8_t *)0x20050000U = 1;", Trap, "access outside the memory map"),
    "stack": (
        "volatile uint32_t size = 16384; *(volatile uint8_t *)__builtin_alloca(size) = 1;",  # wherever it is inlined
        StackOverflow,
        "stack overflow",
    ),
    "loop": ("for (volatile int32_t i = 0; i == 0;) {}", Hang, "no end after 3,000,000 instructions"),
}
"""What the operator's function begins with, and what is told of it."""


@functools.cache
def source():
    session = Session(tiny_model.model(), FULL)
    return session, on_board.firmware(session, folder()).source


@functools.cache
def faulty(fault):
    """An ELF whose step commits the fault in the operator."""
    file = folder() / f"tiny-{fault}.c"
    file.write_text(with_fault(source()[1], fault))
    return build([file], file.with_suffix(".elf"), kernels=on_board.KERNELS)


def with_fault(text, fault):
    assert text.count(FUNCTION) == 1
    return text.replace(FUNCTION, f"{FUNCTION}\n    {FAULTS[fault][0]}")


def step(board):
    feeds = on_board.feeds(source()[0], tiny_model.sample(), 0.1)
    board.step({buffer.name: feeds[buffer.name] for buffer in board.program.buffers if buffer.name in feeds})


@pytest.mark.rules("BOARD-C2", "BOARD-C3", "BOARD-C4", "BOARD-S4", "PROG-S6")
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", BACKENDS)
def test_the_operator_is_named(name, fault):
    _, kind, what = FAULTS[fault]
    with Board(faulty(fault), emulator(name), budget=3_000_000) as board, pytest.raises(kind) as caught:
        step(board)
    assert caught.value.region == OPERATOR
    text = str(caught.value)
    assert text.startswith(f"tiny full on {name}: {what}")
    assert f" in {OPERATOR}" in text
    assert "\n" not in text
    assert caught.value.exit_code == 3


@pytest.mark.rules("BOARD-C5")
@pytest.mark.parametrize("name", ["qemu", "renode"])
def test_the_operator_is_named_where_an_emulator_is_killed(name):
    """Unicorn has no process of its own."""
    with Board(faulty("loop"), emulator(name)) as board:
        kill_in(board, OPERATOR)
        with pytest.raises(EmulatorDied, match=rf"tiny full: {name} ended with -9, in {OPERATOR};") as caught:
            step(board)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3


@pytest.mark.rules("BOARD-C5")
def test_the_operator_is_named_where_unicorn_gives_up(monkeypatch):
    with Board(faulty("loop"), emulator("unicorn"), budget=1_000_000) as board:
        with pytest.raises(Hang):
            step(board)
        monkeypatch.setattr(board.emulator, "_at", 0)  # where nothing can be run, and nobody expects to be
        monkeypatch.setattr(board.emulator, "_on_invalid", lambda *_: False)
        monkeypatch.setattr(board.emulator._uc, "emu_start", gives_up)
        with pytest.raises(EmulatorDied, match=rf"unicorn gave up: .*, in {OPERATOR}; run it again") as caught:
            board.step()
    assert "\n" not in str(caught.value)


def gives_up(*_):
    from unicorn import UC_ERR_RESOURCE, UcError

    raise UcError(UC_ERR_RESOURCE)


@pytest.mark.rules("BOARD-C2")
def test_the_command_line_ends_with_one_line_and_3(monkeypatch, capsys, tmp_path):
    """``goldgrad run``, whose generator made a mistake."""
    monkeypatch.setattr(on_board, "session", lambda *_: source()[0])
    monkeypatch.setattr(on_board, "generate", lambda *of: with_fault(generate(*of), "trap"))
    words = ["run", "mcunet-5fps", "--scheme", "49kb", "--board", "stm32f746", "--picture", str(tmp_path / "board.png")]
    monkeypatch.setattr(sys, "argv", ["goldgrad", *words])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == BoardError.exit_code == 3
    err = capsys.readouterr().err
    assert re.fullmatch(rf"goldgrad: tiny full on \w+: undefined instruction.* in {OPERATOR} .*\n", err)
    assert list(tmp_path.iterdir()) == []
