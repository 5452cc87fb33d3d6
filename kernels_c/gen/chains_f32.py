"""The float32 cores of training that are no product of matrices, for a Cortex-M7: taps, codes as float32, their steps.

What a core computes, and what it is given, says ``kernels_c/src/cortex_m7/chains_f32.h``.

A depthwise convolution has two loads for every VFMA whatever one does with one pixel; the core of a single one takes
four channels at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from assembly import file, function, over, write, zipped

TAPS = (
    "g",
    "w",
    "c",
    "start",
    "blocks",
    "rows",
    "columns",
    "g_row",
    "g_column",
    "w_row",
    "w_column",
    "w_block",
    "start_step",
)
"""The fields of gg_m7_taps_t, a word each."""
CODES = ("from", "from_row", "fours", "rows", "to", "to_column", "less")
"""Those of gg_m7_codes_t."""


def field(name: str, fields: Sequence[str]) -> str:
    """Where a field of the struct is, by the pointer that is kept in r11."""
    return f"[r11, #{4 * fields.index(name)}]"


def taps() -> Iterator[str]:
    """Block after block of four channels, in each all taps."""
    registers = {"g": 0, "w": 1, "c": 2, "start": 3, "g_column": 6, "g_row": 7, "w_column": 8, "w_row": 9, "blocks": 10}
    for name, register in registers.items():
        yield f"ldr r{register}, {field(name, TAPS)}"
    yield "1:"
    yield "vldmia r3, {s0-s3}"
    yield from ("mov r4, r0", "mov r5, r1", f"ldr r12, {field('rows', TAPS)}")
    yield "2:"
    yield f"ldr lr, {field('columns', TAPS)}"
    yield "3:"
    yield "vldmia r4, {s8-s11}"
    yield "vldmia r5, {s16-s19}"
    for c, other in enumerate(("add r4, r6", "add r5, r8", "subs lr, #1", "bne 3b")):
        yield from (f"vfma.f32 s{c}, s{8 + c}, s{16 + c}", other)
    yield from ("add r4, r7", "add r5, r9", "subs r12, #1", "bne 2b")
    yield "vstmia r2!, {s0-s3}"
    yield from ("adds r0, #16", f"ldr r12, {field('w_block', TAPS)}", "add r1, r12")
    yield from (f"ldr r12, {field('start_step', TAPS)}", "add r3, r12")
    yield from ("subs r10, #1", "bne 1b")


def quads(count: int) -> Iterator[str]:
    """So many times four codes at r1 and r10 further, to r2.

    The core extends the codes of a word, one a cycle, in the older slot; beside that the FPU converts those of the word
    before.
    """

    def turn(quad: int, i: int) -> Iterator[str]:
        """One code of a quad, and beside it one of the quad before."""
        if quad < count:
            yield f"sxtab r{5 + i}, r9, r{3 + quad % 2}" + (f", ror #{8 * i}" if i else "")
        if quad > 0:
            yield f"vcvt.f32.s32 s{4 * ((quad - 1) % 2) + i}, s{4 * ((quad - 1) % 2) + i}"

    for quad in range(min(count, 2)):
        yield from (f"ldr r{3 + quad}, [r1]", "add r1, r10")
    for quad in range(count + 1):
        s = 4 * (quad % 2)
        yield from (*turn(quad, 0), *turn(quad, 1))
        if quad < count:
            yield f"vmov s{s}, s{s + 1}, r5, r6"
        yield from (*turn(quad, 2), *turn(quad, 3))
        if quad < count:
            yield f"vmov s{s + 2}, s{s + 3}, r7, r8"
        if quad + 2 < count:
            yield from (f"ldr r{3 + quad % 2}, [r1]", "add r1, r10")
        if quad > 0:
            yield f"vstmia r2!, {{s{4 - s}-s{7 - s}}}"


def floats() -> Iterator[str]:
    """Column after column of words, in each eight rows at a time, then four, two and one."""
    registers = {"fours": "r0", "from": "r12", "to_column": "r11", "less": "r9", "from_row": "r10"}
    yield f"ldr r2, {field('to', CODES)}"
    yield f"ldr r4, {field('rows', CODES)}"
    yield from (f"ldr {register}, {field(name, CODES)}" for name, register in sorted(registers.items()))
    yield from ("1:", "mov r1, r12", "subs lr, r4, #8", "push {r4}", "blt 3f")
    yield from ("2:", *quads(8), "subs lr, #8", "bge 2b", "3:")
    for label, count in ((4, 4), (5, 2), (6, 1)):
        yield from (f"tst lr, #{count}", f"beq {label}f", *quads(count), f"{label}:")
    yield from ("pop {r4}", "add r2, r11", "adds r12, #4", "subs r0, #1", "bne 1b")


class Quad:
    """UPW-S2, UPW-S5 for a word of four codes, stage by stage; each quad has its registers."""

    def __init__(self, quad: int) -> None:
        self.s = [8 + 4 * quad + i for i in range(4)]
        self.r = ("r5", "r6", "r7", "r4") if quad == 0 else ("r9", "r10", "r12", "r8")
        self.at = f"[r2, #{4 * quad}]"
        self.load = f"ldr {self.r[3]}, {self.at}"

    def extended(self) -> Iterator[str]:
        """The codes as int32, in the FPU."""
        a, b, c, d = self.r
        s = self.s
        yield from (f"sxtb {a}, {d}", f"sxtb {b}, {d}, ror #8", f"vmov s{s[0]}, s{s[1]}, {a}, {b}")
        yield from (f"sxtb {c}, {d}, ror #16", f"asr {d}, {d}, #24", f"vmov s{s[2]}, s{s[3]}, {c}, {d}")

    def converted(self) -> Iterator[str]:
        """As float32."""
        yield from (f"vcvt.f32.s32 s{s}, s{s}" for s in self.s)

    def stepped(self) -> Iterator[str]:
        """With their step, from s0 or s4 on."""
        yield from (f"vfma.f32 s{s}, s{s - 8}, s16" for s in self.s)

    def rounded(self) -> Iterator[str]:
        """VCVTR rounds as the FPSCR says: to nearest even (NUM-N12)."""
        yield from (f"vcvtr.s32.f32 s{s}, s{s}" for s in self.s)

    def back(self) -> Iterator[str]:
        """In core registers."""
        s = self.s
        yield from (f"vmov {self.r[i]}, {self.r[i + 1]}, s{s[i]}, s{s[i + 1]}" for i in (0, 2))

    def saturated(self) -> Iterator[str]:
        """To eight bits: -128 at least."""
        yield from (f"ssat {r}, #8, {r}" for r in self.r)

    def packed(self) -> Iterator[str]:
        """In a word."""
        yield from (f"bfi {self.r[0]}, {self.r[i]}, #{8 * i}, #8" for i in (1, 2, 3))

    def stored(self) -> Iterator[str]:
        """SSUB8 tells what is no less than -127, and SEL puts that in the place of the rest."""
        yield from (f"ssub8 r11, {self.r[0]}, lr", f"sel {self.r[0]}, {self.r[0]}, lr", f"str {self.r[0]}, {self.at}")


def steps() -> Iterator[str]:
    """Two words of codes at a time, a stage of one beside another of the other; then one that is left."""
    a, b = Quad(0), Quad(1)
    yield from ("push {r4-r11, lr}", "vpush {d8}", "vldr s16, [r3]", "mov lr, #0x81818181", "subs r0, #2", "blt 2f")
    yield from ("1:", a.load, b.load, "vldmia r1!, {s0-s7}", *a.extended(), *zipped(b.extended(), a.converted()))
    yield from (*a.stepped(), *b.converted(), *a.rounded(), *b.stepped(), "subs r0, #2", *a.back())
    yield from (*zipped(a.saturated(), b.rounded()), *zipped(a.packed(), b.back()), *zipped(b.saturated(), a.stored()))
    yield from (*b.packed(), *b.stored(), "add r2, #8", "bge 1b")
    yield from ("2:", "adds r0, #2", "beq 3f", a.load, "vldmia r1!, {s0-s3}", *a.extended(), *a.converted())
    yield from (*a.stepped(), *a.rounded(), *a.back(), *a.saturated(), *a.packed(), *a.stored())
    yield from ("3:", "vpop {d8}", "pop {r4-r11, pc}")


FUNCTIONS = (
    function(
        "gg_m7_taps",
        "const gg_m7_taps_t *p __attribute__((unused))",
        over([*taps()]),
        "DW-S4: the taps of a pixel.",
    ),
    function(
        "gg_m7_floats",
        "const gg_m7_codes_t *p __attribute__((unused))",
        over([*floats()]),
        "CONV-S5: codes less their zero point.",
    ),
    function(
        "gg_m7_steps",
        "int32_t fours __attribute__((unused)), const float *dw __attribute__((unused)),\n"
        "                                                 int8_t *codes __attribute__((unused)), "
        "const float *k __attribute__((unused))",
        steps(),
        "UPW-S2, UPW-S5: codes that share a factor.",
    ),
)

if __name__ == "__main__":
    comment = "Chains of fused multiply-adds, many at a time."
    write("chains_f32.c", file("chains_f32.py", comment, ("chains_f32.h",), FUNCTIONS))
