"""``python -m goldgrad.conformance 'CASE'``: repeat a failure from the line that it printed."""

from __future__ import annotations

import argparse
import sys

from ..errors import GoldgradError
from .providers import PROVIDERS
from .repro import repro


def main() -> int:
    """0 if the case holds, 1 if it does not, 2 if the text is no case."""
    parser = argparse.ArgumentParser(prog="python -m goldgrad.conformance", description=__doc__)
    parser.add_argument("case", help="the case, as a failure prints it")
    parser.add_argument("--provider", default="c", help=f"who is checked: {', '.join(PROVIDERS)} (default: c)")
    arguments = parser.parse_args()
    try:
        return 0 if repro(arguments.case, arguments.provider) else 1
    except GoldgradError as error:
        print(error, file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
