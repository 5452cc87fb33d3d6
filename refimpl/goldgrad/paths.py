"""Where the folders beside the package are, ``specs``, ``kernels_c`` and ``renode``, and one for what nobody keeps.

A checkout has them beside ``refimpl``; an installed wheel carries a copy of each.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

from .errors import GoldgradError

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parents[1]


def data(name: str) -> Path:
    """The folder ``name``: the checkout's if the package runs from one, else the wheel's copy."""
    root = _CHECKOUT if (_CHECKOUT / "pyproject.toml").exists() else _PACKAGE / "_data"
    folder = root / name
    if not folder.exists():
        raise GoldgradError(f"{folder} is missing; install goldgrad again, or run from a whole checkout")
    return folder


@functools.cache
def passing() -> Path:
    """A folder of this process, for what it builds once and nobody keeps: it goes when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="goldgrad-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
