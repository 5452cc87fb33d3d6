"""Code in ITCM: what is chosen, that it runs from there, and that nothing else changes (BOARD-M4)."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from board_program import any_compiler, each_compiler, each_emulator, emulator, program, samples
from goldgrad.board.board import Board
from goldgrad.board.emulators import MEMORY
from goldgrad.board.itcm import FILE, chosen, fetch_cycles
from goldgrad.board.kernels import kernels_elf
from goldgrad.board.measure import flash_of
from goldgrad.board.memory_map import CODE_IN_ITCM, FLASH, ITCM
from goldgrad.board.toolchain import find_toolchain
from goldgrad.jobs import on_board
from goldgrad.jobs.code_in_itcm import Program, by_function, mean, table
from goldgrad.jobs.code_in_itcm import fetch_cycles as measured
from goldgrad.kernels import SETS

NAMES = st.sampled_from("abcdefgh")


@pytest.mark.rules("BOARD-M4")
@given(st.dictionaries(NAMES, st.tuples(st.integers(1, 99), st.integers(1, 60))), st.integers(0, 120), st.randoms())
def test_what_gains_most_a_byte_comes_first(functions, size, order):
    cycles = {name: c for name, (c, _) in functions.items()}
    room = {name: b for name, (_, b) in functions.items()}
    found = chosen(cycles, room, size)
    assert sum(room[name] for name in found) <= size
    rank = {name: (-cycles[name] / room[name], name) for name in cycles}
    assert found == sorted(found, key=rank.__getitem__)
    for name in set(cycles) - set(found):
        before = sum(room[each] for each in found if rank[each] < rank[name])
        assert before + room[name] > size, "there was room for it when its turn came"
    names = list(cycles)
    order.shuffle(names)
    assert chosen({name: cycles[name] for name in names}, room, size) == found


def step(board, session, sample):
    known = {buffer.name for buffer in board.program.buffers}
    feeds = on_board.feeds(session, sample, on_board.RATE)
    board.step({name: value for name, value in feeds.items() if name in known})


def in_itcm(elf):
    return {s.name for s in elf.symbols.values() if s.is_function and s.address in CODE_IN_ITCM}


@pytest.mark.rules("BOARD-M4", "MEAS-S6")
@each_compiler
def test_code_lies_in_itcm_and_its_image_in_flash(compiler):
    elf = program(compiler)
    table, there = fetch_cycles("portable"), in_itcm(elf)
    linked = {s.name for s in elf.symbols.values() if s.is_function}
    assert there == linked & set(table), "all that this small program has of the table"
    assert {"gg_conv2d_forward", "memcpy"} & there
    assert not {"gg_start", "gg_reset", "gg_mpu_on", "gg_mark", "gg_program_step"} & there
    image = elf.symbol("gg_itcm_load").address - FLASH.start
    size = flash_of(elf).itcm
    assert 0 < size <= CODE_IN_ITCM.size
    start = elf.symbol("gg_itcm_start").address
    assert (start, elf.symbol("gg_itcm_end").address) == (CODE_IN_ITCM.start, CODE_IN_ITCM.start + size)
    assert elf.flash()[image : image + size] == elf.load(start, size)
    assert not [name for name in elf.symbols if "veneer" in name.lower() or "thunk" in name.lower()]


@pytest.mark.rules("BOARD-M2", "BOARD-M4")
@each_emulator
def test_startup_copies_it(name):
    elf = program(any_compiler())
    start, size = elf.symbol("gg_itcm_start").address, flash_of(elf).itcm
    with Board(elf, emulator(name)) as board:
        assert board.emulator.read(start, size) == elf.load(start, size)
        board.step(samples(1)[0])
        assert board.emulator.read(start, size) == elf.load(start, size)


@pytest.fixture(scope="module", params=SETS)
def both(request):
    """The digits' step with code in ITCM, and without."""
    session = on_board.session("digits", "sparse")
    return [on_board.firmware(session, kernels=request.param, itcm=itcm).elf for itcm in (True, False)]


@pytest.mark.rules("BOARD-M4", "MEAS-S3")
def test_it_runs_from_there_and_does_the_same(both):
    found = []
    for elf in both:
        session = on_board.session("digits", "sparse")
        (sample,) = on_board.samples("digits", session, 1)
        with Board(elf, "unicorn", watch="edges") as board:
            board.emulator.trace()
            step(board, session, sample)
            ran = sum(n for edge, n in board.emulator.trace().count.items() if edge.block.start in ITCM)
            found.append((board.instructions, board.memory()["arena"], board.stack_high_water(), ran > 1000))
    assert found[0][:3] == found[1][:3]
    assert [runs for *_, runs in found] == [True, False]
    assert not in_itcm(both[1])
    assert flash_of(both[1]).itcm == 0
    assert abs(flash_of(both[0]).total - flash_of(both[1]).total) < 256, "alignment alone"


@pytest.mark.rules("BOARD-M4", "TIM-S7")
def test_fetching_it_costs_nothing(both):
    session = on_board.session("digits", "sparse")
    (sample,) = on_board.samples("digits", session, 1)
    costs = []
    for elf in both:
        with Board(elf, emulator("qemu"), watch=MEMORY) as board:
            board.emulator.trace()
            step(board, session, sample)
            costs.append(by_function(elf, board.emulator.trace()))
    there = in_itcm(both[0])
    assert not set(costs[0]) & there
    assert there & set(costs[1])
    assert costs[0].total() < costs[1].total() / 2


@pytest.mark.rules("BOARD-M4")
def test_the_table_names_kernels():
    for kernels in SETS:
        known = set(kernels_elf(kernels, find_toolchain(any_compiler())).symbols)
        cycles = fetch_cycles(kernels)
        assert list(cycles.values()) == sorted(cycles.values(), reverse=True)
        assert len(set(cycles) - known) <= len(cycles) / 5, "kernels have changed: make itcm measures them again"


@pytest.mark.rules("BOARD-M4")
def test_the_table_is_written_as_it_is_read():
    text = FILE.read_text(encoding="utf-8")
    assert table(tomllib.loads(text)["cycles"]) == text


@pytest.mark.rules("BOARD-M4")
def test_what_the_table_is_made_of():
    emulator("qemu")
    compiler = find_toolchain(any_compiler())
    costs = measured(Program("digits", "sparse", "m7", compiler))
    assert costs["gg_m7_dot"] > 0
    assert set(costs) <= set(kernels_elf("m7", compiler).symbols)
    half = mean([costs, type(costs)()])
    assert half["gg_m7_dot"] == round(costs["gg_m7_dot"] / 2)
