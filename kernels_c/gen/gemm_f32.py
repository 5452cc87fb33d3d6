"""Products of float32 matrices, a tile of 4 x 4 or 4 x 6 chains at a time, as Thumb-2 for a Cortex-M7.

What a core computes, and what it is given, says ``kernels_c/src/cortex_m7/gemm_f32.h``.

A VFMA starts every cycle if its accumulator was written three cycles ago; sixteen accumulators and more, one after the
other, are far more than that.  What is left to arrange are operands (docs/fast-kernels-backward.md):

- VLDM, or VLDR of a double, loads two floats a cycle, but waits until the VFMA before it are three cycles old.
- VMOV of two from core registers waits for nothing and takes a cycle; LDR into those stands beside any VFMA.
- VLDR of a float waits for nothing as the older of its cycle, and may stand beside the first VFMA of several.

A VMOV or VLDR falls beside a VFMA, and waits, if nothing else stands there: something does beside the last of several.

The accumulators are s0 and on, row by row.  Of 4 x 6 chains eight registers are left: s24-s27 hold a link of A's four
rows, s28-s31 four of its columns of B.  Of 4 x 4, sixteen: s16-s23 two links of B, s24-s31 those of A.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

from assembly import file, function, over, write

FIELDS = (
    *("a", "a_row", "k", "c_row", "start_row", "start_step", "b", "panels", "c", "start", "left"),
    *("codes", "codes_panel", "codes_row", "table", "tiles"),
)
"""The fields of gg_m7_gemm_t, a word each."""
TURN = 8
"""Links of a turn of the loop."""
SHORT = {4: 8, 6: 4}
"""Those of a turn whose B is made of codes, by columns: it should leave room for other code among 64 lines of flash."""


def field(name: str) -> str:
    """Where a field of the struct is, by the pointer that is kept in r11."""
    return f"[r11, #{4 * FIELDS.index(name)}]"


def vfma(width: int, m: int, n: int, a: int, b: int) -> str:
    """The next link of chain (m, n), from single registers."""
    return f"vfma.f32 s{width * m + n}, s{a}, s{b}"


def among(products: Iterable[str], beside: Iterable[str]) -> Iterator[str]:
    """Products, and what stands beside each, if anything does."""
    for product, other in itertools.zip_longest(products, beside, fillvalue=""):
        yield product
        if other:
            yield other


def last(products: Sequence[str], first: str, others: Sequence[str]) -> Iterator[str]:
    """Products with one instruction beside the first, and the others each beside one of the last."""
    yield from among(products, [first, *[""] * (len(products) - len(others) - 1), *others])


# --- 4 x 4 chains, two links at a time --------------------------------------------------------------------------------


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
        products = [vfma(4, m, n, 24 + 2 * m + k, 16 + 4 * k + n) for k in range(2) for m in range(4) for n in range(4)]
        on = "!" if pair == 2 else ""
        beside = [f"ldr r9, [r0, #{at + 20}]", f"ldr lr, [r1, #{at + 20}]"]
        beside += [f"ldr r8, [r0, #{at + 16}]{on}", f"ldr r12, [r1, #{at + 16}]{on}"]
        if pair == 3:
            beside = ["add r3, #32", "subs r5, #8", "bge 2b"]
        yield from last(products, f"vldr s31, [r3, #{at + 4}]", beside)


def rows_link() -> Iterator[str]:
    """One link."""
    yield "vldmia r4!, {s16-s19}"
    yield from (f"vldmia r{m}!, {{s{24 + 2 * m}}}" for m in range(4))
    yield from (vfma(4, m, n, 24 + 2 * m, 16 + n) for m in range(4) for n in range(4))


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
        products = [vfma(4, m, n, 24 + 4 * k + m, 16 + 4 * k + n) for k in range(2) for m in range(4) for n in range(4)]
        beside = ["add r0, r2, r1", "", "add r2, r0, r1"]
        if pair < 3:
            beside[2:2] = [f"ldr {register}, [r0, #{4 * m}]" for m, register in enumerate(("r8", "r9", "r12", "lr"))]
        else:
            beside += ["subs r5, #8", "bge 2b"]
        yield from last(products, "vldr s29, [r2, #4]", beside)


def columns_link() -> Iterator[str]:
    """One link."""
    yield "vldmia r4!, {s16-s19}"
    yield from ("vldr d12, [r0]", "vldr d13, [r0, #8]", "add r0, r1")
    yield from (vfma(4, m, n, 24 + m, 16 + n) for m in range(4) for n in range(4))


# --- a link at a time -------------------------------------------------------------------------------------------------


def products_of(width: int, pair: int, columns: int) -> list[str]:
    """A link of two columns of chains, whose B is in s(columns) and the next."""
    return [vfma(width, m, 2 * pair + n, 24 + m, columns + n) for n in range(2) for m in range(4)]


def wide_turn() -> Iterator[str]:
    """Eight links of 4 x 6 chains: r0-r3 point into four rows, a link before; r4 into B.

    In the three cycles after a VFMA in which two floats of B cannot be loaded, A and one more of B can; a fourth of B
    stands beside the first VFMA; two follow when the first two columns are done.
    """
    for link in range(TURN):
        at = 24 * link
        if link == 0:
            yield from ("ldr r8, [r0, #4]!", "ldr r9, [r1, #4]!", "vldr s26, [r2, #4]", "vmov s24, s25, r8, r9")
            yield from (f"vldr d14, [r4, #{at}]", "vldr s27, [r3, #4]", f"vldr s30, [r4, #{at + 8}]")
        else:
            yield from ("vmov s24, s25, r8, r9", "vmov s26, s27, r12, lr")
            yield from (f"vldr s30, [r4, #{at + 8}]", f"vldr d14, [r4, #{at}]")
        four = [f"vldr s31, [r4, #{at + 12}]", *[""] * 4, f"ldr r8, [r4, #{at + 16}]", f"ldr r9, [r4, #{at + 20}]"]
        on = 8 if link == 0 else 4
        if link < TURN - 1:
            four += [f"ldr r12, [r2, #{on}]!"]
            two = [*[""] * 13, "ldr r8, [r0, #4]!", "ldr r9, [r1, #4]!", f"ldr lr, [r3, #{on}]!"]
        else:
            four += [f"add r4, #{24 * TURN}"]
            two = [*[""] * 11, f"subs r5, #{TURN}", "", "", "", "bne 2b"]
        yield from among(products_of(6, 0, 28), four)
        yield "vmov s28, s29, r8, r9"
        yield from among([*products_of(6, 1, 30), *products_of(6, 2, 28)], two)


def codes(pair: int, width: int, x: str = "r6", y: str = "r7") -> tuple[str, ...]:
    """Two codes of a link, from the table, and into B: two instructions each."""
    at = 2 * (pair % (width // 2))
    loads = (f"ldrb {x}, [r12, #{at}]", f"ldrb {y}, [r12, #{at + 1}]")
    return (*loads, *(f"ldr {r}, [lr, {r}, lsl #2]" for r in (x, y)), *(f"str {r}, [r4], #4" for r in (x, y)))


def move(pair: int, x: str = "r6", y: str = "r7") -> str:
    """Two codes to where they are multiplied: pair after pair, one and the other two registers."""
    return f"vmov s{28 + 2 * (pair % 2)}, s{29 + 2 * (pair % 2)}, {x}, {y}"


def codes_begin(width: int) -> Iterator[str]:
    """The first two pairs of codes: one is moved, the other in r6 and r7."""
    one, other = codes(0, width, "r8", "r10"), codes(1, width)
    yield from (*one[:2], *other[:2], *one[2:4], *other[2:4], *one[4:], *other[4:], move(0, "r8", "r10"))


def codes_beside(width: int, pair: int, lead: list[str], free: list[str], end: list[str]) -> Iterator[str]:
    """A pair's products; beside them the codes of the pair after the next, and of what is free one or two."""
    made = codes(pair + 2, width)
    one = free.pop(0) if free else ""
    two = [] if lead or end else [free.pop(0) if free else ""]
    beside = [*lead, *made[:2], one, *made[2:4], *two, *made[4:], *end]
    yield from among(products_of(width, pair % (width // 2), 28 + 2 * (pair % 2)), beside)


def codes_turn(width: int) -> Iterator[str]:
    """Links whose B is made of codes, and stored.

    r4 points into B, r12 to codes, whose rows are r9 apart, lr to the table, r2 and r3 into two rows of A, r0 and r1 a
    link before.  While two columns of a link are multiplied, the codes of the two after the next become float32: LDRB,
    LDR from the table and STR stand beside VFMA, and a VMOV is left.  Of a link's A, two come by VMOV, one by VLDR, and
    one by VLDR beside the first VFMA; of the first link, for which nothing was loaded before, three by VLDR.  What else
    there is to do stands in ``free`` until there is room.  The last turn, which no codes follow, reads its last link's
    once more: r11, by which it goes on, is then 0, else r9.
    """
    pairs, turn = width // 2, SHORT[width]
    free = [f"subs r5, #{turn}", "sub r11, r5, #1", "bic r11, r9, r11, asr #31"]
    for link in range(turn):
        on = "add r12, r11" if link == turn - 1 else "add r12, r9"
        if pairs == 2:  # two pairs on is a link on
            free.insert(0, on)
        if link == 0:
            for row in range(3):
                yield from (f"vldr s{24 + row}, [r{row}, #{4 if row < 2 else 0}]", free.pop(0))
            yield move(1)
        else:
            yield from ("vmov s24, s25, r8, r10", move(pairs * link + 1), f"vldr s26, [r2, #{4 * link}]")
            yield from (free.pop(0) for _ in free[:1])
        if pairs == 3:
            free.insert(0, on)
        if link == turn - 1:
            free += [f"add r{row}, #{4 * turn}" for row in (2, 3)]
        else:
            back = "!" if link == turn - 2 else ""
            free += [f"ldr {r}, [{row}, #{4 * link + 8}]{back}" for r, row in (("r8", "r0"), ("r10", "r1"))]
        lead = [f"vldr s27, [r3, #{4 * link}]"]
        for pair in range(pairs * link, pairs * link + pairs):
            if not lead:
                yield move(pair + 1)
            end = ["bne 2b"] if pair == pairs * turn - 1 else []
            yield from codes_beside(width, pair, lead, free, end)
            lead = []
    assert not free


# --- tiles ------------------------------------------------------------------------------------------------------------


def tile(width: int, move: str, addresses: Sequence[str]) -> Iterator[str]:
    """The accumulators from or to four rows of memory."""
    for m, address in enumerate(addresses):
        yield f"{move} {address}, {{s{width * m}-s{width * m + width - 1}}}"


ROWS_BEGIN = ("add r1, r0, r3", "add r2, r1, r3", "add r3, r2, r3")
COLUMNS_BEGIN = ("mov r1, r3", "add r2, r0, r3")
"""Pointers into A from the first, r0, and how far they are apart, r3."""


def started(width: int, begin: Sequence[str]) -> Iterator[str]:
    """The accumulators of a tile from r7; with them pointers into A."""
    yield from (f"ldr r9, {field('start_row')}", *begin[:2], "add r8, r7, r9", *begin[2:3], "add r12, r8, r9")
    yield from ("add lr, r12, r9", *begin[3:])
    yield from tile(width, "vldmia", ("r7", "r8", "r12", "lr"))


def stored(width: int) -> Iterator[str]:
    """The accumulators to r6, whose rows are r10 apart, and on to the next tile; flags say whether there is one.

    Three cycles pass before the first can be stored: what follows is loaded in them.
    """
    yield from ("add r8, r6, r10", f"ldr r0, {field('a')}", "add r12, r8, r10", f"ldr r5, {field('k')}")
    yield from ("add lr, r12, r10", f"ldr r3, {field('a_row')}")
    yield from tile(width, "vstmia", ("r6", "r8", "r12", "lr"))
    yield from (f"ldr r1, {field('left')}", f"ldr r9, {field('start_step')}", "subs r1, #1", f"add r6, #{4 * width}")
    yield from ("add r7, r9", f"str r1, {field('left')}")


def links(turn: Iterable[str], rest: Iterable[str], link: Iterable[str]) -> Iterator[str]:
    """All links of a tile: turns of eight, then what is left."""
    yield from ("subs r5, #8", "blt 3f", "2:", *turn, "3:", "adds r5, #8", "beq 5f", *rest)
    yield from ("4:", *link, "subs r5, #1", "bne 4b", "5:")


def again(width: int, begin: Sequence[str], body: Iterable[str], next_a: str, before: int = 0) -> Iterator[str]:
    """Four rows after four rows, in each panel after panel; pointers into A are so many bytes before."""
    if before:
        yield from (f"ldr r0, {field('a')}", f"subs r0, #{before}", f"str r0, {field('a')}")
    yield from (f"ldr r6, {field('c')}", f"ldr r7, {field('start')}", f"ldr r10, {field('c_row')}")
    yield from ("0:", f"ldr r0, {field('a')}", f"ldr r3, {field('a_row')}", f"ldr r1, {field('panels')}")
    yield from (f"ldr r4, {field('b')}", f"ldr r5, {field('k')}", f"str r1, {field('left')}")
    yield from ("1:", *started(width, begin), *body, *stored(width), "bne 1b")
    yield from (f"ldr r1, {field('tiles')}", f"ldr r6, {field('c')}", f"ldr r7, {field('start')}", next_a)
    yield from (f"ldr r9, {field('start_row')}", "subs r1, #1", "add r6, r6, r10, lsl #2", "add r7, r7, r9, lsl #2")
    yield from (f"str r{r}, {field(name)}" for r, name in ((0, "a"), (1, "tiles"), (6, "c"), (7, "start")))
    yield "bne 0b"


def first(width: int) -> Iterator[str]:
    """Four rows, panel after panel."""
    yield from (f"ldr r1, {field('panels')}", f"ldr r3, {field('a_row')}", f"ldr r7, {field('start')}")
    yield from (f"ldr r5, {field('k')}", f"str r1, {field('left')}")
    yield from ("push {r0}", f"ldr r0, {field('a')}", "1:")
    yield from started(width, (*ROWS_BEGIN, "subs r0, #4", "subs r1, #4"))
    yield from (f"ldr r12, {field('codes')}", f"ldr r4, {field('b')}")
    yield from (f"ldr r9, {field('codes_row')}", f"ldr lr, {field('table')}", *codes_begin(width))
    yield from ("2:", *codes_turn(width), "ldr r11, [sp]", "subs r4, #16")
    yield from (f"ldr r6, {field('c')}", f"ldr r10, {field('c_row')}", f"ldr r7, {field('start')}", *stored(width))
    yield from (f"ldr r12, {field('codes')}", f"ldr r9, {field('codes_panel')}", f"str r6, {field('c')}")
    yield from ("add r12, r9", f"str r7, {field('start')}", f"str r4, {field('b')}", f"str r12, {field('codes')}")
    yield from ("bne 1b", "add sp, #4")


PARAMETERS = "gg_m7_gemm_t *p __attribute__((unused))"
NEXT_ROWS, NEXT_COLUMNS = "add r0, r0, r3, lsl #2", "add r0, #16"
ROWS_LEFT = ("adds r0, #8", "adds r1, #8")


def core(name: str, body: Iterable[str], comment: str) -> Iterator[str]:
    """A function of the struct."""
    return function(name, PARAMETERS, over(body), comment)


def copied() -> Iterator[str]:
    """The table to r0."""
    yield from ("vpush {d8-d15}", "ldr r1, =gg_m7_code_floats", "movs r2, #8", "1:")
    yield from ("vldmia r1!, {s0-s31}", "subs r2, #1", "vstmia r0!, {s0-s31}", "bne 1b")
    yield from ("vpop {d8-d15}", "bx lr", ".ltorg")


def table() -> Iterator[str]:
    """Codes as float32, by their low eight bits."""
    yield "static const float gg_m7_code_floats[256] __attribute__((used)) = {"
    for low in range(0, 256, 8):
        codes = (code - 256 if code >= 128 else code for code in range(low, low + 8))
        yield "    " + " ".join(f"{code}.0F," for code in codes)
    yield "};"


FUNCTIONS = (
    core(
        "gg_m7_gemm_rows",
        again(4, (*ROWS_BEGIN, "subs r0, #8", "subs r1, #8"), links(rows_turn(), ROWS_LEFT, rows_link()), NEXT_ROWS),
        "CONV-S4: a(m, i) = a[m * a_row][i].",
    ),
    core(
        "gg_m7_gemm_columns",
        again(4, COLUMNS_BEGIN, links(columns_turn(), (), columns_link()), NEXT_COLUMNS),
        "CONV-S5: a(m, i) = a[i * a_row][m].",
    ),
    core(
        "gg_m7_gemm_rows_6",
        again(6, ROWS_BEGIN, ["2:", *wide_turn()], NEXT_ROWS, 4),
        "CONV-S4: six columns at a time.",
    ),
    function("gg_m7_copy_code_floats", "float *to __attribute__((unused))", copied(), "CONV-S4: codes as float32."),
    core("gg_m7_gemm_codes", first(4), "CONV-S4, of codes."),
    core("gg_m7_gemm_codes_6", first(6), "CONV-S4, of codes: six columns at a time."),
)

if __name__ == "__main__":
    write("gemm_f32.c", file("gemm_f32.py", "Products of float32 matrices.", ("gemm_f32.h",), (table(), *FUNCTIONS)))
