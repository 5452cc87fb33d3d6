"""The float32 cores of the backward pass: many chains at a time, as Thumb-2 for a Cortex-M7.

What a core computes, and what it is given, says ``kernels_c/src/cortex_m7/chains_f32.h``.

The schedule of products of matrices, 4 x 4 chains at a time.  A VFMA starts every cycle if its accumulator was written
three cycles ago; sixteen accumulators, one after the other, are far more than that.  What is left to arrange are loads:

- A load of several floats takes half an issue slot for each (VLDM), but waits until the VFMA before it are three cycles
  old, and nothing goes on beside it.  So all that two links of every chain need, 2 x 4 floats of B and 4 x 2 of A, is
  loaded at once: 3 + 8 cycles for 32 VFMA.
- A load of one float does not wait if it stands alone between VFMA, and takes a slot: 16 cycles for the same.

s0-s15 are the accumulators, row by row; s16-s23 two rows of B; s24-s31 what the two links need of A.

A depthwise convolution has two loads for every VFMA whatever one does with one pixel; the core of a single one takes
four channels at a time.
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
CODES = ("from", "from_row", "fours", "rows", "to", "to_column", "less")
"""Those of gg_m7_codes_t."""


def field(name: str, fields: Sequence[str] = GEMM) -> str:
    """Where a field of the struct is, by the pointer that is kept in r11."""
    return f"[r11, #{4 * fields.index(name)}]"


def vfma(m: int, n: int, a: int, b: int) -> str:
    """The next link of chain (m, n), from single registers."""
    return f"vfma.f32 s{4 * m + n}, s{a}, s{b}"


def among(products: Sequence[str], first: str, others: Sequence[str]) -> Iterator[str]:
    """Products with one instruction beside the first, and the others each beside one of the last.

    One stands beside the very last: the younger slot there must be taken, or what follows falls into it and waits.
    """
    yield products[0]
    yield first
    alone = len(products) - len(others)
    yield from products[1:alone]
    for product, other in zip(products[alone:], others, strict=True):
        yield product
        yield other


def rows_turn() -> Iterator[str]:
    """Eight links where A's links lie in rows: r0-r3 point into four rows, r0 and r1 two links before; r4 into B.

    Rows 0 and 1 of the next two links come through core registers, while products run; of the first two, for which
    nothing runs yet, row 0 comes as row 3 does.
    """
    for pair in range(4):
        at = 8 * pair
        if pair == 0:
            yield from ("vldr s24, [r0, #8]", "ldr r9, [r1, #12]", "vldr s25, [r0, #12]", "ldr r8, [r1, #8]")
            yield from ("vldr s30, [r3]", "vldmia r4!, {s16-s23}", "vmov s26, s27, r8, r9")
        else:
            yield from ("vmov s24, s25, r8, r9", "vmov s26, s27, r12, lr", f"vldr s30, [r3, #{at}]")
            yield "vldmia r4!, {s16-s23}"
        yield "vldmia r2!, {d14}"
        products = [vfma(m, n, 24 + 2 * m + k, 16 + 4 * k + n) for k in range(2) for m in range(4) for n in range(4)]
        on = "!" if pair == 2 else ""
        beside = [f"ldr r9, [r0, #{at + 20}]", f"ldr lr, [r1, #{at + 20}]"]
        beside += [f"ldr r8, [r0, #{at + 16}]{on}", f"ldr r12, [r1, #{at + 16}]{on}"]
        if pair == 3:
            beside = ["add r3, #32", "subs r5, #8", "bge 2b"]
        yield from among(products, f"vldr s31, [r3, #{at + 4}]", beside)


def rows_link() -> Iterator[str]:
    """One link."""
    yield "vldmia r4!, {s16-s19}"
    yield from (f"vldmia r{m}!, {{s{24 + 2 * m}}}" for m in range(4))
    yield from (vfma(m, n, 24 + 2 * m, 16 + n) for m in range(4) for n in range(4))


def rows_begin() -> Iterator[str]:
    """The four rows of A."""
    yield from (f"ldr r0, {field('a')}", f"ldr r12, {field('a_row')}")
    yield from ("add r2, r0, r12, lsl #1", "subs r0, #8", "add r1, r0, r12", "add r3, r2, r12")


def columns_turn() -> Iterator[str]:
    """Eight links where A's lie r1 bytes apart, four chains side by side: r0 and r2 point to two of A, r4 into B.

    As where they lie in rows: the first of the next two links comes through core registers.
    """
    for pair in range(4):
        if pair == 0:
            yield from ("vldr s24, [r0]", "ldr r9, [r0, #12]", "vldr s25, [r0, #4]", "ldr r8, [r0, #8]")
            yield from ("vldr s28, [r2]", "vldmia r4!, {s16-s23}", "vmov s26, s27, r8, r9")
        else:
            yield from ("vmov s24, s25, r8, r9", "vmov s26, s27, r12, lr", "vldr s28, [r2]")
            yield "vldmia r4!, {s16-s23}"
        yield "vldr d15, [r2, #8]"
        products = [vfma(m, n, 24 + 4 * k + m, 16 + 4 * k + n) for k in range(2) for m in range(4) for n in range(4)]
        beside = ["add r0, r2, r1", "add r2, r0, r1"]
        if pair < 3:
            beside[1:1] = [f"ldr {register}, [r0, #{4 * m}]" for m, register in enumerate(("r8", "r9", "r12", "lr"))]
        else:
            beside += ["subs r5, #8", "bge 2b"]
        yield from among(products, "vldr s29, [r2, #4]", beside)


def columns_link() -> Iterator[str]:
    """One link."""
    yield "vldmia r4!, {s16-s19}"
    yield from ("vldr d12, [r0]", "vldr d13, [r0, #8]", "add r0, r1")
    yield from (vfma(m, n, 24 + m, 16 + n) for m in range(4) for n in range(4))


def columns_begin() -> Iterator[str]:
    """The first two links' chains, and how far the next is."""
    yield from (f"ldr r0, {field('a')}", f"ldr r1, {field('a_row')}", "add r2, r0, r1")


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


