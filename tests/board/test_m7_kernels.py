"""The kernels for a Cortex-M7 under the conformance suite, as Thumb-2 in Unicorn, and the scratch that they want."""

from __future__ import annotations

import functools
import re
import subprocess
import sys

import compilers
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldgrad.board.build import DEFINITION, kernel_sources
from goldgrad.board.errors import BuildError
from goldgrad.board.kernels import BoardKernels, Staged, kernels_elf
from goldgrad.board.toolchain import NAMES, toolchains
from goldgrad.conformance import PROPERTIES
from goldgrad.conformance.search import search, strategy
from goldgrad.kernels import KERNELS
from goldgrad.kernels._binding import SIZES
from goldgrad.ops import FUNCTIONS

ON_C = ("bits", "frame", "scratch", "determinism", "optional", "samples", "alias")
"""Properties of kernels; the others follow from the reference, whose bits these have."""
EXAMPLES = {"bits": 60}
TEXTS = {source: source.read_text() for source in (*compilers.CORTEX_M7, compilers.SCRATCH)}
OWN = {name for text in TEXTS.values() for name in DEFINITION.findall(text) if not name.startswith("gg_m7_")}
FASTER = sorted(function for function in KERNELS if f"gg_{function.replace('.', '_')}" in OWN)
"""Functions that have a kernel for this core."""


@functools.cache
def provider(compiler: str | None = None) -> BoardKernels:
    """The machine, made once; the compiler is the one that is used by default, or one by name."""
    known = {toolchain.name: toolchain for toolchain in toolchains()}
    if compiler is not None and known[compiler].missing:
        pytest.skip(known[compiler].missing)
    return BoardKernels("m7", known[compiler] if compiler else None)


def under_test():
    for function in FASTER:
        for name in ON_C:
            if PROPERTIES[name].applies(FUNCTIONS[function]):
                yield pytest.param(function, name, id=f"{function}-{name}")


@pytest.mark.rules("ABI-S5", "ABI-F1", "ABI-M1", "ABI-C1")
@pytest.mark.parametrize(("function", "name"), [*under_test()])
def test_holds_on_the_board(function, name):
    found = search(name, function, provider(), examples=EXAMPLES.get(name, 15))
    if found is not None:
        pytest.fail(str(found), pytrace=False)


@pytest.mark.rules("ABI-S5")
@pytest.mark.parametrize("compiler", NAMES)
@pytest.mark.parametrize("function", FASTER)
def test_bits_with_each_compiler(function, compiler):
    found = search("bits", function, provider(compiler), examples=10)
    if found is not None:
        pytest.fail(str(found), pytrace=False)


@pytest.mark.rules("ABI-S5", "ABI-M1")
@pytest.mark.parametrize("function", [f for f in FASTER if f"gg_m7_{f.replace('.', '_')}_scratch_bytes" in SIZES])
@settings(max_examples=20)
@given(data=st.data())
def test_this_machine_knows_the_scratch_of_the_other(function, data):
    case = data.draw(strategy("bits", function))
    outputs = [None] * len(case.types)
    staged = Staged("m7", function, case.arrays, outputs, lambda count: np.zeros(count, np.uint8), case.attributes)
    (address, params), machine = staged.constants[0], provider().machine
    machine.write(address, params.tobytes())
    assert machine.call(staged.call.scratch_size, [address]) == staged.scratch_bytes


@pytest.mark.rules("ABI-S5")
def test_kernel_and_scratch_are_of_one_set():
    wanting = {name for name in SIZES if name.removesuffix("_scratch_bytes") in OWN}
    assert {name for name in OWN if name.endswith("_scratch_bytes")} == wanting
    assert {name.replace("gg_m7_", "gg_") for name in SIZES if name.startswith("gg_m7_")} == wanting


@pytest.mark.rules("ABI-S5")
def test_what_the_set_lacks_is_the_portable_kernel():
    elf = kernels_elf("m7")
    for function in KERNELS:
        name = f"gg_{function.replace('.', '_')}"
        assert elf.symbol(name).is_function
        assert (f"gg_portable_{name.removeprefix('gg_')}" in elf.symbols) == (name in OWN)
    with pytest.raises(BuildError, match="no kernels 'm4'; use portable or m7"):
        kernel_sources("m4")


@pytest.mark.rules("ABI-S5")
def test_intrinsics_stay_where_the_core_is():
    assert not re.search("arm_acle|__asm", TEXTS[compilers.SCRATCH])
    assert compilers.SCRATCH in compilers.SOURCES
    assert not set(compilers.CORTEX_M7) & set(compilers.SOURCES)


@pytest.mark.rules("ABI-S5")
@pytest.mark.parametrize("generator", sorted(compilers.ROOT.glob("gen/*_*.py")), ids=lambda path: path.stem)
def test_inner_loops_are_what_their_generators_make(generator):
    run = subprocess.run([sys.executable, generator, "--check"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
