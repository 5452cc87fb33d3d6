"""The float32 cores of the backward pass: many chains at a time, as Thumb-2 for a Cortex-M7.

What a core computes, and what it is given, says ``kernels_c/src/cortex_m7/chains_f32.h``.

The schedule of products of matrices, 4 x 4 chains at a time.  A VFMA starts every cycle if its accumulator was written
three cycles ago; sixteen accumulators, one after the other, are far more than that.  What is left to arrange are loads:

- A load of several floats takes half an issue slot for each (VLDM), but waits until the VFMA before it are three cycles
  old, and nothing goes on beside it.  So all that two links of every chain need, 2 x 4 floats of B and 4 x 2 of A, is
  loaded at once: 3 + 8 cycles for 32 VFMA.
- A load of one float does not wait if it stands alone between VFMA, and takes a slot: 16 cycles for the same.

s0-s15 are the accumulators, row by row; s16-s23 two rows of B; s24-s31 what the two links need of A.

A depthwise convolution has two loads for every VFMA whatever one does with one pixel, so that core takes eight channels
at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from assembly import file, function, write

GEMM = ("a", "a_row", "k", "b", "panels", "c", "c_row", "start", "start_row", "start_step")
"""The fields of gg_m7_gemm_t, a word each."""
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
"""Those of gg_m7_taps_t."""
CODES = ("from", "from_row", "fours", "rows", "to", "to_row", "second", "pair_step", "less")
"""Those of gg_m7_codes_t."""


def field(name: str, fields: Sequence[str] = GEMM) -> str:
    """Where a field of the struct is, by the pointer that is kept in r11."""
    return f"[r11, #{4 * fields.index(name)}]"


def vfma(m: int, n: int, a: int, b: int) -> str:
    """The next link of chain (m, n), from single registers."""
    return f"vfma.f32 s{4 * m + n}, s{a}, s{b}"


def rows_turn() -> Iterator[str]:
    """Eight links where A's links lie in rows: r0-r3 point into four rows, r4 into B."""
    for _ in range(4):
        yield "vldmia r4!, {s16-s23}"
        yield from (f"vldmia r{m}!, {{d{12 + m}}}" for m in range(4))
        for k in range(2):
            yield from (vfma(m, n, 24 + 2 * m + k, 16 + 4 * k + n) for m in range(4) for n in range(4))


def rows_link() -> Iterator[str]:
    """One link."""
    yield "vldmia r4!, {s16-s19}"
    yield from (f"vldmia r{m}!, {{s{24 + 2 * m}}}" for m in range(4))
    yield from (vfma(m, n, 24 + 2 * m, 16 + n) for m in range(4) for n in range(4))


def rows_begin() -> Iterator[str]:
    """The four rows of A."""
    yield f"ldr r0, {field('a')}"
    yield f"ldr r12, {field('a_row')}"
    yield from (f"add r{m}, r{m - 1}, r12" for m in range(1, 4))


def columns_turn() -> Iterator[str]:
    """Four links where A's links lie r1 bytes apart, four chains side by side: r0 points into A, r4 into B."""
    for _ in range(2):
        yield "vldmia r4!, {s16-s23}"
        yield from ("vldmia r0, {s24-s27}", "add r0, r1", "vldmia r0, {s28-s31}", "add r0, r1")
        for k in range(2):
            yield from (vfma(m, n, 24 + 4 * k + m, 16 + 4 * k + n) for m in range(4) for n in range(4))


def columns_link() -> Iterator[str]:
    """One link."""
    yield "vldmia r4!, {s16-s19}"
    yield from ("vldr d12, [r0]", "vldr d13, [r0, #8]", "add r0, r1")
    yield from (vfma(m, n, 24 + m, 16 + n) for m in range(4) for n in range(4))


def columns_begin() -> Iterator[str]:
    """The first link's chains, and how far the next is."""
    yield f"ldr r0, {field('a')}"
    yield f"ldr r1, {field('a_row')}"


def tile(address: str, row: str, move: str) -> Iterator[str]:
    """The accumulators from or to four rows of memory."""
    for m in range(4):
        yield f"{move} {address if m == 0 else 'r12'}, {{s{4 * m}-s{4 * m + 3}}}"
        if m < 3:
            yield f"add r12, {address if m == 0 else 'r12'}, {row}"


def over(body: Sequence[str]) -> Iterator[str]:
    """A function of one pointer, which it keeps in r11."""
    yield "push {r4-r11, lr}"
    yield "vpush {d8-d15}"
    yield "mov r11, r0"
    yield from body
    yield "vpop {d8-d15}"
    yield "pop {r4-r11, pc}"


def gemm(turn: int, begin: Sequence[str], body: Sequence[str], link: Sequence[str]) -> Iterator[str]:
    """Panel after panel, in each all links: turns of the loop, then what is left."""
    for register, what in zip((4, 6, 7, 8, 9, 10), ("b", "c", "start", "c_row", "start_row", "panels"), strict=True):
        yield f"ldr r{register}, {field(what)}"
    yield "1:"
    yield from begin
    yield from tile("r7", "r9", "vldmia")
    yield f"ldr r5, {field('k')}"
    yield f"subs r5, #{turn}"
    yield "blt 3f"
    yield "2:"
    yield from body
    yield f"subs r5, #{turn}"
    yield "bge 2b"
    yield "3:"
    yield f"adds r5, #{turn}"
    yield "beq 5f"
    yield "4:"
    yield from link
    yield "subs r5, #1"
    yield "bne 4b"
    yield "5:"
    yield from tile("r6", "r8", "vstmia")
    yield "adds r6, #16"
    yield f"ldr r12, {field('start_step')}"
    yield "add r7, r12"
    yield "subs r10, #1"
    yield "bne 1b"


