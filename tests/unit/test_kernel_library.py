"""Where the C kernels and the folders beside the package come from."""

import subprocess
import sys
from pathlib import Path

import pytest
from compilers import COMPILERS, SCRATCH, SOURCES, shared_library

from goldgrad import GoldgradError, paths
from goldgrad.kernels import _library

USE = """
import numpy as np
from goldgrad import kernels, ops
from goldgrad.kernels import _library
g = np.linspace(-1, 1, 24, dtype=np.float32).reshape(1, 2, 3, 4)
assert kernels.bias_gradient.forward(g).tobytes() == ops.bias_gradient.forward(g).tobytes()
print(_library.LIBRARY)
"""


ASK = """
from goldgrad.errors import GoldgradError
from goldgrad.kernels import describe, scratch_bytes
from goldgrad.ops import Type
types = {"x": Type((1, 1, 1, 1), "int8"), "w": Type((1, 1, 1, 1), "int8")}
call = describe("conv2d.forward", types, {"x_zero": 0, "y_zero": 0})
print(scratch_bytes(call))
try:
    scratch_bytes(call, "m7")
except GoldgradError as error:
    print(error)
"""


def use(monkeypatch: pytest.MonkeyPatch, library: Path) -> subprocess.CompletedProcess[str]:
    monkeypatch.setenv("GOLDGRAD_KERNELS_LIB", str(library))
    return subprocess.run([sys.executable, "-c", USE], capture_output=True, text=True, check=False)


def test_another_library_takes_the_kernels_place(monkeypatch, tmp_path):
    here = next(compiler for compiler in COMPILERS if not compiler.board and not compiler.missing)
    library = tmp_path / "kernels.so"
    shared_library(here, library, "-fno-sanitize=undefined")
    run = use(monkeypatch, library)
    assert (run.stdout.strip(), run.stderr) == (str(library), "")


@pytest.mark.rules("ABI-S5")
def test_a_library_that_does_not_know_another_cores_scratch_is_named(monkeypatch, tmp_path):
    here = next(compiler for compiler in COMPILERS if not compiler.board and not compiler.missing)
    library = tmp_path / "kernels.so"
    sources = [source for source in SOURCES if source != SCRATCH]
    shared_library(here, library, "-fno-sanitize=undefined", sources=sources)
    monkeypatch.setenv("GOLDGRAD_KERNELS_LIB", str(library))
    run = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=False)
    assert run.stdout.startswith("0\n")
    assert "kernels.so has no gg_m7_conv2d_forward_scratch_bytes; link" in run.stdout, run.stderr


@pytest.mark.parametrize("content", [None, b"not a library"], ids=["missing", "no library"])
def test_a_library_that_cannot_be_loaded_is_named_with_a_remedy(monkeypatch, tmp_path, content):
    library = tmp_path / "kernels.so"
    if content is not None:
        library.write_bytes(content)
    monkeypatch.setenv("GOLDGRAD_KERNELS_LIB", str(library))
    with pytest.raises(GoldgradError, match=r"kernels\.so.*pip install") as caught:
        _library._load()
    assert "\n" not in str(caught.value)


def test_without_an_extension_module_the_library_beside_the_package_is_wanted(monkeypatch):
    monkeypatch.delenv("GOLDGRAD_KERNELS_LIB", raising=False)
    monkeypatch.setitem(sys.modules, "goldgrad._kernels", None)  # what no Python.h at build time leads to
    monkeypatch.setattr(_library, "__file__", "/nowhere/goldgrad/kernels/_library.py")
    with pytest.raises(GoldgradError, match=r"not built.*pip install"):
        _library._load()


def test_folders_are_the_checkouts():
    root = Path(__file__).resolve().parents[2]
    assert paths.data("specs") == root / "specs"
    assert list(paths.data("kernels_c").glob("include/goldgrad/*.h"))


def test_an_installed_package_has_its_own_copy(monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "_CHECKOUT", tmp_path)
    monkeypatch.setattr(paths, "_PACKAGE", tmp_path / "goldgrad")
    (tmp_path / "goldgrad" / "_data" / "specs").mkdir(parents=True)
    assert paths.data("specs") == tmp_path / "goldgrad" / "_data" / "specs"
    with pytest.raises(GoldgradError, match="kernels_c is missing"):
        paths.data("kernels_c")
