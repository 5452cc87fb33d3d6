"""The command line: a function a command, each importing what it needs when it runs."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ._version import __version__
from .errors import GoldgradError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def main() -> None:
    """Run a command; a fault in what the user gave is one line on stderr and its exit code."""
    try:
        app()
    except GoldgradError as error:
        print(f"goldgrad: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"goldgrad {__version__}")
        raise typer.Exit


@app.callback()
def goldgrad(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """The golden model of training on microcontrollers."""


@app.command()
def spec(
    rule: Annotated[str | None, typer.Argument(help="Show this rule, for example CONV-S2.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 and list each fault, if there is one.")] = False,
) -> None:
    """Table of the operators, from the sources: specified, interpreted, in C, tested."""
    from .report import ties

    if check:
        raise typer.Exit(ties.check())
    raise typer.Exit(ties.show_rule(rule) if rule else ties.show_table())
