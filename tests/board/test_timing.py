"""The timing model: each number of its table, its edges from every emulator, and what it says of whole programs."""

import ctypes
import dataclasses
import functools
import json
import shutil
import tomllib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import tiny_model
from board_program import any_compiler, each_compiler, folder, program, samples
from goldgrad.board.board import Board
from goldgrad.board.elf import Elf
from goldgrad.board.emulators import EDGES, MEMORY, backend, can_watch, watching
from goldgrad.board.emulators._accesses import Cache, access_of
from goldgrad.board.emulators._edges import ACCESS, EVENT, FREE, NONE, PREDICTOR, MemoryState, WatchInPython, ending_of
from goldgrad.board.emulators.unicorn import Unicorn
from goldgrad.board.errors import BoardError
from goldgrad.board.function import Argument, trace_function
from goldgrad.board.program import BETWEEN
from goldgrad.board.timing import mca, validate
from goldgrad.board.timing import microbenchmarks as micro
from goldgrad.board.timing.cost import PARTS, Model
from goldgrad.board.timing.decode import decode, disassembler
from goldgrad.board.timing.edges import Accesses, Block, Edge, Trace, fetched
from goldgrad.board.timing.memory import KINDS
from goldgrad.board.timing.schedule import schedule
from goldgrad.board.timing.table import FILE, UNKNOWN, load
from goldgrad.board.timing.table import PARTS as ABLATIONS
from goldgrad.board.timing.validate import USES, Outcome, Validation, band, data, summary
from goldgrad.board.toolchain import find_toolchain, host_toolchains
from goldgrad.cli import app
from goldgrad.errors import GoldgradError
from goldgrad.jobs import on_board
from goldgrad.report.timing import band_faults, page, refits
from goldgrad.sparse import FULL
from goldgrad.training import Session

mark = pytest.mark
TABLE = load()


@functools.cache
def microbenchmarks(compiler):
    toolchain = find_toolchain(compiler)
    place = folder() / f"micro-{compiler}"
    place.mkdir()
    return micro.build(TABLE, place, toolchain)


# --- the table -----------------------------------------------------------------------------------------------------


@mark.rules("TIM-S2", "TIM-S3", "TIM-S4", "TIM-S5", "TIM-S6")
def test_each_microbenchmark_takes_what_its_rule_predicts():
    elf = microbenchmarks(any_compiler())
    found = {bench.name: micro.measured(elf, bench, TABLE) for bench in micro.microbenchmarks(TABLE)}
    assert found == {bench.name: bench.cycles for bench in micro.microbenchmarks(TABLE)}


@mark.rules("TIM-S1")
def test_every_number_of_the_table_has_a_microbenchmark_and_a_source():
    content = tomllib.loads(FILE.read_text())
    tested = {bench.rule for bench in micro.microbenchmarks(TABLE)}
    cells = {f"latency.{result}.{operand}" for result, row in TABLE.latency.items() for operand in row}
    assert cells <= tested
    rows = {f"row.{row.id}" for row in TABLE.rows} - {"row.table-branch"}
    assert rows <= tested | {"row.branch"}
    assert {"shifted", "pairs", "shadow", "store_to_load", "branch", "bank"} <= tested
    for entry in [*content["row"], *content["latency"].values()]:
        assert entry["sources"], entry
        assert "disagreement" in entry
    with pytest.raises(ValueError, match="nonsense"):
        load(_changed('result = "nonsense"'))
    with pytest.raises(ValueError, match="udiv"):
        load(_changed('mnemonics = ["udiv"]'))


def _changed(line):
    """The table with another row."""
    path = folder() / "pipeline.toml"
    row = f'[[row]]\nid = "more"\nwhat = ""\noperands = []\nsources = ["llvm"]\ndisagreement = ""\n{line}\n'
    path.write_text(FILE.read_text().replace("[shifted]", f"{row}\n[shifted]"))
    load.cache_clear()
    return path


@mark.rules("TIM-S2", "TIM-S3")
def test_a_number_that_is_changed_is_found(tmp_path):
    """The microbenchmarks see it when the scheduler and the table part."""
    elf = microbenchmarks(any_compiler())
    for part in ("dual issue", "latencies", "early ALU", "shadow of VFMA", "store to load", "mispredictions"):
        other = TABLE.without(part) if part in ABLATIONS else dataclasses.replace(TABLE, store_to_load=3)
        differ = [
            bench.name
            for bench in micro.microbenchmarks(TABLE)[:: 7 if part in ("dual issue", "latencies", "early ALU") else 1]
            if (part != "shadow of VFMA" or bench.rule == "shadow")
            and (part != "store to load" or bench.rule == "store_to_load")
            and (part != "mispredictions" or bench.rule == "branch")
            and micro.measured(elf, bench, other) != bench.cycles
        ]
        assert differ, part
    assert set(ABLATIONS) >= {"dual issue", "taken branches"}


# --- decoding ------------------------------------------------------------------------------------------------------

