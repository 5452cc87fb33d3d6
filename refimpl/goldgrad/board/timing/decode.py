"""Thumb code as the scheduler needs it: which registers are taken as what, and which row of the table applies."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..errors import BoardError
from .table import UNKNOWN, Row, Table

try:
    import capstone
    from capstone import arm
except ModuleNotFoundError:
    raise BoardError("capstone is not installed; pip install 'goldgrad[board]'") from None

FLAGS, FP_FLAGS = "flags", "fpflags"
"""Registers of their own here."""
DOUBLES = ("vldr", "vstr", "vmov")
"""What may name a register of 64 bits on a core whose FPU is of single precision."""
CALLS = ("bl", "blx")


@dataclass(frozen=True)
class Instruction:
    """One instruction, with all that decides when it can issue."""

    address: int
    size: int
    text: str
    row: Row
    reads: tuple[tuple[str, str], ...]
    """Registers, and the operand that each is."""
    writes: tuple[tuple[str, str, int], ...]
    """Registers, the result that each is, and how many cycles after the issue it is made."""
    uses: frozenset[str]
    can_be_early: frozenset[str]
    cycles: int
    place: tuple[str, int] | None
    """Base register and displacement of a load or store, if these alone say where."""
    bytes: int
    branch: str
    """How it leaves: empty, "direct", "conditional" on flags, "compared" with zero, or "indirect"."""

    @property
    def end(self) -> int:
        """The address behind it."""
        return self.address + self.size


@functools.cache
def disassembler() -> Any:
    """Capstone, for what a Cortex-M7 executes."""
    mode = capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS | capstone.CS_MODE_V8  # V8: VSEL and VRINT of FPv5
    found = capstone.Cs(capstone.CS_ARCH_ARM, mode)
    found.detail = True
    return found


def decode(code: bytes, address: int, table: Table) -> list[Instruction]:
    """Decode a stretch of Thumb code that lies at ``address``; what is no instruction becomes rows of ``UNKNOWN``."""
    return list(_decode(code, address, table))


def _decode(code: bytes, address: int, table: Table) -> Iterator[Instruction]:
    at = 0
    while at + 1 < len(code):
        for found in disassembler().disasm(code[at:], address + at):
            yield _instruction(found, table)
            at += found.size
        if at + 1 < len(code):
            size = 4 if code[at + 1] >= 0xE8 else 2
            yield _unknown(address + at, size, ".short " + code[at : at + 2][::-1].hex())
            at += size


def _unknown(address: int, size: int, text: str) -> Instruction:
    return Instruction(address, size, text, UNKNOWN, (), (), frozenset(), frozenset(), 1, None, 0, "")


class _Operands:
    """What one instruction reads and writes, gathered from its operands."""

    def __init__(self, found: Any) -> None:
        self.found = found
        self.reads: list[tuple[str, str]] = []
        self.writes: list[tuple[str, str, int]] = []
        self.place: tuple[str, int] | None = None
        self.names = [self.register(o.reg) if o.type == arm.ARM_OP_REG else "" for o in found.operands]

    def register(self, number: int) -> str:
        return str(self.found.reg_name(number))

    def read(self, name: str, kind: str) -> None:
        self.reads += [(part, kind) for part in _singles(name) if part != "pc"]

    def write(self, name: str, result: str, later: int = 0) -> None:
        self.writes += [(part, result, later) for part in _singles(name) if part != "pc"]

    def address(self, operand: Any) -> None:
        memory = operand.mem
        base = self.register(memory.base)
        index = self.register(memory.index) if memory.index else ""
        self.read(base, "agu")
        if index:
            self.read(index, "agu")
        displacement = memory.disp
        if base == "pc":
            displacement += (self.found.address + 4) & ~3
        last = self.found.operands[-1]
        post = last.type == arm.ARM_OP_IMM and last is not operand
        if not index:
            self.place = (base, 0 if post else displacement)
        if self.found.writeback:
            self.write(base, "writeback")


def _singles(name: str) -> list[str]:
    """A register of 64 bits as its two halves."""
    if name.startswith("d") and name[1:].isdigit():
        return [f"s{2 * int(name[1:])}", f"s{2 * int(name[1:]) + 1}"]
    return [name]


def _instruction(found: Any, table: Table) -> Instruction:
    name = found.insn_name()
    text = f"{found.mnemonic} {found.op_str}".strip()
    operands = _Operands(found)
    row = _row(name, operands, table)
    if row is UNKNOWN:
        return _unknown(found.address, found.size, text)
    uses, early, cycles, count = row.uses, row.early, row.cycles, row.bytes
    if "list" in row.operands:
        words = _list(row, operands)
        cycles, count = -(-words // 2), 4 * words
    else:
        shifted = _shift(found, row, operands)
        if shifted:
            uses, early = uses | {"shifter"}, frozenset()
    if name in ("ldrb", "ldrsb", "strb"):
        count = 1
    elif name in ("strh",):
        count = 2
    branch = _branch(found, name, operands)
    _conditions(found, name, row, operands)
    if name in CALLS:
        operands.write("lr", "late")
    return Instruction(
        found.address,
        found.size,
        text,
        row,
        tuple(operands.reads),
        tuple(operands.writes),
        uses | ({"branch"} if branch else set()),
        early,
        cycles,
        operands.place,
        count,
        branch,
    )


def _row(name: str, operands: _Operands, table: Table) -> Row:
    doubles = [register for register in operands.names if register.startswith("d")]
    if name == "vmov":
        return _move(operands, table)
    if name in ("vldr", "vstr") and doubles:
        return table.row("fp-load-many" if name == "vldr" else "fp-store-many")
    row = table.by_mnemonic.get(name, UNKNOWN)
    if doubles and "list" not in row.operands:
        return UNKNOWN  # arithmetic of double precision
    return row


def _move(operands: _Operands, table: Table) -> Row:
    """VMOV is many instructions; operands tell which."""
    names = operands.names
    core = [not name.startswith(("s", "d")) or name == "sp" for name in names if name]
    if len(core) < 2:
        return table.row("fp-constant")
    if len(core) > 2:
        return table.row("two-to-core" if core[0] else "two-to-fp")
    if any(name.startswith("d") for name in names):
        return UNKNOWN
    if core[0]:
        return table.row("to-core")
    return table.row("to-fp" if core[1] else "fp-move")


def _shift(found: Any, row: Row, operands: _Operands) -> bool:
    """Operands in their places; whether the early shifter makes one of them."""
    shifted = _rotated_constant(found) and row.id in ("add", "alu", "compare")
    inline = [
        i
        for i, operand in enumerate(found.operands)
        if operand.type == arm.ARM_OP_REG
        and operand.shift.type
        and row.id not in ("shift", "extend", "extend-add", "pkhtb")
    ]
    names = operands.names
    roles = row.operands
    if row.id in ("two-to-fp", "two-to-core"):  # two or three operands: a register of 64 bits is one
        written = sum(name.startswith("r") == names[0].startswith("r") for name in names)
        roles = ("=",) * written + (roles[-1],) * (len(names) - written)
    for i, (operand, role) in enumerate(zip(found.operands, roles, strict=False)):
        if operand.type == arm.ARM_OP_MEM:
            operands.address(operand)
        elif operand.type == arm.ARM_OP_REG and role != "free":
            kind = role.lstrip("+")
            if role.startswith("+") or (role == "=" and operand.access == capstone.CS_AC_READ | capstone.CS_AC_WRITE):
                operands.read(names[i], kind if kind != "=" else "beside" if inline else "late")
            if role == "=" or role.startswith("+"):
                operands.write(names[i], row.result)
            elif i in inline:
                operands.read(names[i], "shift")
            else:
                operands.read(names[i], "beside" if inline and kind == "late" else kind)
    for operand in found.operands[len(roles) :]:  # an address behind what the row names
        if operand.type == arm.ARM_OP_MEM:
            operands.address(operand)
    return bool(inline) or shifted


def _rotated_constant(found: Any) -> bool:
    """A constant that is eight bits, rotated (Arm DDI 0403, A5.3.2): not one made of copies of a byte."""
    if found.size != 4:
        return False
    first, second = int.from_bytes(found.bytes[:2], "little"), int.from_bytes(found.bytes[2:], "little")
    if first & 0xFA00 != 0xF000 or second & 0x8000:
        return False
    return bool(first & 0x0400 or second & 0x4000)


def _list(row: Row, operands: _Operands) -> int:
    """Registers of LDM, STM, PUSH, POP, VLDM and the like; how many words they have."""
    found, names = operands.found, list(operands.names)
    name = found.insn_name()
    memory = [operand for operand in found.operands if operand.type == arm.ARM_OP_MEM]
    if memory:  # VLDR and VSTR of 64 bits
        operands.address(memory[0])
    else:
        base = "sp" if name in ("push", "pop", "vpush", "vpop") else names.pop(0)
        operands.read(base, "agu")
        if (base == "sp" and name in ("push", "pop", "vpush", "vpop")) or found.writeback:
            operands.write(base, "writeback")
        if row.memory and name not in ("stmdb", "push", "vpush", "vstmdb", "ldmdb", "vldmdb"):
            operands.place = (base, 0)
    words = [part for register in names if register for part in _singles(register)]
    for i, register in enumerate(words):
        if row.memory == "load":
            operands.write(register, row.result, i // 2)
        else:
            operands.read(register, "fstore" if register.startswith("s") and register != "sp" else "store")
    return len(words)


def _branch(found: Any, name: str, operands: _Operands) -> str:
    if name in ("cbz", "cbnz"):
        return "compared"
    if name not in ("b", "bl", "bx", "blx", "tbb", "tbh") and "pc" not in _written(name, operands):
        return ""
    if found.cc not in (arm.ARM_CC_AL, arm.ARM_CC_INVALID):
        return "conditional"
    return "direct" if name in ("b", "bl") else "indirect"


def _written(name: str, operands: _Operands) -> set[str]:
    if name in ("pop", "ldm", "ldmdb"):
        return set(operands.names)
    return {operands.names[0]} if operands.names and name in ("ldr", "mov", "add", "movs") else set()


def _conditions(found: Any, name: str, row: Row, operands: _Operands) -> None:
    """Flags that are taken and made."""
    conditional = found.cc not in (arm.ARM_CC_AL, arm.ARM_CC_INVALID) and name != "it"
    carries = name in ("adc", "sbc", "rrx", "sel") or name.startswith("vsel")
    if (conditional and "branch" not in row.uses) or carries:
        operands.reads.append((FLAGS, "flags"))
    if found.update_flags or row.id == "compare" or name in ("fmstat",):
        operands.writes.append((FLAGS, "setflags", 0))
    if row.id == "fp-compare":
        operands.writes.append((FP_FLAGS, "fpflags", 0))
    if name in ("vmrs", "fmstat"):
        operands.reads.append((FP_FLAGS, "tocore"))
