"""The kernels compile strictly for every target, and the check that says so can fail."""

import check_c
import pytest
from compilers import COMPILERS, SOURCES, Compiler


def usable(compiler: Compiler) -> Compiler:
    if compiler.missing:
        pytest.skip(compiler.missing)
    return compiler


@pytest.mark.rules("ABI-M2", "ABI-M4")
@pytest.mark.parametrize("compiler", COMPILERS, ids=lambda compiler: compiler.name)
def test_every_kernel_compiles_without_a_fault(compiler):
    assert check_c.check(usable(compiler), SOURCES) == []


FAULTS = {
    "needs the C library": ("float logf(float v);\nfloat f(float v) { return logf(v); }\n", "wants logf"),
    "has a global": ("int f(void) { static int calls; return ++calls; }\n", "no globals"),
    "narrows": ("signed char f(int v) { return v; }\n", "onversion"),
}


@pytest.mark.rules("ABI-M2", "ABI-M4")
@pytest.mark.parametrize(("source", "fault"), FAULTS.values(), ids=FAULTS)
def test_a_kernel_is_refused_that(source, fault, tmp_path):
    path = tmp_path / "kernel.c"
    path.write_text(source)
    board = next(compiler for compiler in COMPILERS if compiler.board)
    (found,) = check_c.check(usable(board), [path])
    assert fault in found
