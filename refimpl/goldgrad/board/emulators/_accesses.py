"""What memory does to one call in Unicorn, access by access (TIM-S6, TIM-S7): memory.h in Python.

Unicorn's hooks for reads can spoil the state of an IT block.  So the loads and stores of a call are found in its code,
which a run before has shown, and Unicorn tells before each; registers then say where it goes.
"""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from capstone import arm

from ...rules import rule
from ..errors import EmulatorDied
from ..timing.decode import disassembler
from ..timing.edges import Accesses, Block, fetched
from ..timing.memory import Place
from .unicorn import BLOCK_HOOK, PAGE, engine_library, hook_blocks

LINE = 32
NOWHERE = -1
DATA_SETS, DATA_WAYS = 32, 4
CODE_SETS, CODE_WAYS = 64, 2
ART_LINES = 64


class Cache:
    """Lines in sets; of a set the one goes that was not used for longest."""

    def __init__(self, sets: int, ways: int) -> None:
        self._sets = [[-1] * ways for _ in range(sets)]

    def missed(self, line: int, brings: bool = True) -> bool:
        """Whether a line was not there; only what ``brings`` has it there from then on."""
        lines = self._sets[line % len(self._sets)]
        if lines[0] == line:
            return False
        absent = line not in lines
        if absent and not brings:
            return True
        lines.remove(lines[-1] if absent else line)
        lines.insert(0, line)
        return absent


class Access(NamedTuple):
    """How a load or store makes its addresses, and of how many accesses it consists."""

    base: str
    added: str
    shift: int
    offset: int
    size: int
    words: int
    is_store: bool


SIZES = {"b": 1, "h": 2, "d": 4}
LISTS = {
    **dict.fromkeys(("ldm", "pop", "vldmia", "vldm", "vpop"), (False, False)),
    **dict.fromkeys(("ldmdb", "vldmdb"), (False, True)),
    **dict.fromkeys(("stm", "vstmia", "vstm"), (True, False)),
    **dict.fromkeys(("stmdb", "push", "vstmdb", "vpush"), (True, True)),
}
"""Loads and stores of many registers: whether it stores, and whether it goes down from its base."""
STACKED = ("push", "pop", "vpush", "vpop")


def access_of(found: Any) -> Access | None:
    """How an instruction of capstone's goes to memory; None if it does not, or only to where it branches."""
    name = found.insn_name()
    if name in LISTS:
        is_store, down = LISTS[name]
        names = [found.reg_name(operand.reg) for operand in found.operands]
        base = "sp" if name in STACKED else names.pop(0)
        words = sum(2 if register.startswith("d") else 1 for register in names)
        return Access(base, "", 0, -4 * words if down else 0, 4, words, is_store)
    is_store = name.startswith(("str", "vstr"))
    memory = [operand for operand in found.operands if operand.type == arm.ARM_OP_MEM]
    if not memory or not (is_store or name.startswith(("ldr", "vldr"))):
        return None
    operand = memory[0]
    base = found.reg_name(operand.mem.base)
    offset = operand.mem.disp
    if base == "pc":
        base, offset = "", ((found.address + 4) & ~3) + offset
    kind = name.removeprefix("v").removeprefix("str" if is_store else "ldr").removeprefix("ex").removeprefix("s")[:1]
    double = name in ("ldrd", "strd") or (name in ("vldr", "vstr") and found.op_str.startswith("d"))
    index = found.reg_name(operand.mem.index) if operand.mem.index else ""
    return Access(base, index, operand.shift.value, offset, SIZES.get(kind, 4), 2 if double else 1, is_store)


