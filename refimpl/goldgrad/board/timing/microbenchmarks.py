"""Small programs, one a rule of the table: what they take follows from that rule alone, by arithmetic.

Each is a few instructions, written out COUNT times after one another, and twice as often in another function; what is
compared is the difference, so that call and return drop out.  ``ALONE`` stands between repetitions: it issues by
itself, takes a cycle, and so puts every repetition into the same state.  The expected cycles are written down here from
the table's numbers; the scheduler has no part in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...rules import rule
from ..elf import Elf
from ..errors import BuildError
from ..function import Argument, trace_function
from ..toolchain import Toolchain
from .cost import Model
from .table import Row, Table

COUNT = 16
ALONE = "ldrd r8, r9, [r10]"
BUFFER_BYTES = 4096

PRODUCERS = {
    "early": "add.w r0, r1, r2",
    "late": "and.w r0, r1, r2",
    "reverse": "rev.w r0, r1",
    "writeback": "ldr.w r7, [r0], #4",
    "mac": "mul r0, r1, r2",
    "word": "ldr.w r0, [r10]",
    "narrow": "ldrh.w r0, [r10]",
    "fload": "vldr s0, [r10]",
    "fpalu": "vmul.f32 s0, s1, s2",
    "vfma": "vfma.f32 s0, s1, s2",
    "vmla": "vmla.f32 s0, s1, s2",
    "fmove": "vmov s0, r1",
    "tocore": "vmov r0, s1",
    "setflags": "cmp.w r1, r2",
    "fpflags": "vcmp.f32 s1, s2",
}
"""An instruction for each result, into r0 or s0; all registers but r10, r11 and, for a writeback, r0 hold 0."""
CONSUMERS = {
    "agu": "ldr.w r3, [r10, r0]",
    "shift": "eor.w r3, r4, r0, lsl #1",
    "late": "eor.w r3, r0, r4",
    "beside": "eor.w r3, r0, r4, lsl #1",
    "mul": "mul r3, r0, r4",
    "acc": "mla r3, r4, r5, r0",
    "store": "str.w r0, [r11]",
    "fp": "vmul.f32 s3, s0, s4",
    "fma": "vfma.f32 s3, s0, s4",
    "facc": "vfma.f32 s0, s3, s4",
    "macc": "vmla.f32 s0, s3, s4",
    "fstore": "vstr s0, [r11]",
    "tocore": "vmov r3, s0",
    "tofp": "vmov s3, r0",
    "flags": "adc.w r3, r4, r5",
}
INDEPENDENT = {
    "add": "add.w r{0}, r1, r2",
    "alu": "eor.w r{0}, r1, r2",
    "compare": "cmp.w r1, r2",
    "shift": "lsl.w r{0}, r1, #3",
    "rrx": "rrx r{0}, r1",
    "dsp": "uadd8 r{0}, r1, r2",
    "extend": "uxtb.w r{0}, r1",
    "bitfield": "ubfx r{0}, r1, #2, #3",
    "reverse": "rbit r{0}, r1",
    "insert": "bfi r{0}, r1, #2, #3",
    "extend-add": "uxtab r{0}, r1, r2",
    "pkhtb": "pkhtb r{0}, r1, r2, asr #3",
    "multiply": "mul r{0}, r1, r2",
    "accumulate": "smlad r{0}, r1, r2, r7",
    "long-multiply": "umull r{0}, r7, r1, r2",
    "long-accumulate": "smlald r{0}, r7, r1, r2",
    "divide": "udiv r{0}, r1, r2",
    "load": "ldr.w r{0}, [r10, #{1}]",
    "load-narrow": "ldrb.w r{0}, [r10, #{1}]",
    "load-pair": "ldrd r{0}, r7, [r10]",
    "load-many": "ldm.w r10, {{r{0}, r7}}",
    "store": "str.w r{0}, [r11, #{1}]",
    "store-pair": "strd r{0}, r7, [r11]",
    "store-many": "stm.w r11, {{r{0}, r7}}",
    "fp": "vmul.f32 s{0}, s1, s2",
    "fp-add": "vadd.f32 s{0}, s1, s2",
    "fp-compare": "vcmp.f32 s1, s2",
    "fp-divide": "vdiv.f32 s{0}, s1, s2",
    "fp-root": "vsqrt.f32 s{0}, s1",
    "fp-load": "vldr s{0}, [r10, #{1}]",
    "fp-store": "vstr s{0}, [r11, #{1}]",
    "fp-load-many": "vldmia r10, {{s12, s13}}",
    "fp-store-many": "vstmia r11, {{s12, s13}}",
    "fp-move": "vmov.f32 s{0}, s1",
    "fp-constant": "vmov.f32 s{0}, #1.0",
    "to-fp": "vmov s{0}, r1",
    "to-core": "vmov r{0}, s1",
    "two-to-fp": "vmov s12, s13, r1, r2",
    "two-to-core": "vmov r{0}, r7, s1, s2",
    "fp-status": "vmrs r{0}, fpscr",
    "system": "mrs r{0}, psp",
    "hint": "nop.w",
    "vfma": "vfma.f32 s{0}, s1, s2",
    "vmla": "vmla.f32 s{0}, s1, s2",
}
"""An instruction for each row that waits for nothing: {0} is where its result goes, {1} an offset that ends another."""
OTHERWISE = {"branch", "table-branch", "condition"}
"""Rows with benchmarks of their own."""


@dataclass(frozen=True)
class Microbenchmark:
    """Code, and what COUNT repetitions of it take by a rule of the table."""

    name: str
    rule: str
    """The part of pipeline.toml."""
    body: tuple[str, ...]
    cycles: float
    """Of one repetition."""
    loop: bool = False
    """Whether it repeats by a branch of its own, on r5, rather than by being written out."""

    @property
    def symbol(self) -> str:
        """A name for the assembler."""
        return "bench_" + "".join(c if c.isalnum() else "_" for c in self.name)


def microbenchmarks(table: Table) -> list[Microbenchmark]:
    """All of them."""
    found = [*_latencies(table), *_rows(table), *_special(table)]
    if len({bench.symbol for bench in found}) != len(found):
        raise ValueError("two microbenchmarks have one name")
    return found


def _latencies(table: Table) -> Iterator[Microbenchmark]:
    """A cell of the latencies each: who makes a result, and at once who takes it."""
    for result, cells in table.latency.items():
        for operand, latency in cells.items():
            name, rule = f"{result} to {operand}", f"latency.{result}.{operand}"
            if operand == "early":
                yield from _early(result, latency)
                continue
            made, taken = PRODUCERS[result], CONSUMERS[operand]
            if result == "writeback" and operand == "agu":
                taken = "ldr.w r3, [r0]"
            if result == "fpflags":
                taken = "vmrs r3, fpscr"
            wait = max(latency, 0 if _pairs(result, operand) else 1)
            apart = (ALONE,) * 2 if operand in ("facc", "macc") else ()  # what was accumulated is there again
            yield Microbenchmark(name, rule, (made, taken, *apart), 2 + wait + len(apart))


def _pairs(result: str, operand: str) -> bool:
    """Whether maker and taker may share a cycle, if the latency is 0."""
    shifters = result == "reverse" and operand in ("shift", "beside")
    return not shifters and not (result == "mac" and operand == "store")


def _early(result: str, latency: int) -> Iterator[Microbenchmark]:
    """An addition so long behind that it is just early, or just not: the address that it makes tells."""
    made, end = PRODUCERS[result], ("add.w r3, r0, r4", "ldr.w r5, [r10, r3]")
    if result == "writeback":
        end = ("add.w r3, r0, r4", "ldr.w r5, [r3]")
    rule = f"latency.{result}.early"
    fill = (ALONE,) * (max(latency, 2) - 1)
    yield Microbenchmark(f"{result} to early in time", rule, (made, *fill, *end), 1 + max(latency, 2) + 1 + 1)
    if latency > 1:
        fill = fill[1:] or ("nop.w",)  # which is its partner
        yield Microbenchmark(f"{result} to early too late", rule, (made, *fill, *end), 1 + latency - 1 + 2 + 1)


def _rows(table: Table) -> Iterator[Microbenchmark]:
    """Each row twice in a row, and behind what could be its partner."""
    for row in table.rows:
        if row.id in OTHERWISE:
            continue
        first, second = (INDEPENDENT[row.id].format(*place) for place in ((3, 0), (5, 4)))
        rule = f"row.{row.id}"
        yield Microbenchmark(f"{row.id} twice", rule, (first, second), 1 + _twice(row))
        apart = (ALONE,) * 2 if row.casts_shadow else ()
        behind = {"either": 1, "older": 2, "alone": 1 + row.cycles}[row.slot]
        yield Microbenchmark(
            f"{row.id} behind a nop", rule, ("nop.w", first, *apart), 1 + max(behind, row.blocks) + len(apart)
        )


def _twice(row: Row) -> int:
    if row.slot == "alone" or row.blocks:
        return 2 * max(row.cycles, row.blocks)
    return 1 if row.slot == "either" and row.uses <= {"load"} else 2


def _special(table: Table) -> Iterator[Microbenchmark]:
    """What is neither a latency nor a row."""
    nop = "nop.w"
    yield Microbenchmark("a product and a store", "pairs", ("mul r3, r1, r2", "str.w r4, [r11]"), 3)
    yield Microbenchmark("a store and a product", "pairs", ("str.w r4, [r11]", "mul r3, r1, r2"), 3)
    yield Microbenchmark("a product and a load", "pairs", ("mul r3, r1, r2", "ldr.w r4, [r10]"), 2)
    yield Microbenchmark("a store and a load", "pairs", ("str.w r4, [r11]", "ldr.w r3, [r10]"), 2)
    yield Microbenchmark("two shifted operands", "shifted", ("eor.w r3, r1, r2, lsl #1", "orr.w r4, r1, r2, lsl #2"), 3)
    yield Microbenchmark(
        "a shifted constant beside one", "shifted", ("eor.w r3, r1, #0x1fc0", "orr.w r4, r1, #0x3fc0"), 3
    )
    yield Microbenchmark(
        "constants of copied bytes", "shifted", ("eor.w r3, r1, #0x1b1b1b1b", "orr.w r4, r1, #0x2b2b2b2b"), 2
    )
    yield Microbenchmark(
        "a shifted operand, then a shift", "shifted", ("eor.w r3, r1, r2, lsl #1", "lsl.w r4, r1, #2"), 2
    )
    yield Microbenchmark(
        "a rotated extension beside a shifted operand",
        "row.extend",
        ("uxtb.w r3, r1, ror #8", "eor.w r4, r1, r2, lsl #1"),
        2,
    )
    yield Microbenchmark(
        "a shift, then a shifted operand", "row.shift", ("lsl.w r4, r1, #2", "eor.w r3, r1, r2, lsl #1"), 3
    )
    yield Microbenchmark(
        "an early shift as the younger", "row.shift", (nop, "lsl.w r3, r1, #2", "ldr.w r4, [r10, r3]"), 3
    )
    yield Microbenchmark(
        "a late shift beside a shifted operand",
        "row.shift",
        ("eor.w r5, r1, r2, lsl #1", "lsl.w r3, r1, #2", "ldr.w r4, [r10, r3]"),
        4,
    )
    yield Microbenchmark(
        "an addition as the younger is late", "row.add", (nop, "add.w r3, r1, r2", "ldr.w r4, [r10, r3]"), 4
    )
    yield Microbenchmark("movw and movt", "row.add", ("movw r3, #1", "movt r3, #1"), 2)
    yield Microbenchmark("two loads of one bank", "bank", ("ldr.w r3, [r10]", "ldr.w r4, [r10, #8]"), 3)
    yield Microbenchmark("two loads of two banks", "bank", ("ldr.w r3, [r10]", "ldr.w r4, [r10, #12]"), 2)
    shadow = table.shadow
    fma, later = "vfma.f32 s3, s1, s2", "vfma.f32 s4, s1, s2"
    yield Microbenchmark("vadd in the shadow", "shadow", (fma, "vadd.f32 s5, s1, s2"), 1 + 1 + shadow + 1)
    yield Microbenchmark("vmul in the shadow", "shadow", (fma, "vmul.f32 s5, s1, s2"), 3)
    yield Microbenchmark("vldr beside the first vfma", "shadow", (*(ALONE,) * 3, fma, "vldr s5, [r10]"), 5)
    yield Microbenchmark(
        "a younger vldr in the shadow", "shadow", (fma, ALONE, nop, "vldr s5, [r10]"), 1 + 1 + shadow + 1
    )
    yield Microbenchmark("an older vldr in the shadow", "shadow", (fma, ALONE, "vldr s5, [r10]", nop), 4)
    yield Microbenchmark(
        "vldr beside the second vfma", "shadow", (fma, later, "vldr s5, [r10]", nop), 2 + 1 + shadow + 1
    )
    yield Microbenchmark("two vfma on one sum", "latency.vfma.facc", (fma, fma), 2 * table.latency["vfma"]["facc"])
    wait = table.store_to_load
    yield Microbenchmark(
        "a word just stored", "store_to_load", ("str.w r3, [r11, #8]", "ldr.w r4, [r11, #8]"), 2 + wait
    )
    yield Microbenchmark("a byte of it", "store_to_load", ("str.w r3, [r11, #8]", "ldrb.w r4, [r11, #11]"), 2 + wait)
    yield Microbenchmark("another word", "store_to_load", ("str.w r3, [r11, #8]", "ldr.w r4, [r11, #12]"), 2)
    yield Microbenchmark("taken branches", "branch", ("b.w 1f", "1:"), 2 + table.branch.taken)
    yield Microbenchmark("branches not taken", "row.branch", ("cbnz r3, 1f", nop, "1:"), 2)
    yield Microbenchmark("it takes a slot", "row.condition", ("it eq", "moveq.w r3, r1"), 2)
    yield Microbenchmark("four registers at once", "row.load-many", ("ldm.w r10, {r3, r4, r5, r7}",), 3)
    yield Microbenchmark(
        "the last of three registers", "row.load-many", ("ldm.w r10, {r3, r4, r5}", "eor.w r7, r5, r1"), 4
    )
    yield Microbenchmark(
        "a division beside", "row.fp-divide", ("vdiv.f32 s3, s1, s2", nop, nop), 2 + table.row("fp-divide").blocks
    )
    yield from _mispredicted(table)


def _mispredicted(table: Table) -> Iterator[Microbenchmark]:
    """A branch that goes the other way every time: its counter swings between two states, and is never right.

    The predictor starts out weakly for not taken, so the first is taken.  r6 is 0, or changes with each repetition.
    """
    branch, end = table.branch, ("subs.w r5, r5, #1", "bne.w 0b")
    start, skip = ("0:", ALONE, "eor.w r6, r6, #1", "cmp.w r6, #0"), ("bne.w 2f", "nop.w", "2:")
    taken = 1.5 * branch.taken  # every second time forwards, every time back
    rule, late = "branch", branch.mispredict
    yield Microbenchmark("mispredicted", rule, (*start, *skip, *end), 4.5 + taken + late, loop=True)
    wait = branch.early_flags - 1
    yield Microbenchmark(
        "mispredicted, flags just too late",
        rule,
        (*start, *(ALONE,) * (wait - 1), *skip, *end),
        5 + wait - 1 + taken + late,
        loop=True,
    )
    yield Microbenchmark(
        "mispredicted, flags early",
        rule,
        (*start, *(ALONE,) * wait, *skip, *end),
        5 + wait + taken + branch.mispredict_early_flags,
        loop=True,
    )
    compared = ("cbnz r6, 2f", "nop.w", "2:")
    yield Microbenchmark("mispredicted, compared", rule, (*start[:-1], *compared, *end), 3.5 + taken + late, loop=True)
    jump = ("adr.w r3, 1f", "orr.w r3, r3, #1", "add.w r3, r3, r6, lsl #3", "bx r3")
    targets = (".balign 8", "1:", "b.w 3f", "nop.w", "b.w 3f", "nop.w", "3:")
    cycles = 6 + 3 * branch.taken + branch.indirect
    yield Microbenchmark("indirect, elsewhere", rule, (*start[:-1], *jump, *targets, *end), cycles, loop=True)
    stays = (jump[0], jump[1], "add.w r3, r3, r7, lsl #3", jump[3])
    yield Microbenchmark(
        "indirect, as before", rule, (*start[:-1], *stays, *targets, *end), 6 + 3 * branch.taken, loop=True
    )


def source(benches: list[Microbenchmark]) -> str:
    """Assembly: two functions each, of COUNT and of twice COUNT repetitions."""
    lines = [".syntax unified", ".thumb", ".text", ".global _start", "_start:"]
    for bench in benches:
        for times in (COUNT, 2 * COUNT):
            name = f"{bench.symbol}_{times}"
            lines += [".balign 8", f".global {name}", f".type {name}, %function", f"{name}:"]
            lines += ["mov r10, r0", "mov r11, r1", "mov.w r0, r2" if "writeback" not in bench.name else "nop"]
            lines += ["movs r1, #0", "movs r2, #0", "movs r3, #0", ".balign 8"]
            repeated = [f".rept {times}", ALONE, *bench.body, ".endr"]
            lines += [f"movs r5, #{times}", *bench.body] if bench.loop else repeated
            lines += ["bx lr", f".size {name}, . - {name}"]
    return "\n".join(lines) + "\n"


def build(table: Table, folder: Path, toolchain: Toolchain) -> Elf:
    """Assemble and link them all into one ELF."""
    assembly, target = folder / "microbenchmarks.S", folder / "microbenchmarks.elf"
    assembly.write_text(source(microbenchmarks(table)))
    script = folder / "microbenchmarks.ld"
    script.write_text("SECTIONS { . = 0x200000; .text : { *(.text*) } }\n")
    run = toolchain.run("-nostdlib", "-static", "-Wl,-e,_start", f"-Wl,-T,{script}", assembly, "-o", target)
    if run.returncode:
        raise BuildError(f"{toolchain.name} refuses the microbenchmarks: {run.stderr.strip().splitlines()[0]}")
    return Elf.read(target)


@rule("TIM-S2", "TIM-S3")
def measured(elf: Elf, bench: Microbenchmark, table: Table) -> float:
    """Cycles of one repetition, as the whole model finds them from an emulated run."""
    buffers = [
        Argument("int32", array=np.zeros(BUFFER_BYTES // 4, np.int32)),
        Argument("int32", array=np.zeros(BUFFER_BYTES // 4, np.int32)),
        Argument("int32", value=0),
    ]
    totals = []
    for times in (COUNT, 2 * COUNT):
        call = trace_function(elf, f"{bench.symbol}_{times}", buffers)
        totals.append(Model(table, call.code).estimate(call.trace).total().total)
    return (totals[1] - totals[0]) / COUNT
