"""What is written of a check: reports, programs in C, vectors; and that what is written can be used."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from typer.testing import CliRunner

from goldgrad import GoldgradError, paths
from goldgrad.board.elf import Elf
from goldgrad.check.c_program import Vector, literal, main_of, program
from goldgrad.check.command import program_of
from goldgrad.check.providers.calls import Abi, Map
from goldgrad.check.results import Subject
from goldgrad.check.session import check
from goldgrad.check.vectors import drawn, permanent
from goldgrad.cli import app
from goldgrad.conformance import Case
from goldgrad.ops import FUNCTIONS

HERE = Path(__file__).parent / "kernels"
KERNELS = paths.data("kernels_c")
PORTABLE = KERNELS / "src" / "portable"
FAULTY = f"c:{HERE / 'faulty.c'}"
FLAGS = (
    "-std=c11",
    "-O1",
    "-ffp-contract=off",
    "-fno-math-errno",
    f"-I{KERNELS / 'include'}",
    "-fno-sanitize=undefined",
)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")


def goldgrad(*arguments: str | Path, code: int = 0) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert isinstance(done.exception, SystemExit | None), done.exception
    assert done.exit_code == code, done.output
    return done.output


def run_c(text: str, *others: str | Path) -> subprocess.CompletedProcess[str]:
    """Compile as anybody would, strictly, and run."""
    Path("program.c").write_text(text)
    compiler = next((c for c in map(shutil.which, ("cc", "gcc", "clang")) if c), None)
    command = [compiler] if compiler else [sys.executable, "-m", "ziglang", "cc"]
    strict = ("-Wall", "-Wextra", "-Werror", "-Wno-unused-function")
    made = [*command, *FLAGS, *strict, "program.c", *map(str, others), "-o", "program", "-lm"]
    compiled = subprocess.run(made, capture_output=True, text=True, check=False)
    assert compiled.returncode == 0, compiled.stderr
    return subprocess.run(["./program"], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The reports of a kernel that writes beyond its result, on the emulated board."""
    folder = tmp_path_factory.mktemp("reports")
    files = [word for kind in ("junit", "html", "json") for word in (f"--{kind}", str(folder / f"report.{kind}"))]
    goldgrad("check", f"{FAULTY}@unicorn", "--op", "mask", "--cflag=-DFAULT=BEYOND", "--jobs", "1", *files, code=1)
    return folder


def test_junit_is_read_by_any_ci(page):
    root = ElementTree.fromstring((page / "report.junit").read_text())
    assert (root.get("tests"), root.get("failures")) == ("5", "1")
    (failure,) = root.iter("failure")
    assert "memory outside result mask changed" in failure.get("message", "")
    assert "goldgrad repro 'frame mask.pack " in (failure.text or "")


def test_the_page_has_all_and_needs_nothing(page):
    text = (page / "report.html").read_text()
    found = json.loads((page / "report.json").read_text())
    (finding,) = [result["finding"] for result in found["results"] if result["finding"]]
    for said in (
        f'id="{finding["id"]}"',
        "does not conform",
        "MASK-F1: What is written.",
        "A function writes every bit of its result",
        "int main(void)",
        f"goldgrad repro {finding['id']}",
        "gg_mask_pack(1, 1, ",
        "Not provided: mask.unpack",
    ):
        assert said in text
    assert not re.search(r"""(src|href)=["'](?!#)""", text)
    assert "<script" not in text
    instructions = re.search(r'title="flags bool[^"]*">([\d,]+)</td>', text)
    assert instructions
    (cost,) = found["costs"]
    assert int(instructions[1].replace(",", "")) == cost["instructions"] > 20
    assert 20 < cost["cycles"] < 2 * cost["instructions"]
    assert f"{cost['cycles']:,} ± {cost['band_percent']:g} %" in text
    assert (cost["unit"], cost["flash"] > 50, cost["stack"] % 4) == ("element", True, 0)
    assert cost["work"] >= 1


# Programs in C


