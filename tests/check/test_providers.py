"""What goldgrad check can be pointed at, and that what goes wrong there stays there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from goldgrad import GoldgradError, kernels, paths
from goldgrad.board.emulators import backend
from goldgrad.check.providers.calls import Map
from goldgrad.check.providers.opening import open_here, open_provider
from goldgrad.check.template import shim, template
from goldgrad.conformance import Case, Mismatch, verify
from goldgrad.conformance.providers import NotProvided
from goldgrad.conformance.search import explore
from goldgrad.ops import FUNCTIONS

HERE = Path(__file__).parent / "kernels"
PORTABLE = paths.data("kernels_c") / "src" / "portable"
PACK = Case("mask.pack", (np.ones((1, 2, 3), bool),))
EMULATED = ["", "@unicorn"]


def here(where):
    """Skip what runs in an emulator that is not here."""
    if where and (reason := backend(where[1:]).missing()):
        pytest.skip(reason)


def test_goldgrads_own_kernels_for_the_core_are_a_provider():
    """All functions, called as anybody's are, in the set that was asked for."""
    provider = open_here("m7@unicorn")
    assert {function for function in FUNCTIONS if provider.provides(function)} == set(kernels.KERNELS)
    assert "gg_portable_conv2d_forward" in provider.machine.machine.elf.symbols
    for name in ("bits", "scratch"):
        assert explore(name, "conv2d.forward", provider, 8, same=True).found is None


