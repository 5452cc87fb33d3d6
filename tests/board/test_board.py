"""One ELF gives the reference's bits on every emulator, and the same counts on all of them."""

import subprocess
import zlib
from collections import Counter

import numpy as np
import pytest

from board_program import (
    CLASSES,
    FC_B,
    FC_W,
    Reference,
    any_compiler,
    each_compiler,
    each_emulator,
    emulator,
    program,
    samples,
)
from goldgrad.board.board import Board
from goldgrad.board.emulators import BACKENDS, present
from goldgrad.board.emulators.unicorn import Unicorn
from goldgrad.board.measure import measure
from goldgrad.board.program import BETWEEN, FIRMWARE

STEPS = 8


class CountsInPython(Unicorn):
    def __init__(self, elf):
        super().__init__(elf, native=False)


def observe(elf, kind, steps=STEPS):
    """All that emulators must agree on: instructions by region, memory and stack after some steps."""
    counts = Counter()
    with Board(elf, kind) as board:
        for sample in samples(steps):
            board.step(sample)
            counts.update(board.instructions)
        return counts, board.memory(), board.stack_high_water()


@pytest.mark.rules("BOARD-S1", "BOARD-S2", "BOARD-S3")
@each_emulator
@each_compiler
def test_the_board_gives_the_references_bits(compiler, name):
    reference = Reference()
    with Board(program(compiler), emulator(name)) as board:
        for sample in samples(STEPS):
            board.step(sample)
            for buffer, value in reference.step(sample).items():
                assert board.read(buffer) == value.tobytes(), buffer
        assert board.steps == STEPS
        assert np.any(reference.w != FC_W), "the weights must have trained"
        assert np.any(reference.b != FC_B), "the biases must have trained"
        board.restart()
        assert board.steps == 0
        assert board.read("fc.weight") == FC_W.tobytes()


@pytest.mark.rules("MEAS-S1", "MEAS-S2", "BOARD-M2")
@each_compiler
def test_emulators_agree_on_instructions_and_memory(compiler):
    here = present()
    absent = sorted(set(BACKENDS) - set(here))
    if len(here) < 2:
        pytest.skip(f"only {', '.join(here)} is here, not {', '.join(absent)}")
    elf = program(compiler)
    first, *others = (observe(elf, name) for name in here)
    for other, name in zip(others, here[1:], strict=True):
        assert other == first, f"{name} differs from {here[0]}"
    print(f"{', '.join(here)} agree; absent: {', '.join(absent) or 'none'}")


@pytest.mark.rules("MEAS-S1")
def test_unicorn_counts_alike_in_c_and_in_python():
    elf = program(any_compiler())
    with Board(elf, "unicorn") as board:
        if type(board.emulator._counter).__name__ != "_InC":
            pytest.skip("no C compiler for this machine")
    assert observe(elf, CountsInPython) == observe(elf, "unicorn")


@pytest.mark.rules("MEAS-S1")
def test_looking_at_the_clock_changes_no_count(monkeypatch):
    elf = program(any_compiler())
    expected = observe(elf, "unicorn")
    monkeypatch.setattr("goldgrad.board.emulators.unicorn.SLICE", 997)
    assert observe(elf, "unicorn") == expected
    assert observe(elf, CountsInPython) == expected


@pytest.mark.rules("MEAS-S2", "MEAS-S3")
@each_emulator
def test_every_instruction_of_a_step_belongs_to_a_region(name):
    with Board(program(any_compiler()), emulator(name)) as board:
        (sample,) = samples(1)
        one = measure(board, 1, lambda _: [board.write(k, v) for k, v in sample.items()])
        assert one.instructions == sum(region.instructions for region in one.regions) + one.between
        assert one.instructions == board.instructions.total() - board.instructions[FIRMWARE]
        assert min(region.instructions for region in one.regions) > 0
        assert 0 < board.instructions[BETWEEN] < 40
        macs = 16 * CLASSES * 5
        assert one.regions[1].instructions > macs, "the fully connected layer cannot take less than one a MAC"
        board.restart()
        for key, value in sample.items():
            board.write(key, value)
        board.step(count=3)
        assert board.instructions[0] == 3 * one.regions[0].instructions, "the convolution's weights are frozen"


@pytest.mark.rules("MEAS-S4", "MEAS-S5", "MEAS-S6")
@each_emulator
@each_compiler
def test_memory_is_measured(compiler, name):
    elf = program(compiler)
    with Board(elf, emulator(name)) as board:
        (sample,) = samples(1)
        m = measure(board, 1, lambda _: [board.write(k, v) for k, v in sample.items()])
        assert 64 < m.sram.stack < 1024
        assert board.report() == pytest.approx(m.sram.stack, abs=256), "the board measures itself, its UART included"
    assert m.sram.arena == board.program.arena_bytes
    assert m.sram.scratch == board.program.scratch_bytes
    assert m.sram.total == sum((m.sram.arena, m.sram.scratch, m.sram.stack, m.sram.data, m.sram.bss))
    assert m.flash.total == len(elf.flash()), "no byte between sections"
    assert m.as_json()["sram"]["total"] == m.sram.total


@pytest.mark.rules("MEAS-S4")
def test_high_water_sees_a_deep_call():
    with Board(program(any_compiler()), "unicorn") as board:
        before = board.stack_high_water()
        top = board.elf.symbol("gg_stack_top").address
        board.emulator.write(top - 3000, b"\x01")
        assert before < 1024
        assert board.stack_high_water() == 3000


@pytest.mark.rules("BOARD-S2")
@each_emulator
def test_checksums(name):
    with Board(program(any_compiler()), emulator(name)) as board:
        board.step(samples(1)[0])
        weight, bias = board.read("fc.weight"), board.read("fc.bias")
        assert board.checksum("fc.weight") == zlib.crc32(weight)
        assert board.checksum() == zlib.crc32(weight + bias)


@pytest.mark.rules("BOARD-S5")
def test_uart_text():
    with Board(program(any_compiler()), "unicorn") as board:
        assert board.emulator.text == "goldgrad: by-hand\r\n"
        board.step(samples(1)[0])
        board.report()
        assert board.emulator.text.splitlines()[1].startswith("by-hand steps=00000001 stack=0000")
        assert board.emulator.text.endswith(f" parameters={board.checksum():08x}\r\n")


@pytest.mark.rules("BOARD-S1")
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_the_program_compiles_for_the_host(compiler, tmp_path):
    from board_program import SOURCE, folder
    from goldgrad import paths
    from goldgrad.board.toolchain import STRICT, host_toolchains

    toolchain = next(t for t in host_toolchains() if t.name == compiler)
    if toolchain.missing:
        pytest.skip(toolchain.missing)
    include = paths.data("renode") / "firmware"
    run = toolchain.run(
        *STRICT, "-DMORE_ARENA=0", f"-I{folder()}", f"-I{include}", "-c", SOURCE, "-o", tmp_path / "program.o"
    )
    assert isinstance(run, subprocess.CompletedProcess)
    assert (run.returncode, run.stderr) == (0, "") or "udf" in run.stderr