def taps() -> Iterator[str]:
    """Block after block of eight channels, in each all taps."""
    registers = {"g": 0, "w": 1, "c": 2, "start": 3, "g_column": 6, "g_row": 7, "w_column": 8, "w_row": 9, "blocks": 10}
    for name, register in registers.items():
        yield f"ldr r{register}, {field(name, TAPS)}"
    yield "1:"
    yield "vldmia r3, {s0-s7}"
    yield from ("mov r4, r0", "mov r5, r1", f"ldr r12, {field('rows', TAPS)}")
    yield "2:"
    yield f"ldr lr, {field('columns', TAPS)}"
    yield "3:"
    yield "vldmia r4, {s8-s15}"
    yield "vldmia r5, {s16-s23}"
    yield from ("add r4, r6", "add r5, r8", "subs lr, #1")
    yield from (f"vfma.f32 s{c}, s{8 + c}, s{16 + c}" for c in range(8))
    yield "bne 3b"
    yield from ("add r4, r7", "add r5, r9", "subs r12, #1", "bne 2b")
    yield "vstmia r2!, {s0-s7}"
    yield from ("adds r0, #32", f"ldr r12, {field('w_block', TAPS)}", "add r1, r12")
    yield from (f"ldr r12, {field('start_step', TAPS)}", "add r3, r12")
    yield from ("subs r10, #1", "bne 1b")


def quads(count: int) -> Iterator[str]:
    """So many times four codes at r1, to r2 and, alternately, r12 and r10 further.

    The core extends the codes of a word, one a cycle, in the older slot; beside that the FPU converts those of the word
    before.
    """

    def turn(quad: int, i: int) -> Iterator[str]:
        """One code of a quad, and beside it one of the quad before."""
        if quad < count:
            yield f"sxtab r{5 + i}, r9, r{3 + quad % 2}" + (f", ror #{8 * i}" if i else "")
        if quad > 0:
            yield f"vcvt.f32.s32 s{4 * ((quad - 1) % 2) + i}, s{4 * ((quad - 1) % 2) + i}"

    yield from (f"ldr r{3 + quad}, [r1], #4" for quad in range(min(count, 2)))
    for quad in range(count + 1):
        s = 4 * (quad % 2)
        yield from (*turn(quad, 0), *turn(quad, 1))
        if quad < count:
            yield f"vmov s{s}, s{s + 1}, r5, r6"
        yield from (*turn(quad, 2), *turn(quad, 3))
        if quad < count:
            yield f"vmov s{s + 2}, s{s + 3}, r7, r8"
        if quad > 0:
            yield f"vstmia r2, {{s{4 - s}-s{7 - s}}}"
        if quad + 2 < count:
            yield f"ldr r{3 + quad % 2}, [r1], #4"
        if quad > 0:
            yield f"add r2, r{12 if quad % 2 else 10}"


def floats() -> Iterator[str]:
    """Row after row: four words at a time, then two, then one."""
    for name, register in {"less": 9, "pair_step": 10, "second": 12, "rows": 0}.items():
        yield f"ldr r{register}, {field(name, CODES)}"
    yield "sub r10, r12"
    yield "1:"
    yield from (f"ldr r1, {field('from', CODES)}", f"ldr r2, {field('to', CODES)}", f"ldr lr, {field('fours', CODES)}")
    yield from (f"ldr r4, {field('from_row', CODES)}", f"ldr r5, {field('to_row', CODES)}")
    yield from ("add r4, r1", "add r5, r2", f"str r4, {field('from', CODES)}", f"str r5, {field('to', CODES)}")
    yield from ("subs lr, #4", "blt 3f")
    yield "2:"
    yield from (*quads(4), "subs lr, #4", "bge 2b")
    yield "3:"
    yield from ("tst lr, #2", "beq 4f", *quads(2))
    yield "4:"
    yield from ("tst lr, #1", "beq 5f", *quads(1))
    yield "5:"
    yield from ("subs r0, #1", "bne 1b")


FUNCTIONS = (
    function(
        "gg_m7_gemm_rows",
        "const gg_m7_gemm_t *p __attribute__((unused))",
        over([*gemm(8, [*rows_begin()], [*rows_turn()], [*rows_link()])]),
        "CONV-S4: a(m, i) = a[m * a_row][i].",
    ),
    function(
        "gg_m7_gemm_columns",
        "const gg_m7_gemm_t *p __attribute__((unused))",
        over([*gemm(4, [*columns_begin()], [*columns_turn()], [*columns_link()])]),
        "CONV-S5: a(m, i) = a[i * a_row][m].",
    ),
    function(
        "gg_m7_taps",
        "const gg_m7_taps_t *p __attribute__((unused))",
        over([*taps()]),
        "DW-S4: the taps of a pixel.",
    ),
    function(
        "gg_m7_floats",
        "gg_m7_codes_t *p __attribute__((unused))",
        over([*floats()]),
        "CONV-S5: codes less their zero point.",
    ),
)

if __name__ == "__main__":
    comment = "Chains of fused multiply-adds, many at a time."
    write("chains_f32.c", file("chains_f32.py", comment, ("chains_f32.h",), FUNCTIONS))
