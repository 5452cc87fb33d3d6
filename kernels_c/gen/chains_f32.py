"""The float32 cores of the backward pass: many chains at a time, as Thumb-2 for a Cortex-M7.

What a core computes, and what it is given, says ``kernels_c/src/cortex_m7/chains_f32.h``.

The schedule of products of matrices, 4 x 4 chains at a time.  A VFMA starts every cycle if its accumulator was written
three cycles ago; sixteen accumulators, one after the other, are far more than that.  What is left to arrange are loads:

- A load of two floats takes one issue slot as one of a single float does (VLDR of a D register).  So two links of every
  chain, k and k + 1, are computed from one load of each operand: 4 x 2 floats of A, 2 x 4 of B, eight loads for 32 VFMA.
- A load beside another one waits for the VFMA before them to end; alone between VFMA it does not.  So loads stand
  apart, four VFMA between them, each into registers that the VFMA before it was the last to read.
- VLDM waits for every VFMA before it, so it is used only where a tile or a turn of the loop begins.

s0-s15 are the accumulators, row by row; d8-d11 two rows of B; d12-d15 what two links need of A.

A depthwise convolution has two loads for every VFMA whatever one does with one pixel, so that core takes eight channels
at a time with VLDM, which is least instructions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

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


def field(name: str, fields: Sequence[str] = GEMM) -> str:
    """Where a field of the struct is, by the pointer that is kept in r11."""
    return f"[r11, #{4 * fields.index(name)}]"


def vfma(m: int, n: int, a: int, b: int) -> str:
    """The next link of chain (m, n), from single registers."""
    return f"vfma.f32 s{4 * m + n}, s{a}, s{b}"


def weave(work: Sequence[str], loads: Mapping[int, str]) -> Iterator[str]:
    """Each load after so many lines of the work."""
    for done, line in enumerate(work, 1):
        yield line
        if done in loads:
            yield loads[done]


def rows_turn() -> Iterator[str]:
    """Eight links where A's links lie in rows: r0-r3 point into four rows, r4 into B."""
    yield "vldmia r4!, {s16-s23}"
    yield from (f"vldr d{12 + m}, [r{m}]" for m in range(4))
    for pair in range(4):
        first, last = pair == 0, pair == 3
        b = 32 * pair  # r4 is two rows ahead
        # k: column after column, so that nobody reads d8 after eight VFMA, nor d9 after sixteen.
        loads = {} if last else {8: f"vldr d8, [r4, #{b}]", 16: f"vldr d9, [r4, #{b + 8}]"}
        # what k + 1 reads of B, unless the turn began with it
        loads |= {} if first else {4: f"vldr d10, [r4, #{b - 16}]", 12: f"vldr d11, [r4, #{b - 8}]"}
        yield from weave([vfma(m, n, 24 + 2 * m, 16 + n) for n in range(4) for m in range(4)], loads)
        # k + 1: row after row, so that one more of d12-d15 is free after every four VFMA.
        loads = {} if last else {4 * m + 4: f"vldr d{12 + m}, [r{m}, #{8 * pair + 8}]" for m in range(4)}
        yield from weave([vfma(m, n, 25 + 2 * m, 20 + n) for m in range(4) for n in range(4)], loads)
    yield from (f"adds r{m}, #32" for m in range(4))
    yield "adds r4, #96"


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
    yield "vldmia r4!, {s16-s23}"
    for d in (12, 14):
        yield from (f"vldr d{d}, [r0]", f"vldr d{d + 1}, [r0, #8]", "add r0, r1")
    for pair in range(2):
        first, last = pair == 0, pair == 1
        odd = {4: "vldr d14, [r0]", 8: "vldr d15, [r0, #8]", 9: "add r0, r1"}
        odd |= {12: "vldr d10, [r4, #16]", 16: "vldr d11, [r4, #24]"}
        yield from weave([vfma(m, n, 24 + m, 16 + n) for n in range(4) for m in range(4)], {} if first else odd)
        even = {4: "vldr d12, [r0]", 8: "vldr d13, [r0, #8]", 9: "add r0, r1"}
        even |= {12: "vldr d8, [r4]", 16: "vldr d9, [r4, #8]"}
        yield from weave([vfma(m, n, 28 + m, 20 + n) for n in range(4) for m in range(4)], {} if last else even)
    yield "adds r4, #32"


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
)

if __name__ == "__main__":
    comment = "Chains of fused multiply-adds, many at a time."
    write("chains_f32.c", file("chains_f32.py", comment, ("chains_f32.h",), FUNCTIONS))
