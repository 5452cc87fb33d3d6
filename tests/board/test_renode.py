"""Renode in its own ways: the suites of renode/suites/, its platform, its log, and how it comes and goes.

What every emulator owes is tested for Renode with the others, in test_board.py and test_faults.py.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from board_program import any_compiler, emulator, fail, kill_in, program, samples
from board_suites import SUITES, arguments
from goldgrad import paths
from goldgrad.board.board import Board
from goldgrad.board.emulators import Stop, find_emulator, renode
from goldgrad.board.emulators.renode import Renode
from goldgrad.board.errors import EmulatorDied, EmulatorMissing, Trap
from goldgrad.board.memory_map import CODE_IN_ITCM, DTCM, FLASH, FLASH_AXI, ITCM, PERIPHERALS, RAM, SRAM, SYSTEM

FOLDER = paths.data("renode")
READ_TIM2 = bytes.fromhex("40f20000 c4f20000 0068 7047")
"""movw r0, #0; movt r0, #0x4000; ldr r0, [r0]; bx lr: a peripheral that the platform does not have."""


def renode_test() -> str:
    command = shutil.which("renode-test", path=os.environ.get("RENODE_ROOT"))
    if not command:
        pytest.skip("renode-test is neither on PATH nor where RENODE_ROOT says")
    return command


@pytest.mark.rules("BOARD-C2", "BOARD-C4", "BOARD-S1", "BOARD-S2", "BOARD-S3", "BOARD-S5", "MEAS-S1", "MEAS-S2")
def test_the_suites_pass(tmp_path):
    emulator("renode")
    command = [renode_test(), *arguments(tmp_path, program(any_compiler())), "-r", tmp_path / "report", *SUITES]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600, cwd=tmp_path)
    assert run.returncode == 0, run.stdout[-3000:]
    report = ET.parse(tmp_path / "report" / "robot_output.xml")
    passed = [test.get("name") for test in report.iter("test") if test.find("status").get("status") == "PASS"]
    assert len(passed) == sum(count_tests(suite) for suite in SUITES) > 10


def count_tests(suite: Path) -> int:
    section = re.split(r"^\*\*\* ", suite.read_text(), flags=re.MULTILINE)
    (cases,) = (part for part in section if part.startswith("Test Cases"))
    return sum(not line.startswith((" ", "#")) for line in cases.splitlines()[1:] if line)


@pytest.mark.rules("BOARD-M1")
def test_the_platform_has_the_boards_memory():
    text = re.sub(r"//.*", "", (FOLDER / "stm32f746.repl").read_text())
    banks = {}
    for place, size in re.findall(r"Memory\.MappedMemory @ ([^:]*?)\s+size: (0x[0-9A-F]+)", text, flags=re.DOTALL):
        for address in re.findall(r"0x[0-9A-F]+", place):
            banks[int(address, 16)] = int(size, 16)
    sram1, sram2 = SRAM.start, 0x2004_C000
    assert banks[sram1] + banks[sram2] == SRAM.size
    assert sram1 + banks[sram1] == sram2
    sizes = {sram1: 240 << 10, sram2: 16 << 10}
    sizes |= {bank.start: bank.size for bank in (ITCM, FLASH, FLASH_AXI, DTCM)}
    assert banks == sizes


@pytest.mark.rules("BOARD-C2")
def test_the_monitor_has_the_boards_rights():
    text = (FOLDER / "monitor.py").read_text()
    rows = re.findall(r"\((0x[0-9A-F]+), (0x[0-9A-F]+), (READ \| \w+)\),", text)
    banks = ((FLASH, "READ | EXECUTE"), (RAM, "READ | WRITE"), (PERIPHERALS, "READ | WRITE"), (SYSTEM, "READ | WRITE"))
    assert [(int(start, 16), int(end, 16), rights) for start, end, rights in rows] == [
        (bank.start, bank.end, rights) for bank, rights in banks
    ]
    assert f"CODE_IN_ITCM = {CODE_IN_ITCM.start:#010x}, {CODE_IN_ITCM.end:#010x}" in text


@pytest.mark.rules("MEAS-S1", "MEAS-S2")
def test_counts_do_not_depend_on_renodes_slices_of_time(monkeypatch, tmp_path):
    """Slices of 216 instructions: some end inside gg_mark."""
    kind, elf = emulator("renode"), program(any_compiler())
    shutil.copytree(FOLDER, tmp_path / "renode")
    script = tmp_path / "renode" / "goldgrad.resc"
    text = script.read_text()
    assert 'SetGlobalQuantum "0.01"' in text
    script.write_text(text.replace('SetGlobalQuantum "0.01"', 'SetGlobalQuantum "0.000001"'))
    monkeypatch.setattr(renode.paths, "data", lambda name: tmp_path / name)
    with Board(elf, kind) as board, Board(elf, "unicorn") as other:
        for sample in samples(120):
            board.step(sample)
            other.step(sample)
            assert board.instructions == other.instructions


