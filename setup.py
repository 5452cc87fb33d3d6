"""Only what pyproject.toml cannot say: how the C kernels are built, and which folders an installed package carries."""

import os
import shutil
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_py import build_py

sys.path.insert(0, "kernels_c/python")
from ffi import EXTENSION

CARRIED = ("specs", "kernels_c", "renode")


class BuildPy(build_py):
    """Copies the folders that goldgrad.paths finds: into a wheel, not into a checkout."""

    def run(self) -> None:
        """Build the package, then copy."""
        super().run()
        for folder in [] if self.editable_mode else filter(os.path.exists, CARRIED):
            target = Path(self.build_lib, "goldgrad", "_data", folder)
            shutil.copytree(folder, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))


def has_python_h() -> bool:
    """Whether a C extension can be built; Debian's python3 comes without the header."""
    return Path(sysconfig.get_path("include"), "Python.h").exists() and "GOLDGRAD_NO_PYTHON_H" not in os.environ


modules = {"cffi_modules": ["kernels_c/python/ffi.py:abi"]}
if has_python_h():
    modules["cffi_modules"].append("kernels_c/python/ffi.py:api")
else:
    modules["ext_modules"] = [Extension("goldgrad._kernels_library", **EXTENSION)]  # a library that needs no Python
setup(cmdclass={"build_py": BuildPy}, **modules)
