"""goldgrad doctor says what is here and what is used."""

import sys

import pytest

from board_program import any_compiler
from goldgrad import cli
from goldgrad.board import toolchain
from goldgrad.board.doctor import findings, report
from goldgrad.board.emulators import BACKENDS, present
from goldgrad.board.errors import BuildError


def doctor(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["goldgrad", "doctor"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return caught.value.code, capsys.readouterr().out


def test_what_is_here(monkeypatch, capsys):
    code, out = doctor(monkeypatch, capsys)
    assert code == 0
    assert out.endswith("The board can be built and run.\n")
    _, _, compilers = out.partition("compiler for the board:\n")
    line = next(line for line in compilers.splitlines() if line.startswith(f"  {any_compiler()} "))
    assert " used " in line
    for name in BACKENDS:
        (line,) = (line for line in out.splitlines() if line.startswith(f"  {name} "))
        assert (" missing " in line) == (name not in present())


def test_one_of_a_kind_is_used():
    used = [finding.purpose for finding in findings() if finding.used]
    assert len(used) == len(set(used))
    assert all(finding.missing is None for finding in findings() if finding.used)


def test_a_machine_with_python_alone(monkeypatch, capsys):
    """What is on PATH is hidden, and so are the packages: then nothing can run, and exit code 3 says so."""
    compilers = sys.modules[type(toolchain.toolchains()[0].compiler).__module__]
    monkeypatch.setattr(compilers.shutil, "which", lambda _: None)
    monkeypatch.setattr(compilers.importlib.util, "find_spec", lambda _: None)
    assert not report()[1]
    code, out = doctor(monkeypatch, capsys)
    assert code == 3
    assert " used " not in out
    assert "arm-none-eabi-gcc is not on PATH" in out
    assert "pip install 'goldgrad[board]'" in out
    with pytest.raises(BuildError, match="pip install ziglang, or install gcc-arm-none-eabi"):
        toolchain.find_toolchain()


def test_without_a_compiler_on_path_zig_is_used(monkeypatch):
    compilers = sys.modules[type(toolchain.toolchains()[0].compiler).__module__]
    monkeypatch.setattr(compilers.shutil, "which", lambda _: None)
    assert toolchain.find_toolchain().name == "zig"
    with pytest.raises(BuildError, match="there is no toolchain 'icc'; use gcc or zig"):
        toolchain.find_toolchain("icc")