class CallAccesses:
    """Watches the accesses of a call in ``uc``, whose ``blocks`` are known from a run before."""

    def __init__(
        self, uc: Any, blocks: Iterable[Block], code: Callable[[int, int], bytes], place: Callable[[int], Place]
    ) -> None:
        """``code`` gives the bytes at an address, ``place`` what it is."""
        self._place = place
        self._counts: dict[int, Counter[str]] = {}
        self._places: dict[int, Place] = {}
        self._data, self._code, self._art = (
            Cache(DATA_SETS, DATA_WAYS),
            Cache(CODE_SETS, CODE_WAYS),
            Cache(1, ART_LINES),
        )
        self._plans: dict[int, tuple[Access, int, int, int]] = {}
        registers = _registers()
        in_flash = False
        for block in sorted(set(blocks)):
            before = -1
            for found in disassembler().disasm(code(*block), block.start):
                access = access_of(found)
                if access:
                    base, added = (registers.get(name, -1) for name in (access.base, access.added))
                    self._plans[found.address] = (access, base, added, before)
                before = found.address
            in_flash |= self._placed(block.start) in (Place.FLASH, Place.FLASH_ITCM)
        self._last = {before: NOWHERE for *_, before in self._plans.values() if before in self._plans}
        """Where the latest access of each instruction went that stands right before another with one."""
        self._hook(uc, in_flash)

    def _hook(self, uc: Any, in_flash: bool) -> None:
        from unicorn.unicorn_const import UC_HOOK_CODE

        engine = ctypes.CDLL(str(engine_library()))
        read, value, handle = engine.uc_reg_read, ctypes.c_uint32(), uc._uch
        where = ctypes.byref(value)
        plans, accessed = self._plans, self._accessed

        def on_access(_uc: int, at: int, _size: int, _data: int) -> None:
            access, base, added, before = plans[at]
            address = access.offset
            if base >= 0:
                read(handle, base, where)
                address += value.value
            if added >= 0:
                read(handle, added, where)
                address += value.value << access.shift
            accessed(at, before, address & 0xFFFF_FFFF, access)

        def on_block(_uc: int, start: int, size: int, _data: int) -> None:
            self._fetched(start, size)

        self._hooks = [BLOCK_HOOK(on_access), BLOCK_HOOK(on_block)]
        function = ctypes.cast(self._hooks[0], ctypes.c_void_p)
        for at in plans:
            one = ctypes.c_uint64(at)
            status = engine.uc_hook_add(
                handle, ctypes.byref(ctypes.c_size_t()), ctypes.c_int(UC_HOOK_CODE), function, None, one, one
            )
            if status:
                raise EmulatorDied(f"unicorn takes no hook for {at:#x} (error {status}); time it with --memory dtcm")
        if in_flash:
            hook_blocks(engine, uc, self._hooks[1], None)

    @rule("TIM-S6", "TIM-S7")
    def _accessed(self, pc: int, before: int, address: int, access: Access) -> None:
        loads, last = not access.is_store, self._last
        for at in range(address, address + 4 * access.words, 4):
            if loads:
                if at & access.size - 1:
                    self._counted(pc, "unaligned")
                if before in last and last[before] != NOWHERE and not (last[before] ^ at) & 4:
                    self._counted(pc, "same_bank")
            if pc in last:
                last[pc] = at
            place = self._placed(at)
            if place in (Place.SRAM, Place.FLASH):
                if self._data.missed(at // LINE, loads) and loads:
                    self._counted(pc, "sram" if place is Place.SRAM else "flash")
            elif place is Place.FLASH_ITCM and self._art.missed(at // LINE):
                self._counted(pc, "flash_itcm")

    def _counted(self, pc: int, what: str) -> None:
        self._counts.setdefault(pc, Counter())[what] += 1

    def _placed(self, address: int) -> Place:
        page = address // PAGE
        found = self._places.get(page)
        if found is None:
            found = self._places[page] = self._place(address)
        return found

    @rule("TIM-S7")
    def _fetched(self, start: int, size: int) -> None:
        place = self._placed(start)
        if place not in (Place.FLASH, Place.FLASH_ITCM):
            return
        cache, name = (self._code, "flash") if place is Place.FLASH else (self._art, "flash_itcm")
        for line in range(start // LINE, (start + size - 1) // LINE + 1):
            if cache.missed(line):
                self._counted(fetched(start), name)

    def take(self, region: int) -> dict[tuple[int, int], Accesses]:
        """What was counted, as if all had been in one region."""
        return {(region, pc): Accesses(**counts) for pc, counts in self._counts.items() if counts.total()}


def _registers() -> dict[str, int]:
    """Unicorn's numbers, by capstone's names."""
    from unicorn import arm_const

    names = {f"r{i}": f"R{i}" for i in range(13)} | {"sb": "R9", "sl": "R10", "fp": "R11", "ip": "R12"}
    names |= {"sp": "SP", "lr": "LR"}
    return {name: getattr(arm_const, f"UC_ARM_REG_{theirs}") for name, theirs in names.items()}
