"""Loads the C kernels: the extension module, or a shared library with the same functions.

``GOLDGRAD_KERNELS_LIB`` names a library to load in its place: one built with sanitizers, or somebody's
own kernels behind the same headers (specs/kernel-abi.md).
"""

from __future__ import annotations

import os
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

from ..errors import GoldgradError

REMEDY = "build them with `pip install -e .` (or `make test`) in the project's root"


def _load() -> tuple[Any, Any, str]:
    """Give cffi's ffi and lib, and the file that they came from."""
    path = os.environ.get("GOLDGRAD_KERNELS_LIB")
    if path is None:
        try:
            extension = import_module("goldgrad._kernels")
        except ImportError:
            path = _library_beside_the_package()
        else:
            return extension.ffi, extension.lib, str(extension.__file__)
    ffi = import_module("goldgrad._kernels_abi").ffi

    try:
        return ffi, ffi.dlopen(path), path
    except OSError as fault:
        raise GoldgradError(f"the C kernels cannot be loaded: {fault}; name a shared library, or {REMEDY}") from None


def _library_beside_the_package() -> str:
    """What the build makes on a machine that has no Python.h."""
    for suffix in EXTENSION_SUFFIXES:
        path = Path(__file__).parents[1] / f"_kernels_library{suffix}"
        if path.exists():
            return str(path)
    raise GoldgradError(f"the C kernels are not built; {REMEDY}")


ffi, lib, LIBRARY = _load()
