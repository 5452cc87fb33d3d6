"""The build backend: setuptools', plus a C compiler from PyPI (ziglang) where the machine has none."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403  (a backend is its hooks)

COMPILERS = ("cc", "gcc", "clang")


def _machine_compiler() -> str | None:
    return os.environ.get("CC") or next(filter(shutil.which, COMPILERS), None)


def _use_a_compiler() -> None:
    """Point setuptools at a compiler: the machine's own, or zig cc."""
    os.environ["CC"] = _machine_compiler() or shlex.join([sys.executable, "-m", "ziglang", "cc"])


def _requirements() -> list[str]:
    return [] if _machine_compiler() else ["ziglang>=0.13"]


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    return build_meta.get_requires_for_build_wheel(config_settings) + _requirements()


def get_requires_for_build_editable(config_settings: Any = None) -> list[str]:
    return build_meta.get_requires_for_build_editable(config_settings) + _requirements()


def build_wheel(*arguments: Any, **keywords: Any) -> str:
    _use_a_compiler()
    return build_meta.build_wheel(*arguments, **keywords)


def build_editable(*arguments: Any, **keywords: Any) -> str:
    _use_a_compiler()
    return build_meta.build_editable(*arguments, **keywords)
