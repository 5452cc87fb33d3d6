"""The timing model: each number of its table, its edges from every emulator, and what it says of whole programs."""

import functools
import json
import tomllib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import tiny_model
from board_program import any_compiler, each_compiler, folder, program, samples
from goldgrad.board.board import Board
from goldgrad.board.elf import Elf
from goldgrad.board.emulators import EDGES, backend
from goldgrad.board.emulators._edges import PREDICTOR, WatchInPython, ending_of
from goldgrad.board.emulators.unicorn import Unicorn
from goldgrad.board.errors import BoardError
from goldgrad.board.function import Argument, trace_function
from goldgrad.board.timing import microbenchmarks as micro
from goldgrad.board.timing.cost import PARTS, Model
from goldgrad.board.timing.decode import decode
from goldgrad.board.timing.edges import Block, Edge, Trace
from goldgrad.board.timing.schedule import schedule
from goldgrad.board.timing.table import FILE, UNKNOWN, load
from goldgrad.board.timing.table import PARTS as ABLATIONS
from goldgrad.board.toolchain import find_toolchain
from goldgrad.cli import app
from goldgrad.errors import GoldgradError
from goldgrad.jobs import on_board
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
        other = TABLE.without(part)
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


def watched(elf, kind, steps=3):
    with Board(elf, kind, watch=EDGES) as board:
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


@mark.rules("TIM-S8", "TIM-C1")
def test_run_shows_cycles(tmp_path):
    document, picture = tmp_path / "run.json", tmp_path / "run.png"
    command = ("run", "digits", "--board", "stm32f746", "--steps", 1, "--picture", picture, "--json", document)
    result = cli(*command, "--cycles")
    assert result.exit_code == 0, result.output
    assert "cycles of a step by the timing model" in result.output.replace("\n", " ")
    assert (tmp_path / "run-cycles.png").stat().st_size > 10_000
    assert json.loads(document.read_text())["cycles"]["memory"] == "dtcm"


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
    with pytest.raises(BoardError, match="use --emulator"):
        backend("renode")._check_watch(object.__new__(backend("renode")), EDGES)
