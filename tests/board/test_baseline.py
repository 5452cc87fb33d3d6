"""Costs kept in a file and compared with those of today: goldgrad's own, a function's, and made-up ones."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from board_program import BIAS_GRADIENT, any_compiler, each_compiler, program, samples
from goldgrad import paths
from goldgrad.board.board import Board
from goldgrad.board.emulators import backend
from goldgrad.board.errors import BoardError
from goldgrad.board.function import measure_function, read_arguments
from goldgrad.board.stack import StackWatch
from goldgrad.board.toolchain import find_toolchain, toolchains
from goldgrad.cli import app
from goldgrad.errors import GoldgradError
from goldgrad.jobs import baseline
from goldgrad.jobs.baseline import Baseline, Budgets, FunctionCase, Measured, ProgramCase

mark = pytest.mark
ROOT = paths.data("renode").parent
OWN, EXAMPLE = ROOT / "baselines" / "stm32f746.json", ROOT / "examples" / "fir"


def cli(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


# --- the stack of each operator ------------------------------------------------------------------------------------


@mark.rules("MEAS-S9")
@each_compiler
def test_watching_changes_nothing_and_sees_the_high_water(compiler):
    elf = program(compiler)
    with Board(elf, "unicorn") as board:
        watch = StackWatch(board)
        board.step(samples(1)[0])
        instructions, high_water, taken = board.instructions, watch.high_water(), watch.by_region()
    with Board(elf, "unicorn") as board:
        board.step(samples(1)[0])
        assert high_water == board.stack_high_water()
        assert instructions == board.instructions
    assert set(taken) == set(instructions)
    assert 0 < max(taken.values()) < high_water
    assert len(set(taken.values())) > 2, "operators differ"


@mark.rules("MEAS-S9", "MEAS-S7")
@each_compiler
def test_an_operator_takes_what_its_kernel_takes_alone(compiler, tmp_path):
    elf = program(compiler)
    file = tmp_path / "arguments.toml"
    file.write_text(BIAS_GRADIENT)
    alone = measure_function(elf, "gg_bias_gradient_forward", read_arguments(file))
    with Board(elf, "unicorn") as board:
        watch = StackWatch(board)
        board.step(samples(1)[0])
        names = [region.name for region in board.program.regions]
        assert watch.by_region()[names.index("fc.bias_gradient")] == alone.stack > 0


@mark.rules("MEAS-S9")
def test_other_emulators_do_not_show_it():
    if backend("qemu").missing():
        pytest.skip(backend("qemu").missing())
    with Board(program(any_compiler()), "qemu") as board, pytest.raises(BoardError, match="use unicorn"):
        StackWatch(board)


# --- goldgrad's own ------------------------------------------------------------------------------------------------


@mark.rules("MEAS-S10")
def test_goldgrads_own_kernels_cost_no_more_than_in_the_baseline():
    """``make baseline`` writes it anew, where a change is meant or an improvement is to be kept."""
    old = baseline.read(OWN)
    toolchain = next(toolchain for toolchain in toolchains() if toolchain.name == old.toolchain)
    if toolchain.missing:
        pytest.skip(toolchain.missing)
    if {m.compiler for m in old.measured} != {toolchain.version}:
        pytest.skip(f"the baseline is by {old.measured[0].compiler}, here is {toolchain.version}")
    new = baseline.measure([m.case for m in old.measured], old.toolchain, OWN.parent)
    found = baseline.compare(old, new, Budgets())
    rows = [(c.case.title, row) for c in found for row in c.regressions]
    assert not rows, f"see goldgrad board compare {OWN.relative_to(ROOT)}"
    for comparison, measured in zip(found, new.measured, strict=True):
        assert comparison.notes == ()
        total = dict(measured.costs["instructions"])
        assert total.pop("total") == sum(total.values()), "each instruction is an operator's or between them"
        stack = dict(measured.costs["stack"])
        assert stack.pop("total") > max(stack.values()) > 0, "the step and the firmware have frames of their own"
        sram = dict(measured.costs["sram"])
        assert sram["stack"] == measured.costs["stack"]["total"]
        assert sram.pop("total") == sum(sram.values())
        flash = measured.costs["flash"]
        assert flash["text"] + flash["itcm"] > sum(measured.costs["code"].values()) > 10_000


# --- made-up costs -------------------------------------------------------------------------------------------------


def measured(costs, compiler="gcc 12", flags=("-O2",), case=None):
    return Baseline("gcc", (Measured(case or ProgramCase("digits", "sparse"), compiler, flags, costs),))


def rows(old, new, budgets=Budgets()):  # noqa: B008  (frozen)
    (comparison,) = baseline.compare(measured(old), measured(new), budgets)
    return {(row.kind, row.item): row for row in comparison.rows}


@mark.rules("MEAS-S10")
@mark.parametrize(
    ("kind", "item", "old", "new", "over"),
    [
        ("instructions", "total", 100_000, 100_100, False),  # 0.1 %, exactly
        ("instructions", "total", 100_000, 100_101, True),
        ("instructions", "add", 100_000, 100_101, True),
        ("instructions", "add", 10, 9, False),
        ("instructions", "total", 0, 1, True),
        ("stack", "total", 400, 401, True),
        ("stack", "add", 400, 500, False),
        ("sram", "total", 90_000, 90_001, True),
        ("sram", "arena", 90_000, 99_000, False),
        ("flash", "total", 5, 6, True),
        ("flash", "text", 5, 6, False),
        ("code", "gg_add", 5, 60, False),
    ],
)
def test_what_is_over_the_default_budget(kind, item, old, new, over):
    row = rows({kind: {item: old}}, {kind: {item: new}})[kind, item]
    assert (row.over, row.change) == (over, new - old)


@mark.rules("MEAS-S10")
def test_other_budgets():
    budgets = Budgets(instructions=5, stack=8, sram=100, flash=0)
    old = {"instructions": {"total": 100}, "stack": {"total": 100}, "sram": {"total": 100}, "flash": {"total": 100}}
    within = {"instructions": {"total": 105}, "stack": {"total": 108}, "sram": {"total": 200}, "flash": {"total": 100}}
    assert not any(row.over for row in rows(old, within, budgets).values())
    above = {kind: {"total": table["total"] + 1} for kind, table in within.items()}
    assert all(row.over for row in rows(old, above, budgets).values())


@mark.rules("MEAS-S10")
def test_operators_that_come_and_go_are_shown_and_the_total_decides():
    old = {"instructions": {"total": 30, "add.forward": 20, "between": 10}}
    new = {"instructions": {"total": 30, "between": 10, "sum.forward": 20}}
    found = rows(old, new)
    assert (found["instructions", "sum.forward"].old, found["instructions", "add.forward"].new) == (None, None)
    assert not any(row.over for row in found.values())
    assert next(iter(found)) == ("instructions", "total")


@mark.rules("MEAS-S10")
def test_another_compiler_and_other_flags_are_said():
    costs = {"instructions": {"total": 1}}
    old, new = measured(costs), measured(costs, "gcc 13", ("-O3",))
    (found,) = baseline.compare(old, new, Budgets())
    assert len(found.notes) == 2
    assert found.notes[0].startswith("another compiler: the baseline was made by gcc 12, these numbers by gcc 13;")
    assert found.notes[1] == "other flags: the baseline had -O2, now -O3"


@mark.rules("MEAS-S10")
def test_a_file_gives_back_what_was_written(tmp_path):
    function = Measured(FunctionCase("a.elf", "f", "f.toml"), "gcc", (), {"stack": {"total": 8}})
    bare = Measured(FunctionCase("a.elf", "g"), "gcc", (), {"stack": {"total": 0}})
    both = Baseline("zig", (*measured({"flash": {"total": 3, "text": 3}}).measured, function, bare))
    file = tmp_path / "costs.json"
    file.write_text(json.dumps(both.document()))
    assert baseline.read(file) == both


GOOD = {
    "model": "digits",
    "scheme": "sparse",
    "kernels": "m7",
    "compiler": "gcc",
    "flags": [],
    "costs": {"stack": {"total": 1}},
}


def file_with(**change):
    entry = {key: value for key, value in {**GOOD, **change}.items() if value is not None}
    return json.dumps({"format": baseline.FORMAT, "toolchain": "gcc", "programs": [entry]})


@mark.rules("MEAS-S10")
@mark.parametrize(
    ("text", "fault"),
    [
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[]", "is no 'goldgrad baseline 1'"),
        ('{"format": "goldgrad baseline 2"}', "is no 'goldgrad baseline 1'"),
        (json.dumps({"format": baseline.FORMAT, "toolchain": "icc"}), "has toolchain 'icc'; use gcc or zig"),
        (json.dumps({"format": baseline.FORMAT, "programs": [GOOD]}), "has toolchain None; use gcc or zig"),
        (json.dumps({"format": baseline.FORMAT, "toolchain": "gcc"}), "has no program and no function"),
        (json.dumps({"format": baseline.FORMAT, "toolchain": "gcc", "programs": 3}), "programs is no list"),
        (json.dumps({"format": baseline.FORMAT, "toolchain": "gcc", "programs": [3]}), "programs, entry 0 is 3"),
        (file_with(model=None), "entry 0 lacks model, scheme, kernels as text"),
        (file_with(compiler=None), "lacks its compiler"),
        (file_with(flags="-O2"), "lacks its compiler"),
        (file_with(costs=None), "costs that are no numbers"),
        (file_with(costs={"cycles": {"total": 1}}), "costs that are no numbers"),
        (file_with(costs={"stack": {"total": -1}}), "costs that are no numbers"),
        (file_with(costs={"stack": {"total": True}}), "costs that are no numbers"),
        (file_with(costs={"stack": [1]}), "costs that are no numbers"),
    ],
)
def test_files_that_are_no_baseline(tmp_path, text, fault):
    file = tmp_path / "costs.json"
    file.write_text(text)
    with pytest.raises(GoldgradError, match=fault) as caught:
        baseline.read(file)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    assert "write it with goldgrad board baseline" in str(caught.value)


@mark.parametrize(
    ("words", "fault"),
    [
        (("baseline", "c.json", "--program", "digits"), "--program is 'digits'; write MODEL:SCHEME"),
        (("baseline", "c.json", "--function", "a.elf"), "--function is 'a.elf'; write ELF:NAME"),
        (("baseline", "c.json", "--program", "digits:sparse:m4"), "a board has no kernels 'm4'; use m7 or portable"),
        (("baseline", "c.json", "--program", "lenet:49kb"), "there is no model 'lenet'"),
        (("baseline", "c.json", "--compiler", "icc"), "there is no toolchain 'icc'"),
        (("baseline", "c.json", "--function", "absent.elf:f"), "absent.elf cannot be read"),
        (("compare", "absent.json"), "absent.json cannot be read"),
        (("compare", "absent.json", "--budget-sram", "-1"), "--budget-sram is -1; give a number of at least 0"),
        (("compare", "absent.json", "--budget-instructions", "nan"), "--budget-instructions is nan"),
        (("compare", "absent.json", "--json", "."), "is a folder"),
    ],
)
def test_bad_words_are_one_line_and_nothing_is_written(words, fault, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = cli("board", *words)
    assert isinstance(result.exception, GoldgradError), result.output
    assert fault in str(result.exception)
    assert "\n" not in str(result.exception)
    assert list(tmp_path.iterdir()) == []


# --- somebody else's function ----------------------------------------------------------------------------------------


@pytest.fixture
def example(tmp_path):
    """The example in a folder of its own, and make with the compiler that is here."""
    if not shutil.which("make"):
        pytest.skip("there is no make")
    folder = Path(shutil.copytree(EXAMPLE, tmp_path / "fir"))
    toolchain = find_toolchain()
    cc = "arm-none-eabi-gcc"
    if toolchain.name == "zig":
        cc = f"{sys.executable} -m ziglang cc -target thumb-freestanding-eabihf -mcpu=cortex_m7 -fno-sanitize=undefined"

    def make(target, flags="-mcpu=cortex-m7 -mthumb -O2"):
        flags = flags.replace("-mcpu=cortex-m7", "") if toolchain.name == "zig" else flags
        run = [sys.executable, "-c", "from goldgrad.cli import main; main()"]
        words = ["make", "-B", target, f"CC={cc}", f"CFLAGS={flags}", f"GOLDGRAD={run[0]} -c '{run[2]}'"]
        environment = {**os.environ, "GITHUB_STEP_SUMMARY": str(folder / "summary.md")}
        return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)

    return folder, make


@mark.rules("MEAS-S10")
def test_the_example_of_a_function(example):
    folder, make = example
    assert make("baseline").returncode == 0
    (entry,) = json.loads((folder / "costs.json").read_text())["functions"]
    assert (entry["elf"], entry["function"], entry["arguments"]) == ("firmware.elf", "fir", "call.toml")
    cost = measure_function(baseline.Elf.read(folder / "firmware.elf"), "fir", read_arguments(folder / "call.toml"))
    assert entry["costs"]["instructions"]["total"] == cost.instructions > 64 * 16
    same = make("check")
    assert same.returncode == 0, same.stderr
    assert "nothing is over the budget" in same.stdout
    slow = make("check", "-mcpu=cortex-m7 -mthumb -O0")
    assert slow.returncode != 0
    assert "over the budget (1 % of instructions, 0 bytes of stack" in slow.stdout
    assert "instructions of fir of firmware.elf" in slow.stdout
    first, second = (folder / "summary.md").read_text().split("## Costs beside costs.json")[1:]
    assert "Nothing is over the budget" in first
    assert "Over the budget" in second
    (line,) = (line for line in second.splitlines() if "instructions**" in line)
    cells = [cell.strip(" *") for cell in line.strip("|").split("|")]
    assert cells[0] == "instructions"
    assert cells[1] == f"{cost.instructions:,}"
    assert cells[4] == "over"


@mark.rules("MEAS-S10")
def test_functions_need_no_compiler(tmp_path, monkeypatch):
    elf = program(any_compiler())
    (tmp_path / "a.toml").write_text(BIAS_GRADIENT)
    case = FunctionCase(str(elf.path), "gg_bias_gradient_forward", "a.toml")
    monkeypatch.setattr(baseline, "_toolchain", None)
    found = baseline.measure([case], None, tmp_path)
    assert found.toolchain is None
    assert found.measured[0].costs["flash"]["total"] == elf.symbol("gg_bias_gradient_forward").size > 0
    file = tmp_path / "costs.json"
    file.write_text(json.dumps(found.document()))
    assert baseline.read(file) == found


@mark.rules("MEAS-S10")
def test_the_commands_on_a_file_with_other_numbers(tmp_path, monkeypatch):
    """Numbers that were changed by hand are found, and written anew; the set stays the file's."""
    elf = program(any_compiler())
    (tmp_path / "a.toml").write_text(BIAS_GRADIENT)
    monkeypatch.chdir(tmp_path)
    file, found = Path("costs") / "c.json", Path("found.json")
    assert cli("board", "baseline", file, "--function", f"{elf.path}:gg_bias_gradient_forward:a.toml").exit_code == 0
    kept = json.loads(file.read_text())
    assert kept["functions"][0]["arguments"] == "../a.toml"
    changed = json.loads(file.read_text())
    changed["functions"][0]["costs"]["stack"]["total"] -= 4
    changed["functions"][0]["costs"]["flash"]["total"] += 100
    changed["functions"][0]["compiler"] = "another one"
    file.write_text(json.dumps(changed))
    result = cli("board", "compare", file, "--json", found)
    assert result.exit_code == 1
    text = " ".join(result.output.split())
    assert "another compiler: the baseline was made by another one" in text
    assert "over the budget" in text
    (case,) = json.loads(found.read_text())["cases"]
    assert [row["change"] for row in case["rows"] if row["kind"] == "stack"] == [4]
    assert cli("board", "compare", file, "--budget-stack", 4).exit_code == 0
    assert cli("board", "baseline", file).exit_code == 0
    assert json.loads(file.read_text()) == kept
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    refused = cli("board", "compare", file)
    assert isinstance(refused.exception, GoldgradError)
    assert "GITHUB_STEP_SUMMARY names" in str(refused.exception)
