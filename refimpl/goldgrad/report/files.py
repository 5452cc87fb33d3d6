"""Writing what was found."""

from __future__ import annotations

import json
from pathlib import Path

from ..errors import GoldgradError


def write_json(path: Path, content: object) -> None:
    """Write ``content``, making folders as needed; the error is one line."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise GoldgradError(f"the result cannot be written ({error}); name another file") from None