THUMB = {
    "7047": ("branch", "indirect"),
    "10bd": ("load-many", "indirect"),
    "fed1": ("branch", "conditional"),
    "00b1": ("branch", "compared"),
    "fff7fefe": ("branch", "direct"),
    "dfe800f0": ("table-branch", "indirect"),
    "5ff804fb": ("load", "indirect"),
    "8746": ("add", "indirect"),
    "00df": ("unknown", ""),
}


@mark.rules("TIM-S5", "TIM-S9")
@mark.parametrize("code", THUMB)
def test_how_code_is_read(code):
    (found,) = decode(bytes.fromhex(code), 0x1000, TABLE)
    assert (found.row.id, found.branch) == THUMB[code]
    ending, last, count = ending_of(bytes.fromhex(code), 0x1000)
    kind = {"conditional": 1, "compared": 1, "indirect": 2}.get(found.branch, 0)
    assert (ending, last, count) == (kind, 0x1000, 1)


@mark.rules("TIM-S5")
def test_a_branch_in_an_it_block_is_conditional():
    code = bytes.fromhex("08bf7047")  # it eq; bxeq lr
    assert ending_of(code, 0x1000) == (1, 0x1002, 2)
    assert decode(code, 0x1000, TABLE)[1].branch == "conditional"


@mark.rules("TIM-S9")
def test_what_is_no_instruction_is_unknown():
    found = decode(bytes.fromhex("00de" + "ffffffff" + "00bf"), 0, TABLE)
    assert [i.row is UNKNOWN for i in found] == [True, True, False]
    assert [i.size for i in found] == [2, 4, 2]
    assert [issue.cycle for issue in schedule(found, TABLE)] == [0, 1, 2]


# --- edges ---------------------------------------------------------------------------------------------------------


class Plain:
    """The predictor one block at a time, as TIM-S5 says it."""

    def __init__(self, code):
        self.code, self.state, self.target, self.before = code, [1] * PREDICTOR, {}, None
        self.trace = Trace()

    def block(self, region, block):
        edge = Edge(region, self.before, block)
        self.trace.count[edge] += 1
        if self.before and self.missed(self.before, block):
            self.trace.missed[edge] += 1
        self.before = block

    def missed(self, before, block):
        ending, last, _ = ending_of(self.code(*before), before.start)
        if ending == 1:
            taken, slot = block.start != before.end, last >> 1 & PREDICTOR - 1
            wrong = (self.state[slot] >= 2) != taken
            self.state[slot] = min(3, max(0, self.state[slot] + (1 if taken else -1)))
            return wrong
        wrong = ending == 2 and self.target.get(before) != block.start
        self.target[before] = block.start
        return wrong


@mark.rules("TIM-S5")
@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-2, 2)), max_size=60), st.integers(1, 20))
def test_prediction_in_numpy_is_that_of_one_block_at_a_time(path, chunk):
    """Whatever way through six blocks, two of which share a counter, and however it is cut."""
    codes = {0x1000: "fed1", 0x1400: "fed1", 0x1800: "7047", 0x1802: "00b1", 0x1C00: "00bf", 0x1C02: "fbe7"}
    blocks = [Block(start, 2) for start in codes]

    def code(start, _size):
        return bytes.fromhex(codes[start])

    plain, fast, total, region = Plain(code), WatchInPython(code), Trace(), None
    for i, (number, there) in enumerate(path):
        if there != region:
            region = there
            fast.mark(region)
        plain.block(region, blocks[number])
        fast.append(blocks[number].start << 16 | 2)
        if i % chunk == 0:
            total.update(fast.take())
    total.update(fast.take())
    assert total.count == plain.trace.count
    assert total.missed == plain.trace.missed


class InPython(Unicorn):
    def __init__(self, elf, watch=None):
        super().__init__(elf, watch, native=False)


def watched(elf, kind, steps=3, watch=EDGES):
    with Board(elf, kind, watch=watch) as board:
        board.emulator.trace()
        counts, trace = Counter(), Trace()
        for sample in samples(steps):
            board.step(sample)
            counts.update(board.instructions)
            trace.update(board.emulator.trace())
    return counts, trace


@mark.rules("TIM-S5", "MEAS-S1")
def test_edges_are_counted_alike_in_c_and_in_python(monkeypatch):
    elf = program(any_compiler())
    with Board(elf, "unicorn", watch=EDGES) as board:
        if type(board.emulator._counter).__name__ != "_InC":
            pytest.skip("no C compiler for this machine")
    counts, trace = watched(elf, "unicorn")
    assert (counts, trace) == watched(elf, InPython)
    monkeypatch.setattr("goldgrad.board.emulators.unicorn.CHUNK", 100)
    assert (counts, trace) == watched(elf, InPython)
    assert sum(trace.missed.values()) > 0


def of_steps(counts):
    """Without the firmware's own: a debugger's breakpoints cut that into other blocks."""
    return {edge: count for edge, count in counts.items() if edge.region >= BETWEEN}


SHARED = 4
"""Mispredictions that may differ: startup talks to a UART, which QEMU has not, and some of its branches may have counters
of the predictor in common with a step's."""


