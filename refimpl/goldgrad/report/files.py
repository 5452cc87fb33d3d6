"""Writing what was found: all of it, when everything has been computed, or nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ..errors import GoldgradError, show

REMEDY = "name another file"


def check_outputs(*files: Path | None) -> None:
    """Raise if a file could not be written: told before the work is done rather than after."""
    named = [file for file in files if file is not None]
    for position, file in enumerate(named):
        try:
            fault = "is named twice" if file in named[:position] else _fault(file)
        except OSError as error:  # a name that is too long, say
            fault = f"cannot be written ({error.strerror})"
        if fault:
            raise GoldgradError(f"{show(str(file))} {fault}; {REMEDY}")


def _fault(file: Path) -> str | None:
    if file.is_dir():
        return "is a folder"
    there = next(folder for folder in file.absolute().parents if folder.exists())
    if not there.is_dir():
        return f"cannot be written ({there.name} is no folder)"
    if not os.access(file if file.exists() else there, os.W_OK):
        return "cannot be written (permission denied)"
    return None


def write_files(contents: Mapping[Path, bytes]) -> None:
    """Write the files, making folders as needed; if one cannot be written, those that are new are removed again."""
    new = [file for file in contents if not file.exists()]
    try:
        for file, content in contents.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    except OSError as error:
        for file in new:
            with suppress(OSError):
                file.unlink()
        raise GoldgradError(f"the result cannot be written ({error}); {REMEDY}") from None


def as_json(content: object) -> bytes:
    """The text of a JSON file."""
    return (json.dumps(content, indent=1) + "\n").encode()


def write_json(path: Path, content: object) -> None:
    """Write ``content``, making folders as needed; the error is one line."""
    write_files({path: as_json(content)})
