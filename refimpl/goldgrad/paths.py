"""Where the folders beside the package are: ``specs``, ``kernels_c`` and ``renode``.

A checkout has them beside ``refimpl``; an installed wheel carries a copy of each.
"""

from __future__ import annotations

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
