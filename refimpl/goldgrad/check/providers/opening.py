"""What a user may put under the suite, by name: ``py:``, ``so:``, ``c:``, ``elf:``, and goldgrad's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...conformance.providers import PROVIDERS, Provider
from ...errors import GoldgradError, show
from ...ops import FUNCTIONS
from .calls import Abi, Map

if TYPE_CHECKING:
    from .isolated import Isolated

FORMS = "py:MODULE, so:LIB.so, c:FILE.c, c:FILE.c@unicorn, elf:FW.elf@unicorn, dir:PATH, c or reference"
EMULATORS = ("unicorn", "qemu", "renode")


def open_provider(text: str, seconds: float = 10.0, **options: Any) -> Isolated:
    """The provider that ``text`` names, in a process of its own; ``seconds`` is what one call may take.

    ``mapping`` is a TOML file (see :mod:`~goldgrad.check.providers.calls`), ``flags`` are for the C compiler.
    """
    from .isolated import Isolated

    kind, _, target = text.partition(":")
    if text not in PROVIDERS and (kind not in OPENERS or not target):
        raise GoldgradError(f"{show(text)} names no provider; write {FORMS}")
    return Isolated(text, options, seconds)


def open_here(text: str, mapping: Path | None = None, flags: Sequence[str] = ()) -> Provider:
    """The same in this process: what it runs can take the process with it."""
    if text in PROVIDERS:
        return PROVIDERS[text]()
    kind, _, target = text.partition(":")
    return OPENERS[kind](target, mapping, flags)


def _python(target: str, mapping: Path | None, flags: Sequence[str]) -> Provider:
    from .python import PythonModule

    return PythonModule(target)


def _library(target: str, mapping: Path | None, flags: Sequence[str]) -> Provider:
    from .compiled import Compiled
    from .machine import Host

    path = Path(target)
    calls = _calls(path, mapping)
    provider = Compiled(f"so:{target}", Host(path), calls)
    return _not_empty(provider, f"so:{target}", calls)


def _c(target: str, mapping: Path | None, flags: Sequence[str]) -> Provider:
    from .compiled import Compiled
    from .host_build import host_library, sources_of
    from .machine import Host

    files, at, emulator = target.partition("@")
    sources = sources_of(files)
    calls = _calls(sources[0], mapping)
    if at:
        return _emulated(f"c:{target}", emulator, calls, sources=sources, flags=flags)
    provider = Compiled(f"c:{target}", Host(host_library(sources, flags)), calls)
    return _not_empty(provider, f"c:{target}", calls)


def _elf(target: str, mapping: Path | None, flags: Sequence[str]) -> Provider:
    file, at, emulator = target.rpartition("@")
    path = Path(file if at else target)
    return _emulated(f"elf:{target}", emulator if at else "unicorn", _calls(path, mapping), elf=path)


def _emulated(
    name: str,
    emulator: str,
    calls: Abi | Map,
    elf: Path | None = None,
    sources: Sequence[Path] = (),
    flags: Sequence[str] = (),
) -> Provider:
    from .compiled import Compiled
    from .emulated import machine

    if emulator not in EMULATORS:
        raise GoldgradError(f"{name}: there is no emulator {show(emulator)}; use {', '.join(EMULATORS)}")
    symbols = [symbol for function in FUNCTIONS if (symbol := calls.symbol(function))]
    provider = Compiled(name, machine(emulator, elf, sources, flags, symbols), calls)
    return _not_empty(provider, name, calls)


OPENERS: dict[str, Callable[[str, Path | None, Sequence[str]], Provider]] = {
    "py": _python,
    "so": _library,
    "c": _c,
    "elf": _elf,
}


def calls_of(text: str, mapping: Path | None) -> Abi | Map | None:
    """How the provider's functions are called from C; None if they are not."""
    kind, _, target = text.partition(":")
    if text == "c":
        return Abi()
    if kind not in ("c", "so", "elf"):
        return None
    return _calls(Path(target.partition("@")[0].partition(",")[0]), mapping)


def _calls(beside: Path, mapping: Path | None) -> Abi | Map:
    """The map that is named, or lies beside the file under its name; else goldgrad's ABI."""
    found = mapping or beside.with_suffix(".toml")
    return Map.read(found) if mapping or found.is_file() else Abi()


def _not_empty(provider: Provider, name: str, calls: Abi | Map) -> Provider:
    if not any(provider.provides(function) for function in FUNCTIONS):
        some = ", ".join([s for f in FUNCTIONS if (s := calls.symbol(f))][:3])
        raise GoldgradError(
            f"{name} has no function that is asked for ({some} ...); --map FILE.toml says how yours are called"
        )
    return provider