@pytest.mark.rules("BOARD-S5")
def test_uart_text():
    with Board(program(any_compiler()), emulator("renode")) as board:
        assert board.emulator.text == "goldgrad: by-hand\r\n"
        board.step(samples(1)[0])
        board.report()
        assert re.fullmatch(r"by-hand steps=00000001 stack=0000\w+ parameters=\w+", board.emulator.text.splitlines()[1])


@pytest.mark.rules("BOARD-S4")
def test_a_trap_is_recorded_and_said():
    with Board(program(any_compiler()), emulator("renode")) as board:
        with pytest.raises(Trap, match=r"undefined instruction in fault .*CFSR 0x00010000"):
            fail(board, "trap")
        assert "UsageFault pc=" in board.emulator.text


@pytest.mark.rules("BOARD-C2")
def test_the_log_tells_of_a_peripheral_that_is_not_there():
    with Board(program(any_compiler()), emulator("renode")) as board:
        step = board.elf.symbol("gg_program_step").address
        board.emulator.write(step, READ_TIM2)
        with pytest.raises(Trap, match=r"access outside the memory map .*address 0x40000000.* in gg_program_step\+0x8"):
            board.step()


@pytest.mark.rules("BOARD-C5")
def test_the_log_tells_why_renode_gave_up(monkeypatch, tmp_path):
    """A CPU without an MPU: Renode ends it where the firmware sets one up."""
    kind, elf = emulator("renode"), program(any_compiler())
    shutil.copytree(FOLDER, tmp_path / "renode")
    platform = tmp_path / "renode" / "stm32f746.repl"
    text = platform.read_text()
    assert "numberOfMPURegions: 8" in text
    platform.write_text(text.replace("numberOfMPURegions: 8", "numberOfMPURegions: 0"))
    monkeypatch.setattr(renode.paths, "data", lambda name: tmp_path / name)
    with kind(elf) as board:
        run = board.run(10**9, 20)
        assert run.stop is Stop.FAULT
        assert run.fault.what.startswith("Renode says: CPU abort")


@pytest.mark.rules("BOARD-C5")
def test_a_platform_that_renode_refuses(monkeypatch, tmp_path):
    kind, elf = emulator("renode"), program(any_compiler())
    shutil.copytree(FOLDER, tmp_path / "renode")
    (tmp_path / "renode" / "stm32f746.repl").write_text("cpu: CPU.NoSuchCore @ sysbus\n")
    monkeypatch.setattr(renode.paths, "data", lambda name: tmp_path / name)
    with pytest.raises(
        EmulatorDied, match=r"renode .*: There was an error .* Error E04: Could not resolve type"
    ) as caught:
        kind(elf)
    assert "\n" not in str(caught.value)


@pytest.mark.rules("BOARD-C5")
def test_renode_dies_half_way():
    with Board(program(any_compiler()), emulator("renode")) as board:
        kill_in(board, "fault")
        with pytest.raises(EmulatorDied, match=r"by-hand: renode ended with -9, in fault;") as caught:
            fail(board, "loop")
        assert "\n" not in str(caught.value)


def running(group: int) -> list[str]:
    """Processes of a group, dead ones aside."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            name, _, rest = stat.read_text().rpartition(")")
            state, _, of_group = rest.split()[:3]
            if int(of_group) == group and state != "Z":
                found.append(name)
    return found


@pytest.mark.rules("BOARD-C5")
def test_renode_hangs(monkeypatch):
    with Board(program(any_compiler()), emulator("renode")) as board:
        board._seconds = 1.0
        monkeypatch.setattr(renode, "GRACE_SECONDS", 1.0)
        group = board.emulator._process.process.pid
        assert running(group)
        os.killpg(group, signal.SIGSTOP)
        start = time.monotonic()
        with pytest.raises(EmulatorDied, match="renode stopped answering"):
            board.step(samples(1)[0])
        assert time.monotonic() - start < 10
    while running(group) and time.monotonic() - start < 30:
        time.sleep(0.05)
    assert not running(group), "nothing of Renode may stay"


@pytest.mark.rules("BOARD-C5")
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (None, r"RENODE_ROOT is .*, where no renode is; correct it"),
        ("echo Renode v1.15.3.1", r"this is Renode v1\.15\.3\.1; install Renode 1\.16\.1 or later"),
        ("echo there is no dotnet >&2; exit 1", r"renode does not start: there is no dotnet; install Renode 1\.16\.1"),
    ],
)
def test_a_renode_that_cannot_be_used(monkeypatch, tmp_path, script, reason):
    monkeypatch.setenv("RENODE_ROOT", str(tmp_path))
    if script:
        (tmp_path / "renode").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "renode").chmod(0o755)
    with pytest.raises(EmulatorMissing, match=reason) as caught:
        find_emulator("renode")
    assert "\n" not in str(caught.value)


@pytest.mark.rules("BOARD-C5")
def test_no_renode(monkeypatch):
    monkeypatch.delenv("RENODE_ROOT", raising=False)
    monkeypatch.setenv("PATH", "")
    assert Renode.missing().startswith("renode is not on PATH; install Renode 1.16.1")