@mark.rules("TIM-S1", "TIM-S5")
@mark.parametrize("what", [EDGES, MEMORY])
def test_every_emulator_sees_the_same_edges(what):
    names = [name for name in watching(what) if not backend(name).missing()]
    if not set(names) - {"unicorn"}:
        pytest.skip(f"no emulator but unicorn is here that can watch {what}")
    elf = program(any_compiler())
    counts, trace = watched(elf, "unicorn")
    expected = Model(TABLE, elf.load).estimate(trace)
    for name in names:
        other, seen = watched(elf, name, watch=what)
        assert other == counts, name
        mine, theirs = Counter(of_steps(trace.missed)), Counter(of_steps(seen.missed))
        assert abs(mine.total() - theirs.total()) <= SHARED, name
        assert (seen.memory is not None) == (what == MEMORY)
        if name == "renode":  # does not end a block where a page ends
            estimate = Model(TABLE, elf.load).estimate(seen)
            assert estimate.instructions == counts
            assert estimate.total(BETWEEN).total == pytest.approx(expected.total(BETWEEN).total, rel=0.001)
        else:
            assert of_steps(seen.count) == of_steps(trace.count), name
            assert ((mine - theirs) + (theirs - mine)).total() <= SHARED, name


@mark.rules("TIM-S6", "TIM-S7", "TIM-S8")
def test_memory_adds_its_parts():
    if backend("qemu").missing():
        pytest.skip(backend("qemu").missing())
    elf = program(any_compiler())
    _, trace = watched(elf, "qemu", watch=MEMORY)
    found = {kind: Model(TABLE, elf.load, kind).estimate(trace).total(BETWEEN) for kind in KINDS}
    tight, sram, whole = (found[kind] for kind in KINDS)
    assert tight.sram == tight.flash_data == tight.flash_instruction == sram.flash_data == 0
    assert 0 < sram.sram == whole.sram < tight.issue / 10, "an arena of some hundred bytes is soon in the cache"
    assert whole.flash_data > 0
    assert whole.flash_instruction > 0
    assert tight.unaligned == 0, "no kernel loads a word from an odd place"
    assert tight.mispredict == whole.mispredict


@mark.rules("TIM-S6", "TIM-S7")
def test_what_memory_costs():
    """Two loads that pair, and what is counted of them by hand."""
    code = bytes.fromhex("086819687047")  # ldr r0, [r1]; ldr r1, [r3]; bx lr
    block = Block(0x200000, 6)
    cost = TABLE.memory
    memory = {
        (4, 0x200000): Accesses(unaligned=3, flash=2),
        (4, 0x200002): Accesses(unaligned=5, same_bank=7, sram=11, flash_itcm=13),
        (4, fetched(0x200000)): Accesses(flash_itcm=17),
    }
    trace = Trace(Counter({Edge(4, None, block): 100}), Counter(), memory)

    def read(start, size):
        return code[start - block.start :][:size]

    plain = Model(TABLE, read).estimate(Trace(trace.count)).regions[4]
    found = Model(TABLE, read, "flash-aware").estimate(trace).regions[4]
    assert found.issue - plain.issue == 7 * cost.bank
    assert found.unaligned == 3 * cost.unaligned_older + 5 * cost.unaligned_younger
    assert found.sram == 11 * cost.sram
    assert found.flash_data == 2 * cost.flash_axi + 13 * cost.flash_itcm
    assert found.flash_instruction == 17 * cost.flash_itcm
    for part, gone in {"unaligned access": "unaligned", "SRAM1": "sram", "flash": "flash_data"}.items():
        assert getattr(Model(TABLE.without(part), read, "flash-aware").estimate(trace).regions[4], gone) == 0


CACHES = """
#include "memory.h"
void gg_try(struct gg_memory *m, const uint32_t *trace, int count);
void gg_try(struct gg_memory *m, const uint32_t *trace, int count) {
    for (int i = 0; i < count; ++i, trace += 4) {
        if (trace[0] == 2) {
            gg_fetched(m, trace[1], trace[2], 5);
        } else {
            gg_accessed(m, &m->accesses[trace[3]], trace[1], trace[2], (int)trace[0]);
        }
    }
    gg_fold(m, 5);
}
"""


