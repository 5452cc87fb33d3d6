"""The float32 cores of the backward pass that are no product of matrices: taps, and codes as float32, for a Cortex-M7.

What a core computes, and what it is given, says ``kernels_c/src/cortex_m7/chains_f32.h``.

A depthwise convolution has two loads for every VFMA whatever one does with one pixel; the core of a single one takes
four channels at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from assembly import file, function, over, write

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
)

if __name__ == "__main__":
    comment = "Chains of fused multiply-adds, many at a time."
    write("chains_f32.c", file("chains_f32.py", comment, ("chains_f32.h",), FUNCTIONS))
