"""The cost of one function of somebody's ELF, and arguments for it."""

import json
import math
import sys

import numpy as np
import pytest

from board_program import BIAS_GRADIENT, CHANNELS, PIXELS, any_compiler, each_compiler, program, samples
from goldgrad import cli
from goldgrad.board.board import Board
from goldgrad.board.elf import Elf
from goldgrad.board.emulators._blocks import count_instructions
from goldgrad.board.errors import Hang, StackOverflow, Trap, WrongImage
from goldgrad.board.function import measure_function, read_arguments
from goldgrad.board.toolchain import find_toolchain
from goldgrad.errors import GoldgradError
from goldgrad.ops import FUNCTIONS

BY_HAND = """
.syntax unified
.cpu cortex-m7
.fpu fpv5-sp-d16
.thumb
.text
.global choose, dig, spin, wild, sum, _start
.type choose, %function
choose: cmp r0, #0
 itte eq
 moveq r0, #1
 addeq.w r0, r0, #300
 movne r0, #2
 bx lr
.size choose, . - choose
.type dig, %function
dig: sub sp, #4096
 str r0, [sp]
 b dig
.size dig, . - dig
.type spin, %function
spin: b spin
.size spin, . - spin
.type wild, %function
wild: mov.w r0, #0x90000000
 ldr r0, [r0]
 bx lr
.size wild, . - wild
.type sum, %function
sum: ldr r0, [sp]
 ldr r1, [sp, #4]
 adds r0, r0, r1
 push {r4, r5, lr}
 pop {r4, r5, pc}
.size sum, . - sum
.type _start, %function
_start: b _start
.size _start, . - _start
"""


def arguments(tmp_path, text):
    path = tmp_path / "arguments.toml"
    path.write_text(text)
    return read_arguments(path)


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory):
    """A few instructions whose number is known, in another memory map than the board's."""
    folder = tmp_path_factory.mktemp("by-hand")
    source, target = folder / "by_hand.S", folder / "by_hand.elf"
    source.write_text(BY_HAND)
    run = find_toolchain().run("-nostdlib", "-static", "-Wl,-e,_start", source, "-o", target)
    assert run.returncode == 0, run.stderr
    return Elf.read(target)


@pytest.mark.rules("MEAS-S1", "MEAS-S7")
@pytest.mark.parametrize(("value", "result"), [(0, 301), (5, 2)])
def test_instructions_that_an_it_block_skips_count(by_hand, tmp_path, value, result):
    given = arguments(tmp_path, f'[[argument]]\ntype = "int32"\nvalue = {value}\n')
    cost = measure_function(by_hand, "choose", given)
    assert (cost.r0, cost.instructions, cost.stack) == (result, 6, 0)


@pytest.mark.rules("MEAS-S7")
def test_arguments_on_the_stack(by_hand, tmp_path):
    given = arguments(tmp_path, "".join(f'[[argument]]\ntype = "int8"\nvalue = {-i}\n' for i in range(6)))
    cost = measure_function(by_hand, "sum", given)
    assert (cost.r0, cost.instructions, cost.stack) == ((-4 - 5) % 2**32, 5, 12)


@pytest.mark.rules("MEAS-S7")
@each_compiler
def test_a_kernel_alone_costs_what_its_region_says(compiler, tmp_path):
    elf = program(compiler)
    given = arguments(tmp_path, BIAS_GRADIENT)
    cost = measure_function(elf, "gg_bias_gradient_forward", given)
    (expected,) = FUNCTIONS["bias_gradient.forward"](given[2].array.reshape(1, PIXELS, 1, CHANNELS))
    assert cost.buffers[4] == expected.tobytes()
    assert cost.buffers[2] == given[2].array.tobytes()
    one = measure_function(elf, "gg_bias_gradient_forward", arguments(tmp_path, BIAS_GRADIENT.replace("= 6", "= 1")))
    with Board(elf, "unicorn") as board:
        board.step(samples(1)[0])
        names = [region.name for region in board.program.regions]
        in_region = board.instructions[names.index("fc.bias_gradient")]
    assert one.instructions < in_region < one.instructions + 20, "the call, the mark's and the arguments'"


@pytest.mark.rules("MEAS-S7")
def test_float_arguments(tmp_path):
    given = arguments(tmp_path, '[[argument]]\ntype = "float32"\nvalue = 1.0\n')
    assert measure_function(program(any_compiler()), "gg_exp32", given).s0 == np.float32(math.e)


@pytest.mark.rules("MEAS-S7")
def test_faults_of_a_function(by_hand):
    with pytest.raises(StackOverflow, match="dig takes more than 65,536 bytes of stack"):
        measure_function(by_hand, "dig", [])
    with pytest.raises(Hang, match="spin: no end after 1,000 instructions"):
        measure_function(by_hand, "spin", [], budget=1000)
    with pytest.raises(Trap, match=r"wild: .*in wild\+0x4, address 0x90000000"):
        measure_function(by_hand, "wild", [])
    with pytest.raises(WrongImage, match="has no function nothing; it has _start, choose"):
        measure_function(by_hand, "nothing", [])


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[", "cannot be read"),
        ("argument = 3", "is no list of tables"),
        ('[[argument]]\ntype = "int64"\nvalue = 1', "argument 0 has type 'int64'; use int8"),
        ('[[argument]]\ntype = "int8"', "argument 0 has type; write"),
        ('[[argument]]\ntype = "int8"\nvalue = 1\ncount = 2', "argument 0 has count, type, value; write"),
        ('[[argument]]\ntype = "int8"\nvalue = "x"', "argument 0 is no int8"),
        ('[[argument]]\ntype = "int8"\nvalue = 300', "argument 0 is no int8"),
        ('[[argument]]\ntype = "int8"\ncount = -1', "argument 0 is no int8"),
    ],
)
def test_arguments_that_make_no_sense(tmp_path, text, fault):
    with pytest.raises(GoldgradError, match=fault) as caught:
        arguments(tmp_path, text)
    assert "\n" not in str(caught.value)


@pytest.mark.rules("MEAS-S1")
def test_decoding():
    assert count_instructions(bytes.fromhex("7047 00bf")) == 2
    assert count_instructions(bytes.fromhex("00f001f8 7047")) == 2  # F000 F801: bl
    assert count_instructions(bytes.fromhex("ffe7")) == 1  # E7FF: b, the last short encoding
    assert count_instructions(bytes.fromhex("00e80000")) == 1  # E800: the first long one


@pytest.mark.rules("MEAS-S7")
def test_the_command_line(monkeypatch, capsys, tmp_path):
    (tmp_path / "a.toml").write_text(BIAS_GRADIENT)
    found = tmp_path / "out" / "found.json"
    elf = program(any_compiler())
    command = ["goldgrad", "board", "measure", elf.path, "--function", "gg_bias_gradient_forward"]
    monkeypatch.setattr(
        sys, "argv", [*map(str, command), "--arguments", str(tmp_path / "a.toml"), "--json", str(found)]
    )
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 0
    cost = measure_function(elf, "gg_bias_gradient_forward", arguments(tmp_path, BIAS_GRADIENT))
    out = capsys.readouterr().out
    assert out == f"gg_bias_gradient_forward: {cost.instructions} instructions, {cost.stack} bytes of stack\n"
    assert json.loads(found.read_text()) == cost.as_json()
