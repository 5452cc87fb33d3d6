"""What a user may put under the suite, by name: ``py:``, ``so:``, ``c:``, ``elf:``, and goldgrad's own."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...conformance.providers import PROVIDERS, Provider
from ...errors import GoldgradError, show
from ...kernels import SETS
from ...ops import FUNCTIONS
from ..results import FINDINGS
from .calls import Abi, Map

if TYPE_CHECKING:
    from ...board.elf import Elf
    from .isolated import Isolated

FORMS = (
    "py:MODULE, so:LIB.so, c:FILE.c, c:FILE.c@unicorn, elf:FW.elf@unicorn (or @qemu, @renode), dir:PATH, "
    "or goldgrad's own: c, m7@unicorn, portable@unicorn, reference"
)


EMULATOR_SECONDS = 120.0
"""What starting an emulator may take, and ending a call in it."""


def open_provider(text: str, seconds: float = 10.0, **options: Any) -> Isolated:
    """The provider that ``text`` names, in a process of its own; ``seconds`` is what one call may take.

    ``mapping`` is a TOML file (see :mod:`~goldgrad.check.providers.calls`), ``flags`` are for the C compiler.
    """
    from .isolated import Isolated

    _opener(text)
    is_emulated = "@" in text or text.startswith("elf:")
    patience = seconds + EMULATOR_SECONDS if is_emulated else seconds  # an emulator ends a call itself
    return Isolated(text, {**options, "seconds": seconds}, patience)


def open_here(text: str, mapping: Path | None = None, flags: Sequence[str] = (), seconds: float = 10.0) -> Provider:
    """The same in this process: what it runs can take the process with it."""
    return _opener(text)(Options(mapping, tuple(flags), seconds))


def _opener(text: str) -> Callable[[Options], Provider]:
    """What opens the provider of this name; the error says what names there are."""
    if text in PROVIDERS:
        return lambda options: PROVIDERS[text]()
    kernels, at, emulator = text.partition("@")
    if kernels in SETS:
        if not at:
            raise GoldgradError(f"the kernels {kernels} are linked for a Cortex-M7; write {kernels}@unicorn")
        return lambda options: _emulated(text, emulator, lambda: own_kernels(kernels), Abi(), options)
    kind, _, target = text.partition(":")
    if kind not in OPENERS or not target:
        raise GoldgradError(f"{show(text)} names no provider; write {FORMS}")
    return lambda options: OPENERS[kind](target, options)


@dataclass(frozen=True)
class Options:
    """What a provider is opened with."""

    mapping: Path | None
    flags: tuple[str, ...]
    seconds: float
    """What a call may take where the provider itself can tell."""


def _python(target: str, options: Options) -> Provider:
    from .python import PythonModule

    return PythonModule(target)


def _library(target: str, options: Options) -> Provider:
    from .compiled import Compiled
    from .machine import Host

    path = Path(target)
    calls = _calls(path, options.mapping)
    provider = Compiled(f"so:{target}", Host(path), calls)
    return _not_empty(provider, f"so:{target}", calls)


def _c(target: str, options: Options) -> Provider:
    from .compiled import Compiled
    from .host_build import host_library, sources_of
    from .machine import Host

    files, at, emulator = target.partition("@")
    sources = sources_of(files)
    calls = _calls(sources[0], options.mapping)
    with tempfile.TemporaryDirectory(prefix="goldgrad-check-") as name:
        folder = Path(name)  # what was compiled is in memory when it goes
        if at:
            from ...board.elf import Elf
            from .emulated import firmware

            built = lambda: Elf.read(firmware(sources, options.flags, folder))  # noqa: E731  (once the emulator is there)
            return _emulated(f"c:{target}", emulator, built, calls, options)
        provider = Compiled(f"c:{target}", Host(host_library(sources, options.flags, folder)), calls)
        return _not_empty(provider, f"c:{target}", calls)


def _elf(target: str, options: Options) -> Provider:
    from ...board.elf import Elf

    file, at, emulator = target.rpartition("@")
    path = Path(file if at else target)
    calls = _calls(path, options.mapping)
    return _emulated(f"elf:{target}", emulator if at else "unicorn", lambda: Elf.read(path), calls, options)


def own_kernels(kernels: str) -> Elf:
    """A set of goldgrad's, whose objects are kept beside the findings."""
    from ...board.kernels import kernels_elf

    return kernels_elf(kernels, folder=FINDINGS / "kernels")


def _emulated(name: str, emulator: str, elf: Callable[[], Elf], calls: Abi | Map, options: Options) -> Provider:
    """Functions of an ELF in an emulator, which is looked for before the ELF is made."""
    from ...board.emulators import BACKENDS, find_emulator
    from .compiled import Compiled
    from .emulated import machine

    if emulator not in BACKENDS:
        raise GoldgradError(f"{name}: there is no emulator {show(emulator)}; use {', '.join(BACKENDS)}")
    find_emulator(emulator)
    provider = Compiled(name, machine(emulator, elf(), options.seconds), calls)
    return _not_empty(provider, name, calls)


OPENERS: dict[str, Callable[[str, Options], Provider]] = {
    "py": _python,
    "so": _library,
    "c": _c,
    "elf": _elf,
}


def calls_of(text: str, mapping: Path | None) -> Abi | Map | None:
    """How the provider's functions are called from C; None if they are not."""
    kind, _, target = text.partition(":")
    if text == "c" or text.partition("@")[0] in SETS:
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
