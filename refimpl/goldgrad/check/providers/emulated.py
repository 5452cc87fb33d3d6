"""Kernels for a Cortex-M7: compiled on the spot, or in an ELF, and called one by one in an emulator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ... import paths
from ...board.aapcs import Word
from ...board.elf import Elf
from ...board.errors import FirmwareError, Hang
from ...board.machine import Machine, UnicornMachine
from ...board.toolchain import BOARD, find_toolchain
from ...errors import GoldgradError
from .host_build import complaint
from .isolated import Crashed, Hung

CODE_AT, DATA_AT = 0x0020_0000, 0x2001_0000
"""Where compiled kernels and their data are linked: flash and SRAM1 of the STM32F746."""
PROGRAM = f"""
SECTIONS {{
  .text {CODE_AT:#x} : {{ KEEP(*(.vectors)) *(.text*) *(.rodata*) }}
  .ARM.exidx : {{ *(.ARM.exidx*) }}
  .data {DATA_AT:#x} : {{ *(.data*) }}
  .bss : {{ *(.bss*) *(COMMON) }}
}}
"""
"""The linker script: a program that starts at reset has its vector table first, and no initialised data of its own."""


def machine(emulator: str, elf: Elf, seconds: float) -> Emulated:
    """The emulated machine with an ELF; a call may take ``seconds``."""
    if emulator == UnicornMachine.name:
        return Emulated(UnicornMachine(elf), seconds)
    from ...board.served import MACHINES

    return Emulated(MACHINES[emulator](elf), seconds)


def firmware(sources: Sequence[Path], flags: Sequence[str], folder: Path, entry: str = "0") -> Path:
    """An ELF of ``sources`` for a Cortex-M7, with what compilers call on their own, gg_exp32 and gg_log32 (ABI-M4)."""
    toolchain = find_toolchain()
    functions = paths.data("kernels_c") / "src" / "portable" / "numerics.c"
    memory = paths.data("renode") / "firmware" / "memory.c"
    objects: list[Path] = []
    for i, source in enumerate([*sources, functions, memory]):
        target = folder / f"{i}.o"
        extra = ("-fno-builtin",) if source == memory else flags
        run = toolchain.run(*BOARD, "-g", *extra, "-c", source, "-o", target)
        if run.returncode:
            raise GoldgradError(f"{toolchain.name} refuses {source.name}: {complaint(run.stderr)}; correct it")
        objects.append(target)
    target = folder / "kernels.elf"
    script = folder / "program.ld"
    script.write_text(PROGRAM)
    places = [f"-Wl,-T,{script}", f"-Wl,-e,{entry}", "-Wl,--no-gc-sections", "-nostdlib", "-static"]
    libraries = ["-lgcc"] if toolchain.name == "gcc" else []
    for chosen in (objects, [o for o in objects if o.stem != str(len(sources))]):  # theirs may be among them
        run = toolchain.run(*places, *chosen, *libraries, "-o", target)
        if run.returncode == 0:
            return target
        if "multiple definition" not in run.stderr and "duplicate symbol" not in run.stderr:
            break
    raise GoldgradError(f"{toolchain.name} cannot link {sources[0].name}: {complaint(run.stderr)}; correct it")


class Emulated:
    """A machine of the board's as the suite wants one: what goes wrong is the provider's fault, and a finding."""

    def __init__(self, machine: Machine, seconds: float) -> None:
        self.machine, self._seconds = machine, seconds
        self.name = machine.name
        self.has, self.place = machine.has, machine.place
        self.constant, self.collect = machine.constant, machine.collect

    def close(self) -> None:
        """End the emulator."""
        self.machine.close()

    def call(self, symbol: str, arguments: Sequence[Word]) -> int:
        """Call a function; :class:`Crashed` for a trap, :class:`Hung` at no end."""
        try:
            return self.machine.call(symbol, arguments, self._seconds)
        except Hang as hang:
            raise Hung(str(hang)) from None
        except FirmwareError as fault:
            raise Crashed(str(fault)) from None