@pytest.mark.parametrize("where", ["@qemu"])
def test_another_emulator_gives_the_same(where):
    here(where)
    with open_provider(f"c:{PORTABLE / 'mask.c'}{where}") as provider:
        assert explore("bits", "mask.pack", provider, 10, same=True).found is None
        assert explore("frame", "mask.unpack", provider, 10, same=True).found is None


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """What is kept lands here."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("where", EMULATED)
def test_c_that_keeps_the_rules_conforms(where):
    with open_provider(f"c:{PORTABLE / 'conv2d.c'},{PORTABLE / 'softmax_cross_entropy.c'}{where}") as provider:
        assert provider.provides("conv2d.vjp_w")
        assert not provider.provides("mask.pack")
        for function in ("conv2d.forward", "conv2d.vjp_w", "softmax_cross_entropy.forward"):
            for name in ("bits", "frame", "scratch", "samples"):
                explored = explore(name, function, provider, 12, same=True)
                assert explored.found is None, str(explored.found)
                assert explored.cases == 12


@pytest.mark.parametrize("where", EMULATED)
def test_a_map_says_how_kernels_are_called(where):
    """Own order, types by value, scratch, a kernel for some shapes only, operands left out."""
    with open_provider(f"c:{HERE / 'own.c'}{where}", mapping=HERE / "own.toml") as provider:
        assert provider.lacks("conv2d.vjp_x") == {"dx0", "trained", "channels"}
        for function in ("bias_gradient.forward", "conv2d.vjp_x", "mask_scale.forward"):
            for name in ("bits", "frame"):
                explored = explore(name, function, provider, 6, same=True)
                assert explored.found is None, str(explored.found)
                assert explored.cases == 6
        one = Case.parse("conv2d.vjp_x g=float32[1,1,1,1]:1 w=int8[1,1,1,1]:3 in_hw=[1,1]")
        verify("adjoint", one.also(v=np.full((1, 1, 1, 1), 2, np.float32)), provider)
        with pytest.raises(NotProvided):  # in place means a start, which it does not have
            verify("alias", one, provider)


def test_a_failure_keeps_to_the_shapes_that_a_kernel_is_for(tmp_path):
    only = "only = { size = [4, 8], kernel = [1], stride = [1], pad = [0], channels = [8] }"
    text = (HERE / "own.toml").read_text().replace("only = { kernel = [1], stride = [1], pad = [0] }", only)
    (tmp_path / "map.toml").write_text(text.replace('"in_c", "out_c"', '"in_c", "out_c - 1"'))
    with open_provider(f"c:{HERE / 'own.c'}", mapping=tmp_path / "map.toml") as provider:
        found = explore("bits", "conv2d.vjp_x", provider, 20, same=True).found
    assert found is not None
    assert set(found.case.attributes["in_hw"]) <= {4, 8}
    assert found.case.operands["w"].shape == (8, 1, 1, 8)


def test_a_library_is_called_as_the_file_beside_it_says(tmp_path):
    compiler = next((c for c in map(shutil.which, ("cc", "gcc", "clang")) if c), None)
    command = [compiler] if compiler else [sys.executable, "-m", "ziglang", "cc"]
    library = tmp_path / "own.so"
    made = subprocess.run([*command, "-shared", "-fPIC", "-O2", HERE / "own.c", "-o", library], check=False)
    assert made.returncode == 0
    shutil.copy(HERE / "own.toml", tmp_path)
    with open_provider(f"so:{library}") as provider:
        assert explore("bits", "bias_gradient.forward", provider, 10, same=True).found is None


def test_python_is_called_as_the_reference_is(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "from goldgrad import ops\n"
        "def bias_gradient_forward(g):\n"
        "    return ops.bias_gradient.forward(g)\n"
        "class mask:\n"
        "    pack = staticmethod(lambda flags: np.packbits(flags, axis=-1))\n"
    )
    with open_provider(f"py:{tmp_path / 'mine.py'}") as provider:
        assert provider.lacks("bias_gradient.forward") == {"db0"}
        assert explore("bits", "bias_gradient.forward", provider, 10, same=True).found is None
        found = explore("bits", "mask.pack", provider, 20, same=True).found
        assert found is not None
        assert "MASK-S1" in str(found)


# A case that goes wrong


def broken(provider, case, name="bits"):
    with pytest.raises(Mismatch) as found:
        verify(name, case, provider)
    return found.value.fault


@pytest.mark.parametrize(
    ("fault", "where", "says"),
    [
        ("NULL_WRITE", "", "signal"),
        ("TRAP", "", "signal"),
        ("ENDLESS", "", "Hung: no end after"),
        ("NULL_WRITE", "@unicorn", "in gg_mask_pack+0x"),
        ("ENDLESS", "@unicorn", "Hung"),
        ("NULL_WRITE", "@qemu", "in gg_mask_pack+0x"),
        ("ENDLESS", "@qemu", "Hung"),
    ],
)
def test_a_case_that_crashes_or_hangs_fails_alone(fault, where, says):
    here(where)
    with open_provider(f"c:{HERE / 'faulty.c'}{where}", 1.0, flags=[f"-DFAULT={fault}"]) as provider:
        assert says in broken(provider, PACK)
        wider = Case("mask.pack", (np.ones((1, 2, 5), bool),))
        for name in ("bits", "frame", "determinism"):
            verify(name, wider, provider)
        assert says in broken(provider, PACK)


def test_a_crash_is_made_small():
    with open_provider(f"c:{HERE / 'faulty.c'}", flags=["-DFAULT=NULL_WRITE"]) as provider:
        found = explore("bits", "mask.pack", provider, 200, same=True).found
    assert found is not None
    assert found.case.operands["flags"].shape == (1, 3)


@pytest.mark.parametrize("where", EMULATED)
def test_a_write_beyond_the_result_is_seen_from_outside(where):
    with open_provider(f"c:{HERE / 'faulty.c'}{where}", flags=["-DFAULT=BEYOND"]) as provider:
        assert "memory outside result mask changed: 1 bytes past its end" in broken(provider, PACK, "frame")


def test_an_exception_is_the_providers(tmp_path):
    (tmp_path / "mine.py").write_text("def mask_pack(flags):\n    raise KeyError('no such thing')\n")
    with open_provider(f"py:{tmp_path / 'mine.py'}") as provider:
        assert "raised KeyError: 'no such thing'" in broken(provider, PACK)


# What is given wrongly


@pytest.mark.parametrize(
    ("provider", "says"),
    [
        ("rs:lib.so", "names no provider"),
        ("m4@unicorn", "names no provider"),
        ("m7", "write m7@unicorn"),
        ("m7@simics", "there is no emulator 'simics'"),
        ("c:", "names no provider"),
        ("c:none.c", "there is no file none.c"),
        ("so:none.so", "cannot be loaded"),
        ("py:none_such_module", "cannot be imported (ModuleNotFoundError"),
        ("py:json", "has no function of the operator table"),
        (f"c:{HERE / 'own.c'}@simics", "there is no emulator 'simics'"),
        ("elf:none.elf@unicorn", "cannot be read"),
        (f"c:{HERE / 'test.c'}", "there is no file"),
    ],
)
def test_what_is_no_provider_is_refused_in_one_line(provider, says):
    with pytest.raises(GoldgradError) as error:
        open_here(provider)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_c_that_does_not_compile_is_refused_in_one_line(tmp_path):
    (tmp_path / "bad.c").write_text("void gg_mask_pack(void) { return 1 }\n")
    (tmp_path / "other.c").write_text("void other(void) {}\n")
    for name, where, says in [
        ("bad", "", "refuses bad.c"),
        ("bad", "@unicorn", "refuses bad.c"),
        ("other", "", "no function"),
    ]:
        with pytest.raises(GoldgradError) as error:
            open_here(f"c:{tmp_path / name}.c{where}")
        assert says in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[conv3d]\n", "is no function"),
        ('["mask.pack"]\nsymbol = "f"\n', "write symbol, arguments"),
        ('["mask.pack"]\nsymbol = "f"\narguments = "flags"\n', "write a list"),
        ('["mask.pack"]\nsymbol = "f"\narguments = ["flags"]\n', "no argument stands for mask"),
        ('["mask.pack"]\nsymbol = "f"\narguments = ["flags", "mask", "int7: 1"]\n', "has type 'int7'"),
        ('["mask.pack"]\nsymbol = "f"\narguments = ["flags", "mask", "1 +"]\n', "is no expression"),
        ('["mask.pack"]\nsymbol = "f"\narguments = ["flags", "mask", "scratch"]\n', "scratch is an argument"),
        ('["mask.pack"]\nsymbol = "f"\narguments = ["flags", "mask"]\nonly = {kernel = 3}\n', "only has 'kernel' = 3"),
        ("= 1", "cannot be read"),
    ],
)
def test_a_map_that_cannot_be_is_refused(tmp_path, text, says):
    (tmp_path / "map.toml").write_text(text)
    with pytest.raises(GoldgradError) as error:
        Map.read(tmp_path / "map.toml")
    assert says in str(error.value)


def test_an_expression_can_name_numbers_only(tmp_path):
    (tmp_path / "map.toml").write_text('["mask.pack"]\nsymbol = "f"\narguments = ["flags", "mask", "__import__(0)"]\n')
    with pytest.raises(GoldgradError, match="means nothing here"):
        Map.read(tmp_path / "map.toml").call("mask.pack", {"flags": PACK.arrays[0]}, {})


# Templates


@pytest.mark.parametrize("function", sorted(kernels.KERNELS))
def test_the_template_of_an_operator_is_goldgrads_own_order(function, tmp_path):
    """A map names every operand and result, and every number of goldgrad's prototype in its order."""
    (tmp_path / "map.toml").write_text(template(function))
    entry = Map.read(tmp_path / "map.toml").entries[function]
    pointers = [term.pointer for term in entry.terms if term.pointer]
    assert sorted(pointers) == sorted((*FUNCTIONS[function].inputs, *FUNCTIONS[function].outputs))
    assert not entry.lacks


def test_a_shim_is_a_provider_at_once(tmp_path):
    (tmp_path / "shim.c").write_text(shim("conv2d"))
    with open_provider(f"c:{tmp_path / 'shim.c'}") as provider:
        assert provider.provides("conv2d.vjp_w")
        assert explore("bits", "conv2d.forward", provider, 10, same=True).found is not None