def test_a_finding_is_repeated_in_c_without_goldgrad():
    report = check(Subject(FAULTY, flags=("-DFAULT=BEYOND",)), ["mask.pack"], jobs=1, examples=5)
    text = program_of(report.findings[0])
    assert text is not None
    failing = run_c(text, HERE / "faulty.c", "-DFAULT=BEYOND")
    assert (failing.returncode, failing.stdout) == (1, "memory beside mask was written\nfails\n")
    assert run_c(text, PORTABLE / "mask.c").stdout == "holds\n"


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_a_main_of_any_case_holds_for_the_portable_kernels(function):
    """Batches and chains, absent operands, infinities and NaN, scratch; one case of each function."""
    case = max(drawn([function], 6), key=lambda case: (len(case.arrays[0]) > 1, -case.types[0].nbytes))
    text = main_of(Vector("it", case), Abi(), "an example")
    assert text is not None
    assert len(text.partition("int main")[2].splitlines()) <= 20
    done = run_c(text, PORTABLE / f"{function.partition('.')[0]}.c", PORTABLE / "numerics.c")
    assert (done.returncode, done.stdout) == (0, "holds\n"), text


def test_a_wrong_element_is_told():
    case = Case.parse("mask_scale.forward gy=float32[1,2]:3,-0.0 mask=uint8[1,1]:3 m=float32[1]:0.5")
    text = main_of(Vector("it", case), Abi(), "it")
    assert text is not None
    wrong = text.replace("0x1.8000000000000p+0F", "0x1.9000000000000p+0F")
    assert run_c(wrong, PORTABLE / "mask_scale.c").stdout == "g[0] is 0x1.8p+0, must be 0x1.9p+0\nfails\n"


def test_a_map_gives_the_call_and_its_prototype():
    calls = Map.read(HERE / "own.toml")
    case = Case.parse("bias_gradient.forward g=float32[1,2,3,2]:1,2,3,4,5,6,7,8,9,10,11,12 db0=None")
    text = main_of(Vector("it", case), calls, "it")
    assert text is not None
    assert "void own_sum(float *, const float *, int16_t, int32_t, void *);" in text
    assert run_c(text, HERE / "own.c").stdout == "holds\n"
    assert (
        main_of(Vector("it", Case.parse("conv2d.vjp_x g=float32[1,1,1,1]:1 w=int8[1,2,2,1]:1*4 in_hw=[2,2]")), calls)
        is None
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.float32(0.1), "0x1.99999a0000000p-4F"),
        (np.float32(-0.0), "-0x0.0p+0F"),
        (np.float32(-np.inf), "-__builtin_inff()"),
        (np.int32(-(2**31)), "INT32_MIN"),
        (np.int8(-5), "-5"),
    ],
)
def test_literals(value, text):
    assert literal(value) == text


# Vectors


def test_many_vectors_make_a_program_that_checks_itself():
    goldgrad("vectors", "export", "mask.c", "--op", "mask", "--count", "6")
    text = Path("mask.c").read_text()
    good = run_c(text, PORTABLE / "mask.c")
    assert (good.returncode, good.stdout) == (0, "12 passed, 0 failed\n")
    Path("unpack.c").write_text(PORTABLE.joinpath("mask.c").read_text().replace("gg_mask_pack", "unused"))
    bad = run_c(text, HERE / "faulty.c", "unpack.c", f"-I{PORTABLE}", "-DFAULT=BEYOND")
    assert bad.returncode == 1
    assert "mask: memory beside it was written" in bad.stdout
    assert "6 passed, 6 failed" in bad.stdout