class PlainMemory:
    """TIM-S7 with lists: the line used last stands last."""

    def __init__(self):
        self.sets, self.seen = {}, Counter()

    def missed(self, cache, sets, ways, line, brings):
        lines = self.sets.setdefault((cache, line % sets), [])
        missed = line not in lines
        if not missed:
            lines.remove(line)
        if brings or not missed:
            lines.append(line)
            del lines[:-ways]
        return missed

    def access(self, pc, address, size, is_store):
        if not is_store and address % size:
            self.seen[pc, "unaligned"] += 1
        line = address // 32
        if address >> 20 == 0x080 or 0x20010000 <= address < 0x20050000:
            if self.missed("data", 32, 4, line, not is_store) and not is_store:
                self.seen[pc, "flash" if address >> 20 == 0x080 else "sram"] += 1
        elif address >> 20 == 0x002 and self.missed("art", 1, 64, line, True):
            self.seen[pc, "flash_itcm"] += 1

    def fetch(self, start, size):
        for line in range(start // 32, (start + size - 1) // 32 + 1):
            if start >> 20 == 0x080:
                self.seen[fetched(start), "flash"] += self.missed("code", 64, 2, line, True)
            elif start >> 20 == 0x002:
                self.seen[fetched(start), "flash_itcm"] += self.missed("art", 1, 64, line, True)


@mark.rules("TIM-S7")
@mark.parametrize("seed", range(3))
def test_caches_are_those_of_the_rule(seed):
    """memory.h, driven without an emulator, beside lists."""
    here = next((t for t in host_toolchains() if not t.missing), None)
    if here is None:
        pytest.skip("no C compiler for this machine")
    source, target = folder() / "caches.c", folder() / "caches.so"
    if not target.exists():
        source.write_text(CACHES)
        include = f"-I{FILE.parents[1] / 'emulators'}"
        run = here.run("-shared", "-fPIC", "-fno-sanitize=undefined", include, source, "-o", target)
        assert run.returncode == 0, run.stderr
    accesses, events, touched = np.zeros(8, ACCESS), np.zeros(4096, EVENT), np.zeros(8, np.uint32)
    accesses["pc"] = np.arange(8) * 2 + 0x1000
    accesses["before"] = accesses["address"] = NONE
    events["region"] = FREE
    state = MemoryState(accesses.ctypes.data, events.ctypes.data, touched.ctypes.data, 8, 4096)
    state.lines[:] = [NONE] * len(state.lines)
    draw, plain = np.random.default_rng(seed), PlainMemory()
    bases = np.uint32([0x08000000, 0x00200000, 0x20010000, 0x20000000])
    kind, place = draw.integers(0, 3, 4000), draw.integers(0, 4, 4000)
    address = bases[place] + draw.integers(0, 9000, 4000)
    size = np.where(kind == 2, draw.integers(2, 80, 4000), 1 << draw.integers(0, 3, 4000))
    which = draw.integers(0, 8, 4000)
    trace = np.ascontiguousarray(np.stack([kind, address, size, which], 1).astype(np.uint32))
    ctypes.CDLL(str(target)).gg_try(ctypes.byref(state), ctypes.c_void_p(trace.ctypes.data), 4000)
    for kind, address, size, which in trace.tolist():
        if kind == 2:
            plain.fetch(address, size)
        else:
            plain.access(0x1000 + 2 * which, address, size, kind == 1)
    found = {(row["pc"], name): row[name] for row in events[events["region"] == 5] for name in Accesses._fields}
    assert {key: count for key, count in found.items() if count} == {k: c for k, c in plain.seen.items() if c}
    assert not state.full


@mark.rules("TIM-S7")
@settings(max_examples=30)
@given(
    st.sampled_from([(32, 4), (64, 2), (1, 64)]), st.lists(st.tuples(st.integers(0, 200), st.booleans()), max_size=80)
)
def test_caches_in_python_are_those_of_the_rule(shape, uses):
    """Lines near each other, and some of one set."""
    cache, plain = Cache(*shape), PlainMemory()
    for number, brings in uses * 3:
        line = number if number < 100 else (number - 100) * shape[0]
        assert cache.missed(line, brings) == plain.missed("here", *shape, line, brings)


WALK = """.syntax unified
.thumb
.global walk, _start
.type walk, %function
.balign 32
_start:
walk: push {r4, lr}
 ldr r4, =0x12345678
1: ldr r2, [r0], #4
 cmp r2, #0
 it ne
 ldrne r3, [r0, #1020]
 subs r1, #1
 bne 1b
 ldrh r2, [r0, #1]
 mov r0, r4
 pop {r4, pc}
 .pool
.size walk, . - walk
"""


def walk(place, tmp_path):
    source, script, target = (tmp_path / f"walk{place:x}.{kind}" for kind in ("S", "ld", "elf"))
    source.write_text(WALK)
    script.write_text(f"SECTIONS {{ . = {place:#x}; .text : {{ *(.text*) }} }}\n")
    run = find_toolchain().run("-nostdlib", "-static", "-Wl,-e,_start", f"-Wl,-T,{script}", source, "-o", target)
    assert run.returncode == 0, run.stderr
    return Elf.read(target)


@mark.rules("TIM-S6", "TIM-S7", "TIM-S8")
@mark.parametrize("place", [0x08000000, 0x00200000, 0x8000])
def test_memory_of_a_call(tmp_path, place):
    """Of 64 words, of which the second half takes one more load each, 1024 bytes further on, in an IT block."""
    elf = walk(place, tmp_path)
    array = np.zeros(400, np.int32)
    array[32:64] = 1
    given = [Argument("int32", array=array), Argument("int32", value=64)]
    call = trace_function(elf, "walk", given, memory=True)
    assert call.cost.r0 == 0x12345678
    assert call.trace.count == trace_function(elf, "walk", given).trace.count
    literal, post, guarded, odd, fetches = 2, 4, 0xC, 0x14, -1
    counts = {}
    for (_, address), seen in call.trace.memory.items():
        at = fetches if address & 1 else address - place
        counts[at] = counts.get(at, Accesses()).plus(seen)
    assert counts.pop(post) == Accesses(sram=8)
    assert counts.pop(guarded) == Accesses(sram=4)
    assert counts.pop(odd) == Accesses(unaligned=1, sram=1)
    lines = -(-elf.symbols["walk"].size // 32)
    beside = counts.pop(literal)  # behind a store to its bank, which costs nothing: it is no load
    assert beside.same_bank == 1
    if beside != Accesses(same_bank=1):
        counts[literal] = beside._replace(same_bank=0)
    if place == 0x8000:
        assert not counts, "neither stack nor code are anywhere that counts"
    elif place == 0x08000000:
        assert counts == {literal: Accesses(flash=1), fetches: Accesses(flash=lines)}
    else:
        assert sum(seen.flash_itcm for seen in counts.values()) == lines, "code and literals are one in the ART"
    path, document = tmp_path / "call.toml", tmp_path / "walk.json"
    path.write_text(
        f'[[argument]]\ntype = "int32"\nvalues = {array.tolist()}\n[[argument]]\ntype = "int32"\nvalue = 64\n'
    )
    command = ("cycles", elf.path, "--function", "walk", "--arguments", path, "--explain", "--json", document)
    found = {}
    for kind in KINDS[: 3 if place != 0x8000 else 2]:
        result = cli(*command, "--memory", kind)
        assert result.exit_code == 0, result.output
        content = json.loads(document.read_text())
        found[kind] = content["cycles"]
        assert content["cycles"]["memory"] == kind
        listed = sum(row["cycles"] for row in content["listing"])
        assert listed + content["cycles"]["flash_instruction"] + content["cycles"]["mispredict"] == found[kind]["total"]
    assert found["dtcm"]["total"] == found["dtcm"]["issue"] + found["dtcm"]["mispredict"]
    assert found["sram"]["sram"] == 13 * TABLE.memory.sram
    assert found["sram"]["unaligned"] == TABLE.memory.unaligned_younger, "beside a branch that is not taken"
    assert found["sram"]["flash_data"] == 0
    if place == 0x8000:
        result = cli(*command, "--memory", "flash-aware")
        assert isinstance(result.exception, GoldgradError)
        assert "has nothing in flash, at 0x08000000 or 0x00200000" in str(result.exception)
    else:
        each = TABLE.memory.flash_axi if place == 0x08000000 else TABLE.memory.flash_itcm
        whole = found["flash-aware"]
        assert whole["flash_data"] + whole["flash_instruction"] == each * sum(
            s.flash + s.flash_itcm for s in counts.values()
        )
        assert whole["sram"] == found["sram"]["sram"]


@mark.parametrize(
    ("code", "expected"),
    [
        ("50f82210", ("r0", "r2", 2, 0, 4, 1, False)),  # ldr.w r1, [r0, r2, lsl #2]
        ("e0e80212", ("r0", "", 0, 0, 4, 2, True)),  # strd r1, r2, [r0], #8
        ("2de90f40", ("sp", "", 0, -20, 4, 5, True)),  # push {r0-r3, lr}
        ("90ed020b", ("r0", "", 0, 8, 4, 2, False)),  # vldr d0, [r0, #8]
        ("30f8025b", ("r0", "", 0, 0, 2, 1, False)),  # ldrh r5, [r0], #2
        ("0249", ("", "", 0, 0x100C, 4, 1, False)),  # ldr r1, [pc, #8]
        ("dfe800f0", None),  # tbb [pc, r0]
        ("0844", None),  # add r0, r1
    ],
)
def test_where_an_instruction_goes_in_memory(code, expected):
    (found,) = disassembler().disasm(bytes.fromhex(code), 0x1000)
    assert access_of(found) == expected


@mark.rules("TIM-S1", "MEAS-S2")
@each_compiler
def test_edges_have_every_instruction_of_every_region(compiler):
    elf = program(compiler)
    counts, trace = watched(elf, "unicorn")
    estimate = Model(TABLE, elf.load).estimate(trace)
    assert estimate.instructions == counts
    assert not estimate.unknown
    with Board(elf, "unicorn") as board:
        for sample in samples(3):
            board.step(sample)
            counts.subtract(board.instructions)
    assert not any(counts.values()), "watching changes no count"
    for region, cycles in estimate.regions.items():
        assert estimate.instructions[region] / 2 <= cycles.issue, "not more than two a cycle"


# --- a function ----------------------------------------------------------------------------------------------------

SOURCE = """
int sum(const signed char *x, const signed char *w, int n);
int sum(const signed char *x, const signed char *w, int n) {
    int a = 0;
    for (int i = 0; i < n; ++i) { a += x[i] * w[i]; if (a > 10000) { a -= 5000; } }
    return a;
}
unsigned short place[2] __attribute__((section(".data.code"))) = {0xbf00, 0x4770};
int changing(void);
int changing(void) {
    *(volatile unsigned short *)place = 0x2007; /* movs r0, #7 */
    ((void (*)(void))((char *)place + 1))();
    return 1;
}
float dot(const float *x, const float *y, int n);
float dot(const float *x, const float *y, int n) {
    float a = 0.0f;
    for (int i = 0; i < n; ++i) { a = __builtin_fmaf(x[i], y[i], a); }
    return a;
}
void _start(void);
void _start(void) {}
"""


@functools.cache
def functions():
    source, target = folder() / "functions.c", folder() / "functions.elf"
    source.write_text(SOURCE)
    names = (f"-Wl,-u,{name}" for name in ("sum", "changing", "dot"))
    run = find_toolchain().run("-nostdlib", "-static", "-Wl,-e,_start", *names, source, "-o", target)
    assert run.returncode == 0, run.stderr
    return Elf.read(target)


def operands(count=300):
    draw = np.random.default_rng(1)
    return [
        *(Argument("int8", array=draw.integers(-128, 128, count).astype(np.int8)) for _ in range(2)),
        Argument("int32", value=count),
    ]


@mark.rules("TIM-S1", "TIM-S8")
def test_cycles_of_a_function():
    call = trace_function(functions(), "sum", operands())
    found = [
        Model(TABLE, call.code).estimate(trace_function(functions(), "sum", operands(), native=native).trace)
        for native in (True, False)
    ]
    assert found[0] == found[1]
    estimate = found[0]
    assert estimate.instructions.total() == call.cost.instructions
    total = estimate.total()
    assert total.issue + total.mispredict == total.total
    assert total.mispredict > 0
    assert call.cost.instructions / 2 <= total.issue <= 3 * call.cost.instructions
    assert estimate.band == TABLE.band["integer"]
    floats = Argument("float32", array=np.ones(100, np.float32))
    dot = trace_function(functions(), "dot", [floats, floats, Argument("int32", value=100)])
    estimate = Model(TABLE, dot.code).estimate(dot.trace)
    assert TABLE.band["integer"] < estimate.band <= TABLE.band["float"]
    assert estimate.total().issue >= 100 * TABLE.latency["vfma"]["facc"], "one sum cannot be faster than its latency"


def cli(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def arguments(tmp_path, count=64):
    path = tmp_path / "call.toml"
    array = f'[[argument]]\ntype = "int8"\ncount = {count}\n'
    path.write_text(f'{array}seed = 1\n{array}seed = 2\n[[argument]]\ntype = "int32"\nvalue = {count}\n')
    return path


@mark.rules("TIM-S8", "TIM-S9")
def test_the_command_explains_every_instruction(tmp_path):
    document = tmp_path / "sum.json"
    elf = functions().path
    result = cli(
        "cycles", elf, "--function", "sum", "--arguments", arguments(tmp_path), "--explain", "--json", document
    )
    assert result.exit_code == 0, result.output
    content = json.loads(document.read_text())
    cycles = content["cycles"]
    assert cycles["total"] == sum(cycles[part] for part in PARTS)
    assert cycles["model"] == TABLE.name
    assert 0 < cycles["band_percent"] < 50
    assert cycles["unknown_instructions"] == cycles["changed_code"] == 0
    assert sum(row["count"] for row in content["listing"]) == content["instructions"]
    assert sum(row["cycles"] for row in content["listing"]) == cycles["issue"]
    assert {row["slot"] for row in content["listing"]} <= {"older", "younger", "alone"}
    assert any("[" in row["text"] for row in content["listing"])
    text = result.output.replace("\n", " ")
    for row in content["listing"]:
        assert f"{row['address']:x}" in text
    assert "mac to late" in text, "an addition waits for a product somewhere"
    assert "cycles ±" in text


@mark.rules("TIM-S9")
def test_code_that_changes_itself_is_counted(tmp_path):
    document = tmp_path / "changing.json"
    result = cli("cycles", functions().path, "--function", "changing", "--json", document)
    assert result.exit_code == 0, result.output
    assert "2 instructions ran in code that is not as in the ELF" in result.output
    assert json.loads(document.read_text())["cycles"]["changed_code"] == 2


@mark.rules("TIM-S9")
def test_instructions_without_a_row_are_counted():
    code = {0: "00bf00df", 4: "00df7047"}

    def read(start, size):
        return bytes.fromhex(code[start])[:size]

    trace = Trace.of([(Edge(0, None, Block(0, 4)), 5, 0), (Edge(0, Block(0, 4), Block(4, 4)), 3, 0)])
    estimate = Model(TABLE, read).estimate(trace)
    assert estimate.unknown == {"svc #0": 8}
    assert estimate.as_json(estimate.total())["unknown_instructions"] == 8


# --- a training step -----------------------------------------------------------------------------------------------


@mark.rules("TIM-S8")
def test_run_gives_cycles_by_operator(tmp_path):
    session = Session(tiny_model.model(), FULL)
    made = on_board.firmware(session, tmp_path)
    run = on_board.train(session, made, [tiny_model.sample(seed) for seed in range(2)], 0.1, "unicorn", memory="dtcm")
    document = on_board.document(session, made, [run])
    cycles = document["cycles"]
    assert cycles["total"] == sum(cycles[part] for part in PARTS)
    assert abs(cycles["total"] - sum(region["total"] for region in cycles["regions"])) < 200, "between is little"
    for region, counted in zip(cycles["regions"], document["regions"], strict=True):
        assert region["name"] == counted["name"]
        assert counted["instructions"] / 2 <= region["issue"] <= 4 * counted["instructions"]
    assert "cycles" not in on_board.document(session, made, [on_board.BoardRun(**{**vars(run), "estimate": None})])


@mark.rules("TIM-C1")
def test_memory_that_cannot_be_had():
    command = ("run", "digits", "--board", "stm32f746", "--steps", 1)
    for more, text in {
        ("--cycles", "--memory", "core"): "there is no memory 'core' for the timing model; use dtcm, sram, flash-aware",
        ("--memory", "sram"): "--memory sram says nothing without --cycles",
        ("--cycles", "--memory", "sram", "--emulator", "unicorn"): "unicorn cannot count memory",
    }.items():
        result = cli(*command, *more)
        assert isinstance(result.exception, GoldgradError), result.output
        assert text in str(result.exception)
    assert isinstance(cli("run", "digits", "--cycles").exception, GoldgradError)
    with pytest.raises(BoardError, match="renode cannot count memory for the timing model; use --emulator qemu"):
        can_watch(backend("renode"), MEMORY)


# --- against hardware ----------------------------------------------------------------------------------------------

LOOP = """.syntax unified
.thumb
.global delay, _start
.type delay, %function
.balign 8
_start:
delay:
1: subs r0, #1
 bne 1b
 bx lr
.size delay, . - delay
"""


@mark.rules("TIM-S8")
def test_validation_takes_what_is_there_and_says_what_is_not(tmp_path):
    source = tmp_path / "small.S"
    source.write_text(LOOP)
    run = find_toolchain().run("-nostdlib", "-static", "-Wl,-e,_start", source, "-o", tmp_path / "small.elf")
    assert run.returncode == 0, run.stderr
    outcomes = {outcome.point.name: outcome for outcome in Validation(tmp_path).outcomes(TABLE)}
    loop = outcomes.pop("subs and bne, an iteration")
    assert (loop.predicted, loop.error, loop.instructions) == (1.0, 0.0, 2.0)
    skipped = {outcome.skipped for outcome in outcomes.values()}
    assert all(skipped), "no prediction without its ELF"
    assert "coremark-O2-2.elf and coremark-O2-4.elf not there" in skipped
    assert any("has no function damp" in text for text in skipped)
    assert summary(list(outcomes.values())) is None
    text = page(TABLE, [loop, *outcomes.values()], {}, "", [], [])
    assert "| subs and bne, an iteration | 1 | 1.0 | +0.0 % | 2.0 | assembly | held out |" in text
    assert text.count("skipped: ") == len(outcomes)
    result = cli("timing", "validate", tmp_path / "absent")
    assert isinstance(result.exception, GoldgradError)
    with pytest.raises(GoldgradError, match="is no folder"):
        Validation(tmp_path / "absent")


@mark.rules("TIM-S8")
def test_the_page_has_every_point_and_the_band():
    """It is made by a command with code that is not here: what it says of the data must be what the data say."""
    text = (specs() / "docs" / "timing-validation.md").read_text()
    known = data()
    assert len(known.points) >= 12
    assert len(known.sources) >= 4
    for point in known.points:
        assert point.source in known.sources
        assert point.use in USES
        line = next(line for line in text.splitlines() if line.startswith(f"| {point.name} | "))
        cells = [cell.strip() for cell in line.split("|")]
        assert cells[2] == f"{point.cycles:,g}"
        assert cells[7] == point.use, "a point was skipped when the page was made"
    assert f"for the model {TABLE.name}." in text
    assert f"± {TABLE.band['integer']:g} % for integer code" in text
    predicted = []
    for point in known.points:
        line = next(line for line in text.splitlines() if line.startswith(f"| {point.name} | "))
        predicted.append(Outcome(point, float(line.split("|")[3].replace(",", ""))))
    assert {kind: band(predicted, kind) for kind in TABLE.band} == TABLE.band


SWINGS = """.syntax unified
.thumb
.global swings, _start
.type swings, %function
.balign 8
_start:
swings: movs r1, #0
1: eor r1, r1, #1
 ldrd r2, r3, [sp, #-8]
 cmp r1, #0
 bne 2f
 nop
2: subs r0, #1
 bne 1b
 bx lr
.size swings, . - swings
"""


FILTER = """.balign 8
.global {0}
.type {0}, %function
{0}: mov r7, r1
 mov r2, r0
 mov r3, r0
.balign 8
1: {1}
 bne 1b
 bx lr
.size {0}, . - {0}
"""
ORDERS = {
    "good": "vldr s15, [r3, #516]; vldr s13, [r3, #4]; subs r7, #1; vstr s15, [r3, #512];"
    "vfma.f32 s14, s13, s15; add.w r3, r3, #4",
    "bad": "subs r7, #1; vldr s15, [r3, #516]; add.w r3, r3, #4; vstr s15, [r3, #508]; add.w r2, r2, #4;"
    "vldr s13, [r2]; vfma.f32 s14, s13, s15",
}


@mark.rules("TIM-S3")
def test_the_order_of_a_filter_decides_what_a_tap_takes(tmp_path):
    """A load of the FPU that falls into the younger slot waits for the shadow of VFMA to end."""
    code = "".join(FILTER.format(*order) for order in ORDERS.items())
    (tmp_path / "filters.S").write_text(f".syntax unified\n.thumb\n.global _start\n_start:\n{code}")
    flags = ("-nostdlib", "-static", "-Wl,-e,_start", "-mfpu=fpv5-sp-d16", "-mfloat-abi=hard")
    run = find_toolchain().run(*flags, tmp_path / "filters.S", "-o", tmp_path / "filters.elf")
    assert run.returncode == 0, run.stderr
    elf, found = Elf.read(tmp_path / "filters.elf"), {}
    for name in ORDERS:
        totals = []
        for taps in (10, 20):
            arguments = [Argument("float32", array=np.zeros(200, np.float32)), Argument("int32", value=taps)]
            call = trace_function(elf, name, arguments)
            totals.append(Model(TABLE, call.code).estimate(call.trace).total().total)
        found[name] = (totals[1] - totals[0]) / 10
    assert found == {"good": 4.0, "bad": 9.0}


@mark.rules("TIM-S10")
def test_a_fitted_number_is_what_its_declared_points_give(tmp_path, monkeypatch):
    """Of a loop whose inner branch is always predicted wrongly, and counts that other penalties would have made."""
    (tmp_path / "swings.S").write_text(SWINGS)
    run = find_toolchain().run(
        "-nostdlib", "-static", "-Wl,-e,_start", tmp_path / "swings.S", "-o", tmp_path / "swings.elf"
    )
    assert run.returncode == 0, run.stderr
    known = data()
    (fit,) = (fit for fit in known.fits if fit.name == "mispredict")
    point = validate.Point(
        *("here", "decides", "integer", "assembly", 1, ("swings.elf",) * 2, "swings", ([10], [30]), 20),
        decides=True,
    )
    (now,) = Validation(tmp_path).outcomes(TABLE, [point])
    with_6, with_8 = (now.predicted + cycles - TABLE.branch.mispredict for cycles in (6, 8))
    points = [dataclasses.replace(point, cycles=with_6), dataclasses.replace(point, name="other", cycles=with_8)]
    fit = dataclasses.replace(fit, points=("decides",))
    monkeypatch.setattr("goldgrad.report.timing.data", lambda: dataclasses.replace(known, points=points, fits=(fit,)))
    (refit,) = refits(Validation(tmp_path), TABLE)
    assert validate.best(refit.errors) == 6
    assert refit.errors[6] == pytest.approx(0)
    assert refit.others == {"other": 8}
    assert refit.fault == "pipeline.toml has 7 for mispredict, and its points give 6: set that"
    assert not refits(Validation(tmp_path), fit.changed(TABLE, 6))[0].fault
    assert refits(Validation(folder()), TABLE)[0].said.startswith("mispredict: not fitted, the ELF of decides")
    changed = fit.changed(TABLE, 6).branch
    assert (changed.mispredict, changed.mispredict_early_flags, changed.indirect) == (6, 5, 6)
    assert fit.changed(TABLE, fit.now(TABLE)) == TABLE, "what follows from it is in the table as well"


@mark.rules("TIM-S10")
def test_what_decided_is_not_held_out():
    known = data()
    decided = {name for fit in known.fits for name in fit.points}
    decided |= {name for entry in known.decided.values() for name in entry["points"]}
    assert {point.name for point in known.points if point.use == "fitted"} == decided
    text = (specs() / "docs" / "timing-validation.md").read_text()
    for fit in known.fits:
        assert f"{fit.name}: {fit.now(TABLE):g}, by {' and '.join(fit.points)}, with a mean error of" in text
    for entry in known.decided.values():
        assert entry["what"] in text


@mark.rules("TIM-S8")
def test_a_band_that_is_not_that_of_the_points_is_a_fault():
    assert band_faults(TABLE, TABLE.band) == []
    (fault,) = band_faults(TABLE, {**TABLE.band, "integer": 1})
    assert "for integer, and the points give 1 %: set that" in fault


def test_llvm_mca_is_compared_where_it_is():
    if not shutil.which(mca.COMMAND):
        pytest.skip("llvm-mca is not on PATH")
    benches = [bench for bench in micro.microbenchmarks(TABLE) if bench.rule == "latency.mac.late"]
    (bench,) = benches
    assert mca._simulated(bench) == pytest.approx(bench.cycles, abs=0.3)


def specs():
    return Path(__file__).parents[2]