def gemm(begin: Sequence[str], body: Sequence[str], rest: Sequence[str], link: Sequence[str]) -> Iterator[str]:
    """Panel after panel, in each all links: turns of eight, then what is left."""
    for register, what in zip((4, 6, 7, 10), ("b", "c", "start", "panels"), strict=True):
        yield f"ldr r{register}, {field(what)}"
    yield "1:"
    yield from (*begin, f"ldr r9, {field('start_row')}", f"ldr r5, {field('k')}")
    yield from tile("r7", "r9", "vldmia")
    yield "subs r5, #8"
    yield "blt 3f"
    yield "2:"
    yield from body
    yield "3:"
    yield "adds r5, #8"
    yield "beq 5f"
    yield from rest
    yield "4:"
    yield from link
    yield "subs r5, #1"
    yield "bne 4b"
    yield "5:"
    yield f"ldr r8, {field('c_row')}"
    yield f"ldr r9, {field('start_step')}"
    yield from tile("r6", "r8", "vstmia")
    yield "adds r6, #16"
    yield "add r7, r9"
    yield "subs r10, #1"
    yield "bne 1b"


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
        "gg_m7_gemm_rows",
        "const gg_m7_gemm_t *p __attribute__((unused))",
        over([*gemm([*rows_begin()], [*rows_turn()], ["adds r0, #8", "adds r1, #8"], [*rows_link()])]),
        "CONV-S4: a(m, i) = a[m * a_row][i].",
    ),
    function(
        "gg_m7_gemm_columns",
        "const gg_m7_gemm_t *p __attribute__((unused))",
        over([*gemm([*columns_begin()], [*columns_turn()], [], [*columns_link()])]),
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
        "const gg_m7_codes_t *p __attribute__((unused))",
        over([*floats()]),
        "CONV-S5: codes less their zero point.",
    ),
)

if __name__ == "__main__":
    comment = "Chains of fused multiply-adds, many at a time."
    write("chains_f32.c", file("chains_f32.py", comment, ("chains_f32.h",), FUNCTIONS))