@pytest.mark.parametrize(
    ("kernel", "flags", "failures"), [("portable", (), 0), ("faulty", ("--cflag=-DFAULT=BEYOND",), 4)]
)
def test_an_elf_of_vectors_runs_from_reset(kernel, flags, failures):
    """In an emulated Cortex-M7 that starts as a board does: by the vector table."""
    source = PORTABLE / "mask.c" if kernel == "portable" else HERE / "faulty.c"
    goldgrad("vectors", "export", "mask.elf", "--op", "mask.pack", "--count", "4", "--kernels", source, *flags)
    elf = Elf.read(Path("mask.elf"))
    from unicorn import Uc, arm_const, unicorn_const

    mode = unicorn_const.UC_MODE_THUMB | unicorn_const.UC_MODE_MCLASS
    uc = Uc(unicorn_const.UC_ARCH_ARM, mode, arm_const.UC_CPU_ARM_CORTEX_M7)
    for start, size in ((0x0020_0000, 1 << 20), (0x2000_0000, 1 << 19), (0xE000_0000, 1 << 20)):
        uc.mem_map(start, size)
    for segment in elf.segments:
        uc.mem_write(segment.address, segment.data)
    stack, reset = (elf.word(0x0020_0000 + at) for at in (0, 4))
    uc.reg_write(arm_const.UC_ARM_REG_SP, stack)
    uc.emu_start(reset, 0, timeout=5_000_000, count=2_000_000)

    def read(name: str) -> int:
        return int(np.frombuffer(bytes(uc.mem_read(elf.symbols[name].address, 4)), np.int32)[0])

    assert (read("goldgrad_done"), read("goldgrad_failures"), read("goldgrad_first")) == (
        4,
        failures,
        0 if failures else -1,
    )


def test_a_finding_becomes_a_permanent_vector():
    report = check(Subject(FAULTY, flags=("-DFAULT=BEYOND",)), ["mask.pack"], jobs=1, examples=5)
    finding = report.findings[0]
    assert f"vectors/mask.pack-{finding.id}.case" in goldgrad("vectors", "add", finding.id[:6])
    assert [(name, case.text()) for name, case in permanent()] == [("frame", finding.case)]
    first = check(Subject(FAULTY, flags=("-DFAULT=BEYOND",)), ["mask.pack"], jobs=1, examples=1).results[0]
    assert (first.property, first.cases, first.finding.id) == ("frame", 1, finding.id)
    assert check(Subject("c"), ["mask.pack"], jobs=1, examples=1).conforms
    Path("vectors/other.case").write_text("nonsense\n")
    with pytest.raises(GoldgradError, match="is no vector"):
        permanent()


def test_results_from_files_are_judged():
    said = goldgrad("check", "dir:device", "--op", "mask")
    manifest = json.loads(Path("device/vectors/manifest.json").read_text())
    assert f"written: {len(manifest)} vectors" in said
    packs = sum(entry["function"] == "mask.pack" for entry in manifest)
    assert packs >= 15
    Path("device/results").mkdir()
    for entry in manifest:
        case = Case.parse(entry["case"])
        if case.function == "mask.unpack":
            continue
        flags = entry["operands"]["flags"]
        stored = np.fromfile(f"device/vectors/{flags['file']}", flags["dtype"]).reshape(flags["shape"])
        packed = np.packbits(stored, axis=-1, bitorder="little")
        packed.tofile(f"device/results/{entry['results']['mask']['file']}")
    text = goldgrad("check", "dir:device", "--op", "mask")
    assert "not provided: mask.unpack" in text
    assert f"dir:device conforms in 1 function ({packs} cases" in text
    last = Path("device/results") / manifest[0]["results"]["mask"]["file"]
    last.write_bytes(bytes([last.read_bytes()[0] ^ 1]) + last.read_bytes()[1:])
    text = goldgrad("check", "dir:device", "--op", "mask", code=1)
    assert "mask.pack breaks 'bits': not the reference's bits" in text
    finding = re.search(r"goldgrad repro (\w+)", text)
    assert finding
    assert "breaks 'bits'" in goldgrad("repro", finding[1], code=1)
    last.write_bytes(b"")
    assert "bytes, not" in goldgrad("check", "dir:device", "--op", "mask", code=1)


def test_an_elf_needs_kernels():
    done = CliRunner().invoke(app, ["vectors", "export", "x.elf", "--op", "mask"])
    assert "name their C files with --kernels" in str(done.exception)
    assert program([], Abi())
