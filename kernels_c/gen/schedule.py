"""Puts instructions into the order in which a Cortex-M7 issues them best, by what cortex_m7.toml says of it.

Generators write what is to be computed, registers and all; :func:`scheduled` moves instructions of a straight stretch
past each other as far as registers, flags and memory allow.  It fills cycle after cycle with what is ready and has
most behind it, one or two instructions as their units allow, and starts anew with other priorities some times: the
shortest order wins.  What it makes stands in the C file, so the schedule can be read there.

Memory that is reached by different base registers is taken for different memory: generators see to that.
"""

from __future__ import annotations

import functools
import random
import re
import tomllib
from bisect import insort
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("cortex_m7.toml")
TRIES = 60
GREATER = ("uadd8", "uadd16", "usub8", "usub16", "sadd8", "sadd16", "ssub8", "ssub16")
"""They set the flags that SEL takes."""


@functools.cache
def _table() -> dict[str, Any]:
    return tomllib.loads(TABLE.read_text(encoding="utf-8"))


@functools.cache
def _rows() -> dict[str, dict[str, Any]]:
    rows = {row["id"]: row for row in _table()["row"]}
    return rows | {mnemonic: row for row in rows.values() for mnemonic in row["mnemonics"]}


@dataclass
class Instruction:
    """A line of assembly, and what decides when it can issue."""

    text: str
    slot: str = "either"
    uses: frozenset[str] = frozenset()
    cycles: int = 1
    reads: list[tuple[str, str]] = field(default_factory=list)
    """Registers, and the operand that each is."""
    writes: list[tuple[str, str, int]] = field(default_factory=list)
    """Registers, the result that each is, and how many cycles later than the first."""
    shadow: bool = False
    """It waits behind a VFMA: for simplicity in either slot."""
    casts_shadow: bool = False
    memory: str = ""
    place: tuple[str, int | None, int] = ("", None, 0)
    """Base register, displacement if it is known, and bytes."""
    before: dict[int, int] = field(default_factory=dict)
    """By number: who must come before, and how many cycles."""
    height: int = 0

    def wait(self, i: int, cycles: int) -> None:
        """Come after another, at least so many cycles."""
        self.before[i] = max(cycles, self.before.get(i, 0))


def parse(text: str) -> Instruction:
    """Read a line of assembly as generators write it: no condition, constants in decimal or hexadecimal."""
    mnemonic, _, rest = text.partition(" ")
    if mnemonic in ("beq", "bne"):
        return Instruction(text, uses=frozenset({"branch"}), reads=[("flags", "flags")])
    name = mnemonic.partition(".")[0]
    operands = re.findall(r"\{[^}]*\}|\[[^\]]*\]!?|[^,\s][^,]*", rest)
    sets_flags = name not in _rows() and name.endswith("s")
    row = _move(operands) if name == "vmov" else _rows()[name[:-1] if sets_flags else name]
    found = Instruction(text, row.get("slot", "either"), frozenset(row.get("uses", ())), row.get("cycles", 1))
    found.memory = row.get("memory", "")
    found.shadow, found.casts_shadow = bool(row.get("shadow")), row.get("casts_shadow", False)
    if "list" in row["operands"]:
        _many(found, row, operands)
    else:
        _single(found, row, operands)
    if operands[0] == "pc":
        found.uses |= {"branch"}
    if sets_flags or row["id"] == "compare":
        found.writes.append(("flags", "setflags", 0))
    if name in GREATER:
        found.writes.append(("ge", "setflags", 0))
    if name == "sel":
        found.reads.append(("ge", "flags"))
    return found


def _move(operands: list[str]) -> dict[str, Any]:
    """VMOV is many instructions; operands tell which."""
    core = [not operand.startswith("s") for operand in operands]
    if len(operands) == 4:
        return _rows()["two-to-core" if core[0] else "two-to-fp"]
    return _rows()["to-core" if core[0] else "to-fp" if core[1] else "fp-move"]


def _registers(operand: str) -> list[str]:
    """Those of a list in braces."""
    found = []
    for part in operand.strip("{}").replace(" ", "").split(","):
        first, _, last = part.partition("-")
        kind = first[0]
        found += [f"{kind}{i}" for i in range(int(first[1:]), int(last[1:]) + 1)] if last else [first]
    return found


def _many(found: Instruction, row: dict[str, Any], operands: list[str]) -> None:
    base, words = operands[0].rstrip("!"), _registers(operands[1])
    found.cycles = -(-len(words) // 2)
    found.place = (base, 0, 4 * len(words))
    found.reads.append((base, "agu"))
    if operands[0].endswith("!"):
        found.writes.append((base, "writeback", 0))
    for i, word in enumerate(words):
        if row["memory"] == "load":
            found.writes.append((word, row["result"], i // 2))
        else:
            found.reads.append((word, "fstore" if word.startswith("s") else "store"))


def _single(found: Instruction, row: dict[str, Any], operands: list[str]) -> None:
    shift = bool(operands) and operands[-1].startswith(("lsl", "lsr", "asr", "ror"))
    names = operands[:-1] if shift else operands
    roles = row["operands"]
    if row["id"] in ("two-to-fp", "two-to-core"):
        roles = ["=", "=", roles[-1], roles[-1]]
    inline = shift and row["id"] not in ("shift", "extend-add", "pkhtb")
    if inline:
        found.uses |= {"shifter"}
    if row.get("claims"):
        found.uses |= {row["claims"]}
    if row["id"] in ("add", "alu") and len(names) == 2 and not found.text.startswith(("mov", "mvn")):
        names = [names[0], *names]  # add r0, #1
    for i, name in enumerate(names):
        if name.startswith("["):
            _address(found, row, name, names[i + 1 :])
            break
        if name.startswith("#"):
            continue
        role = roles[i].lstrip("+")
        if roles[i] != "=":
            last = inline and i == len(names) - 1
            found.reads.append((name, "shift" if last else "beside" if inline and role == "late" else role))
        if roles[i] == "=" or roles[i].startswith("+"):
            found.writes.append((name, row["result"], 0))


def _address(found: Instruction, row: dict[str, Any], name: str, behind: list[str]) -> None:
    parts = [part.strip() for part in name.strip("[]!").split(",")]
    constant = len(parts) == 1 or parts[1].startswith("#")
    at = int(parts[1][1:]) if constant and len(parts) > 1 else 0
    found.place = (parts[0], at if constant else None, row["bytes"])
    found.reads += [(part, "agu") for part in parts if re.fullmatch(r"r\d+|sp|lr", part)]
    if behind or name.endswith("!"):
        found.writes.append((parts[0], "writeback", 0))


def _link(code: list[Instruction]) -> None:
    """Who waits for whom, and what is behind each."""
    has_select = any(register == "ge" for each in code for register, _ in each.reads)
    made: dict[str, tuple[int, str, int]] = {}
    readers: dict[str, list[int]] = {}
    changes: Counter[str] = Counter()
    accesses: list[tuple[Instruction, int, int]] = []
    for n, each in enumerate(code):
        for register, kind in each.reads:
            if register in made:
                i, result, later = made[register]
                each.wait(i, later + _table()["latency"].get(result, {}).get(kind, 1))
            readers.setdefault(register, []).append(n)
        if each.memory:
            _wait_for_memory(each, changes[each.place[0]], accesses)
            accesses.append((each, n, changes[each.place[0]]))
        for register, result, later in each.writes:
            if register == "ge" and not has_select:
                continue
            for i in readers.pop(register, []):
                each.wait(i, 0)
            if register in made:
                each.wait(made[register][0], 1)
            made[register] = n, result, later
            changes[register] += 1
        each.before.pop(n, None)
    _hold_branches(code)
    for each in reversed(code):
        for i, cycles in each.before.items():
            code[i].height = max(code[i].height, each.height + cycles)


def _hold_branches(code: list[Instruction]) -> None:
    """A branch comes last, perhaps beside another; what is behind one (a loop behind itself) comes after all before."""
    for n, each in enumerate(code):
        if "branch" in each.uses or (n > 0 and "branch" in code[n - 1].uses):
            for i in range(n):
                each.wait(i, int("branch" not in each.uses))


def _wait_for_memory(each: Instruction, changed: int, accesses: list[tuple[Instruction, int, int]]) -> None:
    """Wait for what may have been accessed in the same place; ``changed``: how often the base register was."""
    for other, i, then in accesses:
        if _collide(other, each, then == changed):
            is_forwarded = other.memory == "store" and each.memory == "load"
            each.wait(i, _table()["store_to_load"]["cycles"] if is_forwarded else 0)


def _collide(a: Instruction, b: Instruction, same_version: bool) -> bool:
    """Whether two accesses may meet, of which one writes."""
    if a.place[0] != b.place[0] or (a.memory == "load" and b.memory == "load"):
        return False
    if not same_version or a.place[1] is None or b.place[1] is None:
        return True
    return a.place[1] < b.place[1] + b.place[2] and b.place[1] < a.place[1] + a.place[2]


def _pairs(older: Instruction, younger: Instruction) -> bool:
    """Whether two can issue at once."""
    if "alone" in (older.slot, younger.slot) or younger.slot == "older":
        return False
    both = older.uses & younger.uses
    if "load" in both:
        (base, at, _), (other, then, _) = older.place, younger.place
        if base != other or at is None or then is None or (at ^ then) & 4 == 0:
            return False
    if both - {"load"}:
        return False
    units = older.uses | younger.uses
    return not any(set(never) <= units for never in _table()["pairs"]["never"])


class _Front:
    """What can be issued next: all that it waits for has been."""

    def __init__(self, code: list[Instruction], priority: list[float]) -> None:
        self.code, self.priority = code, priority
        self.missing = [len(each.before) for each in code]
        self.after: list[list[tuple[int, int]]] = [[] for _ in code]
        for n, each in enumerate(code):
            for i, cycles in each.before.items():
                self.after[i].append((n, cycles))
        self.since = [0] * len(code)
        self.there = [n for n, count in enumerate(self.missing) if not count]
        self.there.sort(key=lambda n: -priority[n])

    def ready(self, cycle: int, in_shadow: bool) -> list[int]:
        """What can be issued in a cycle, the highest priority first."""
        return [n for n in self.there if self.since[n] <= cycle and not (in_shadow and self.code[n].shadow)]

    def take(self, n: int, cycle: int) -> None:
        """Issue it."""
        self.there.remove(n)
        for i, cycles in self.after[n]:
            self.since[i] = max(self.since[i], cycle + cycles)
            self.missing[i] -= 1
            if not self.missing[i]:
                insort(self.there, i, key=lambda m: -self.priority[m])


def _order(code: list[Instruction], priority: list[float]) -> tuple[int, list[int]]:
    """Cycles, and the order: each cycle takes what is ready and has the highest priority."""
    front = _Front(code, priority)
    order: list[int] = []
    cycle = lit_from = 0
    while front.there:
        ready = front.ready(cycle, cycle < lit_from)
        first = next(iter(ready), None)
        if first is None:
            cycle += 1
            continue
        front.take(first, cycle)
        pair = [first]
        if code[first].slot != "alone":
            for n in front.ready(cycle, cycle < lit_from or code[first].casts_shadow):
                if _pairs(code[first], code[n]):
                    pair = [first, n]
                elif first not in code[n].before and _pairs(code[n], code[first]):
                    pair = [n, first]
                else:
                    continue
                front.take(n, cycle)
                break
        order += pair
        if any(code[n].casts_shadow for n in pair):
            lit_from = cycle + _table()["shadow"]["cycles"] + 1
        cycle += code[pair[0]].cycles
    return cycle, order


def _a_round(code: list[Instruction], order: list[int]) -> int:
    """Cycles that the order takes behind itself, as it stands."""
    again = [parse(code[n].text) for n in order * 2]
    _link(again)
    at: list[int] = []
    cycle, free, older = -1, 0, None
    for each in again:
        ready = max((at[i] + cycles for i, cycles in each.before.items()), default=0)
        if older is not None and ready <= cycle and _pairs(older, each):
            older = None
        else:
            cycle = max(free, cycle + 1, ready)
            older = None if each.slot == "alone" or each.uses & {"branch"} else each
            free = cycle + each.cycles
        at.append(cycle)
    return at[-1] - at[len(order) - 1]


def _least(code: list[Instruction]) -> int:
    """No order takes fewer cycles."""
    alone = sum(each.cycles for each in code if each.slot == "alone")
    others = [each for each in code if each.slot != "alone"]
    macs = sum("mac" in each.uses for each in others)
    return max(alone + max(-(-len(others) // 2), macs), max((each.height + 1 for each in code), default=0))


@functools.cache
def _best(lines: tuple[str, ...], tries: int, is_loop: bool) -> list[str]:
    """The order that takes the fewest cycles; of a loop once more, behind itself."""
    code = [parse(line) for line in lines]
    _link(code)
    least = _least(code)
    draw = random.Random(746)
    bases = ([each.height - 1e-3 * n for n, each in enumerate(code)], [-0.25 * n for n in range(len(code))])
    best: tuple[int, list[int]] | None = None
    kept = bases[0]
    for i in range(tries):
        spread = 0.0 if i < 2 else draw.choice((0.5, 1.5, 4.0))
        base = bases[i % 2] if i % 4 < 2 else kept
        priority = [value + draw.uniform(-spread, spread) for value in base]
        cycles, order = _order(code, priority)
        if is_loop and (best is None or cycles <= best[0]):
            cycles = _a_round(code, order)
        if best is None or cycles < best[0]:
            best, kept = (cycles, order), priority
        if best[0] <= least:
            break
    assert best
    return [code[n].text for n in best[1]]


def scheduled(lines: Iterable[str], tries: int = TRIES) -> Iterator[str]:
    """The same instructions in a better order; none moves past a label or a branch, but beside one."""
    stretch: list[str] = []
    label = ""
    for line in lines:
        if line.endswith(":") or re.match(r"(b|cbz|cbnz|pop|push|vpush|vpop)\b", line):
            yield from _best(tuple(stretch), tries, False)
            yield line
            stretch = []
            label = line
        elif re.match(r"b(eq|ne)\b|ldr pc\b", line):
            is_loop = line.split()[1] == label.rstrip(":") + "b"
            yield from _best((*stretch, line), tries, is_loop)
            stretch = []
            label = line
        else:
            stretch.append(line)
    yield from _best(tuple(stretch), tries, False)


def repeated(lines: Iterable[str], tries: int = TRIES) -> list[str]:
    """The same of a stretch that comes behind itself, without a branch."""
    return _best(tuple(lines), tries, True)
