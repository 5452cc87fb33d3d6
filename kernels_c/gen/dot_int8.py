"""Products of int8 pixels and int8 weights: blocks of 2 pixels x 4 outputs, requantized, with or without a mask.

Both operands are widened to pairs of int16 in scratch (gg_m7_widen_*), the two pixels' words in turn, and the four
outputs' words in turn.  A step multiplies one pair of channels: 8 SMLAD and the 6 loads of the next step, one beside
each of six SMLADs, so that it can issue in 8 cycles; each load comes at least two cycles before what multiplies by it.
Four steps are a turn of the loop: 8 channels, to which operands are filled up with zeros.

Three blocks are under way at once: beside the first turn of one, the sums of the block before are rounded, and the
codes of the one before that are packed and stored (schedule.py finds the order).  The first two times, what is stored
are no codes: it goes nowhere.

Registers: r0-r3 accumulators of the first pixel, r4-r7 of the second; r8, r9 the pixels' words; r10, r11 two of the
four outputs' words; r12 and lr where the weights and the pixels are read.  All else is on the stack.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from assembly import file, function, write
from schedule import repeated, scheduled

# Offsets in gg_m7_dot_t.
P_BIAS, P_M, P_W, P_X, P_X_TWO, P_X_END, P_Y, P_Y_STEP, P_MAGIC, P_MASK, P_MASK_STEP, P_BITS = range(0, 48, 4)
P_ROWS, P_GROUPS, P_DEPTH, P_TURNS = range(48, 64, 4)
# On the stack.
P, BIAS, W, X_END, Y, Y_STEP, MASK, MASK_STEP, BITS, NOWHERE, TURNS, BLOCK, LAST = 0, 4, *range(20, 64, 4)
FRAME = 68
W_END = "0x80008000"
"""Behind the last weight: no two weights are this."""
OTHER_HALF = (0x2211, 0x8844)
"""What makes the bits of a mask's byte those of its other half, by halfwords."""
LADDER, ROUND, TURN_BYTES = 8, 4, 224
"""Plain turns in a row, those of them that are gone through again, and how long one is."""


def turn(first: bool = False, end: Iterable[str] = ()) -> Iterator[str]:
    """Four steps; r8, r9 and r10 are loaded, and are again for the next turn at its end, unless that is another one.

    In the first turn of a block the biases of both pixels are in r0-r3, and outputs 2 and 3 begin, whose accumulators
    the codes before leave first.
    """
    for step in range(4):
        begins = first and step == 0
        for i, output in enumerate(FIRST_ORDER if begins else range(4)):
            word = f"r{10 + i % 2}"
            if i > 0:
                yield f"ldr {word}, [r12, #{16 * step + 4 * output}]"
            bias = output if begins else 4 + output
            yield f"smlad r{4 + output}, r9, {word}, r{bias}"
            yield f"smlad r{output}, r8, {word}, r{output}"
        if step < 3:
            yield f"ldr r10, [r12, #{16 * step + 16}]"
            yield f"ldr r8, [lr, #{8 * step + 8}]"
            yield f"ldr r9, [lr, #{8 * step + 12}]"
    yield from end or NEXT_TURN


WEIGHTS, ZERO = (f"ldr r12, [sp, #{W}]",), ("mov r12, #0",)
FIRST_ORDER = (3, 2, 1, 0)
NEXT_TURN = ("ldr r10, [r12, #64]!", "ldr r8, [lr, #32]!", "ldr r9, [lr, #4]")
NEXT_PAIR = (f"ldr r12, [sp, #{X_END}]", "add lr, lr, #32", "cmp lr, r12", "ldr r8, [lr]", "ldr r9, [lr, #4]")
"""Behind a block's last turn: the flags tell whether it was the last block."""


def begin(weights: Iterable[str] = WEIGHTS) -> Iterator[str]:
    """The biases, and where the weights begin."""
    yield from (f"ldr r{i}, [sp, #{BIAS + 4 * i}]" for i in range(4))
    yield from weights
    yield f"ldr r10, [r12, #{4 * FIRST_ORDER[0]}]"


def rounded() -> Iterator[str]:
    """CONV-S2: sums in s16-s23 as float32, times m, plus 1.5 * 2^23 and more, which rounds to nearest even (NUM-N6).

    The low 16 bits are then the code, where that is known to lie within them.  What is added besides is the zero point
    and 128, so that codes that fit are 0 .. 255; were it odd, ties would go to odd codes, so an odd one comes after.
    """
    yield from (f"vcvt.f32.s32 s{i}, s{16 + i}" for i in range(8))
    yield from (f"vmul.f32 s{i}, s{i}, s{8 + i % 4}" for i in range(8))
    yield from (f"vadd.f32 s{i}, s{i}, s12" for i in range(8))


def codes_before(mask: bool, odd: bool) -> Iterator[str]:
    """Sums of the block before leave the accumulators, and codes of the one before that become outputs.

    Of a pixel, outputs 0 and 2 are halfwords of a word, and 1 and 3 of the next: r4 and r5 of the first pixel, r0 and
    r1 of the second.
    """
    yield from (f"vmov s{16 + i}, s{17 + i}, r{i}, r{i + 1}" for i in range(0, 8, 2))
    for i, (a, b, c, d) in ((0, ("r4", "r5", "r6", "r7")), (4, ("r0", "r1", "r2", "r3"))):
        yield f"vmov {a}, {b}, s{i}, s{i + 1}"
        yield f"vmov {c}, {d}, s{i + 2}, s{i + 3}"
        yield f"pkhbt {a}, {a}, {c}, lsl #16"
        yield f"pkhbt {b}, {b}, {d}, lsl #16"
    if odd:
        yield "mov r11, #0x00010001"
        yield from (f"sadd16 {word}, {word}, r11" for word in ("r4", "r5", "r0", "r1"))
    if mask:
        yield from marks()
    yield from (f"usat16 {word}, #8, {word}" for word in ("r4", "r5", "r0", "r1"))
    yield "orr r4, r4, r5, lsl #8"
    yield "orr r0, r0, r1, lsl #8"
    yield "eor r4, r4, #0x80808080"
    yield "eor r0, r0, #0x80808080"
    yield f"ldr r5, [sp, #{Y}]"
    yield f"ldr r6, [sp, #{Y_STEP}]"
    yield "str r4, [r5]"
    yield "str r0, [r5, r6]"
    yield "add r5, r5, r6, lsl #1"
    yield f"str r5, [sp, #{Y}]"


def marks() -> Iterator[str]:
    """CONV-S3: four bits a pixel, 1 where the upper byte of a halfword is 0, that is where the clamp lets through."""
    yield "mov r10, #-1"
    yield f"ldr r11, [sp, #{BITS}]"
    yield from ZERO
    for even, odd, bits, other in (("r4", "r5", "r6", "r7"), ("r0", "r1", "r2", "r3")):
        yield f"uxtb16 {bits}, {even}, ror #8"
        yield f"bic {other}, {odd}, #0x00ff00ff"
        yield f"orr {bits}, {bits}, {other}"
        yield f"uadd8 {bits}, {bits}, r10"
        yield f"sel {bits}, r12, r11"
        yield f"usad8 {bits}, {bits}, r12"
    yield f"ldr r3, [sp, #{MASK}]"
    yield f"ldr r7, [sp, #{MASK_STEP}]"
    yield "ldrb r10, [r3]"
    yield "ldrb r11, [r3, r7]"
    yield "orr r6, r6, r10"
    yield "orr r2, r2, r11"
    yield "strb r6, [r3]"
    yield "strb r2, [r3, r7]"
    yield "add r3, r3, r7, lsl #1"
    yield f"str r3, [sp, #{MASK}]"


def turns() -> Iterator[str]:
    """Where a block goes behind its first turn, by how many it has; from here it goes back to its function (BLOCK).

    r0 turns; returns where to.  Plain turns stand in a row, which is entered so that its end is met with three turns
    left, or more often: then the last four of them are a loop, of two rounds at least, so that its branch is predicted
    but for the last.  The last three turns, or how many there are, have the float arithmetic of the block before.
    """
    yield "subs r0, r0, #4"
    yield "bls 3f"
    yield f"cmp r0, #{LADDER}"
    yield "bls 2f"
    yield "sub r0, r0, #1"
    yield f"and r0, r0, #{ROUND - 1}"
    yield "add r0, r0, #1"
    yield "2:"
    yield f"rsb r0, r0, #{LADDER}"
    yield f"mov r2, #{TURN_BYTES}"
    yield "adr.w r1, 4f"
    yield "mla r0, r0, r2, r1"
    yield "orr r0, r0, #1"
    yield "bx lr"
    yield "3:"
    yield "adr.w r1, 9f"
    yield "mov r2, #3"
    for label, missing in (("8", 1), ("7", 2), ("6", 3)):
        yield f"cmn r0, #{missing}"
        yield "it eq"
        yield f"adreq.w r1, {label}f"
    yield "orr r0, r1, #1"
    yield "bx lr"
    yield "4:"
    plain = repeated(turn())
    yield from plain * (LADDER - ROUND)
    yield "5:"
    yield from plain * (ROUND - 1)
    check = (f"ldr r10, [sp, #{LAST}]", "cmp r12, r10", *NEXT_TURN)
    yield from [*scheduled(("5:", *turn(end=check), "bne 5b"))][1:]  # as if it came behind itself
    for label, count in (("9", 3), ("8", 2), ("7", 1)):
        yield f"{label}:"
        last = [line for i in range(count) for line in turn(end=NEXT_PAIR if i == count - 1 else ())]
        yield from scheduled((*last, *rounded(), f"ldr pc, [sp, #{BLOCK}]"))
    yield "6:"
    yield from scheduled((f"ldr r12, [sp, #{X_END}]", *rounded(), "cmp lr, r12", f"ldr pc, [sp, #{BLOCK}]"))


def enter(raw: bool = False) -> Iterator[str]:
    """Registers are kept."""
    yield "push {r4-r11, lr}"
    if not raw:
        yield "vpush {s16-s23}"
    yield f"sub sp, sp, #{FRAME}"
    yield f"str r0, [sp, #{P}]"


def constants() -> Iterator[str]:
    """What is the same for all groups; r0 is p, and blocks come back to label 2."""
    yield f"vldr s12, [r0, #{P_MAGIC}]"
    yield f"ldr r1, [r0, #{P_W}]"
    yield f"ldr r2, [r0, #{P_DEPTH}]"
    yield f"ldr r3, [r0, #{P_TURNS}]"
    yield f"str r1, [sp, #{W}]"
    yield f"str r3, [sp, #{TURNS}]"
    yield "add r1, r1, r2, lsl #3"
    yield "sub r1, r1, #256"
    yield f"str r1, [sp, #{LAST}]"  # where the last of a row of plain turns begins, if three more come
    yield "adr.w r1, 2f"
    yield "orr r1, r1, #1"
    yield f"str r1, [sp, #{BLOCK}]"


def biases() -> Iterator[str]:
    """Those of four outputs, and the first pixels; r0 is p."""
    yield f"ldr r3, [r0, #{P_BIAS}]"
    for i in range(4):
        yield f"ldr r{4 + i}, [r3, #{4 * i}]"
        yield f"str r{4 + i}, [sp, #{BIAS + 4 * i}]"
    yield f"ldr lr, [r0, #{P_X}]"
    yield "ldr r8, [lr]"
    yield "ldr r9, [lr, #4]"


def weights() -> Iterator[str]:
    """The rows of four outputs are widened, unless they are already; r0 is p."""
    yield f"ldr r2, [r0, #{P_ROWS}]"
    yield f"ldr r1, [r0, #{P_DEPTH}]"
    yield "cmp r2, #0"
    yield "beq 7f"
    yield f"ldr r12, [r0, #{P_W}]"
    yield "add r3, r2, r1"
    yield "add r4, r3, r1"
    yield "add r5, r4, r1"
    yield "6:"
    yield from eight_channels()
    yield "subs r1, r1, #8"
    yield "bne 6b"
    yield f"ldr r0, [sp, #{P}]"
    yield f"str r5, [r0, #{P_ROWS}]"  # the next four rows are behind these
    yield "7:"


def group(mask: bool) -> Iterator[str]:
    """Four outputs begin; the first two blocks' predecessors are nowhere."""
    yield from biases()
    yield f"ldr r10, [r0, #{P_X_TWO}]"
    yield f"str r10, [sp, #{X_END}]"
    yield f"add r1, sp, #{NOWHERE}"
    yield "mov r2, #0"
    for pointer, step in ((Y, Y_STEP), *(((MASK, MASK_STEP),) if mask else ())):
        yield f"str r1, [sp, #{pointer}]"
        yield f"str r2, [sp, #{step}]"
    yield f"ldr r1, [r0, #{P_M}]"
    yield from (f"vldr s{8 + i}, [r1, #{4 * i}]" for i in range(4))
    if mask:
        yield f"ldr r2, [r0, #{P_BITS}]"
        yield f"str r2, [sp, #{BITS}]"


def codes_begin(mask: bool) -> Iterator[str]:
    """From now on what comes are codes."""
    yield f"ldr r10, [sp, #{P}]"
    for to, offset in ((Y, P_Y), (Y_STEP, P_Y_STEP), *(((MASK, P_MASK), (MASK_STEP, P_MASK_STEP)) if mask else ())):
        yield f"ldr r12, [r10, #{offset}]"
        yield f"str r12, [sp, #{to}]"
    yield f"ldr r11, [r10, #{P_X_END}]"
    yield f"str r11, [sp, #{X_END}]"
    yield "cmp lr, r11"


def next_group(mask: bool) -> Iterator[str]:
    """The next four outputs, if there are any: the flags tell."""
    yield f"ldr r0, [sp, #{P}]"
    for offset, step in ((P_BIAS, 16), (P_M, 16), (P_Y, 4)):
        yield f"ldr r1, [r0, #{offset}]"
        yield f"add r1, r1, #{step}"
        yield f"str r1, [r0, #{offset}]"
    if mask:
        yield f"ldr r2, [r0, #{P_BITS}]"
        yield f"movw r3, #{OTHER_HALF[0]}"
        yield f"movt r3, #{OTHER_HALF[1]}"
        yield "eor r2, r2, r3"
        yield f"str r2, [r0, #{P_BITS}]"
        yield "and r2, r2, #1"  # a lower half is the next byte's
        yield f"ldr r3, [r0, #{P_MASK}]"
        yield "add r3, r3, r2"
        yield f"str r3, [r0, #{P_MASK}]"
    yield f"ldr r4, [r0, #{P_GROUPS}]"
    yield "subs r4, r4, #1"
    yield f"str r4, [r0, #{P_GROUPS}]"


def dot(mask: bool = False, odd: bool = False) -> Iterator[str]:
    """A whole function: all pairs of pixels, two or more, for groups of four outputs.

    Without masks, blocks of a single turn have a loop of their own.
    """
    yield from enter()
    yield from constants()
    yield "1:"
    yield from weights()
    yield from group(mask)
    if not mask:
        yield f"ldr r11, [sp, #{TURNS}]"
        yield "cmp r11, #0"
        yield "bne 3f"
        yield "8:"
        yield from codes_before(mask, odd)
        yield from begin()
        yield from turn(first=True, end=NEXT_PAIR)
        yield from rounded()
        yield "bne 8b"
        yield "b 9f"
    else:
        yield "b 3f"
    yield "2:"
    yield "beq 9f"
    yield "3:"
    early, late = (ZERO, WEIGHTS) if mask else (WEIGHTS, ())
    yield from early  # beside the branch: what moves two registers stands alone
    yield "5:"
    yield from (line for line in codes_before(mask, odd) if line not in early)
    yield from begin(late)
    yield from turn(first=True)
    yield f"ldr pc, [sp, #{TURNS}]"
    yield "9:"
    yield f"ldr r11, [sp, #{Y_STEP}]"
    yield "cmp r11, #0"
    yield "bne 4f"
    yield from codes_begin(mask)
    if not mask:
        yield f"ldr r11, [sp, #{TURNS}]"
    yield "beq 4f"
    if not mask:
        yield "cmp r11, #0"
        yield "beq 8b"
    yield "b 3b"
    yield "4:"
    yield from codes_before(mask, odd)
    yield from rounded()
    yield from codes_before(mask, odd)
    yield from next_group(mask)
    yield "bne 1b"
    yield f"add sp, sp, #{FRAME}"
    yield "vpop {s16-s23}"
    yield "pop {r4-r11, pc}"


def dot_raw() -> Iterator[str]:
    """The sums of four outputs are stored, and one pair is enough."""
    yield from enter(raw=True)
    yield f"ldr r1, [r0, #{P_W}]"
    yield f"str r1, [sp, #{W}]"
    yield f"ldr r11, [r0, #{P_Y}]"
    yield f"str r11, [sp, #{Y}]"
    yield f"ldr r10, [r0, #{P_X_END}]"
    yield f"str r10, [sp, #{X_END}]"
    yield from biases()
    check = (*NEXT_TURN, f"cmp r10, #{W_END}")
    yield "2:"
    yield from begin()
    yield from turn(first=True, end=check)
    yield "beq 3f"
    yield "1:"
    yield from turn(end=check)
    yield "bne 1b"
    yield "3:"
    yield f"ldr r12, [sp, #{Y}]"
    yield "stm r12!, {r0-r7}"
    yield f"ldr r11, [sp, #{X_END}]"
    yield f"str r12, [sp, #{Y}]"
    yield "cmp lr, r11"
    yield "bne 2b"
    yield f"add sp, sp, #{FRAME}"
    yield "pop {r4-r11, pc}"


# Offsets in gg_m7_rows_t.
R_X, R_X_END, R_W, R_STEP, R_LESS, R_SUMS = range(0, 24, 4)


def four_products(x: str) -> Iterator[str]:
    """Four channels of one pixel, widened here, by those of four rows at r0, r1 and r2 (three times that) bytes on."""
    yield f"ldr {x}, [r3], #4"
    yield f"sxtab16 r9, r10, {x}, ror #8"
    yield f"sxtab16 {x}, r10, {x}"
    rows = ("[r0, r1]", "[r0, r1, lsl #1]", "[r0, r2]", "[r0], #4")
    words = (("r11", "r12"), ("lr", "r12"))
    for i, (row, (word, other)) in enumerate(zip(rows, words * 2, strict=True)):
        yield f"ldr {word}, {row}"
        yield f"sxtb16 {other}, {word}"
        yield f"sxtb16 {word}, {word}, ror #8"
        yield f"smlad r{4 + (i + 1) % 4}, {other}, {x}, r{4 + (i + 1) % 4}"
        yield f"smlad r{4 + (i + 1) % 4}, {word}, r9, r{4 + (i + 1) % 4}"


def dot_rows() -> Iterator[str]:
    """Four rows of a weight, of which nothing is kept, by one pixel; r10 -x_zero."""
    yield "push {r4-r11, lr}"
    yield "sub sp, sp, #12"
    yield f"str r0, [sp, #{P}]"
    yield f"ldr r1, [r0, #{R_X_END}]"
    yield "str r1, [sp, #4]"
    yield f"ldr r3, [r0, #{R_X}]"
    yield f"ldr r1, [r0, #{R_STEP}]"
    yield f"ldr r10, [r0, #{R_LESS}]"
    yield from (f"ldr r{4 + i}, [r0, #{R_SUMS + 4 * i}]" for i in range(4))
    yield "add r2, r1, r1, lsl #1"
    yield f"ldr r0, [r0, #{R_W}]"
    yield "1:"
    yield from four_products("r8")
    yield from four_products("r8")
    yield "ldr r11, [sp, #4]"
    yield "cmp r3, r11"
    yield "bne 1b"
    yield f"ldr r0, [sp, #{P}]"
    yield from (f"str r{4 + i}, [r0, #{R_SUMS + 4 * i}]" for i in range(4))
    yield "add sp, sp, #12"
    yield "pop {r4-r11, pc}"


def widened(
    from_: tuple[str, str], at: int | None, to: str, to_at: int, words: tuple[str, str, str, str]
) -> Iterator[str]:
    """Four channels of two pixels, whose pointers move on if at is None: words of channels 0 and 2, then of 1 and 3."""
    a, b, c, d = words
    for word, pointer in zip((a, b), from_, strict=True):
        yield f"ldr {word}, [{pointer}], #4" if at is None else f"ldr {word}, [{pointer}, #{at}]"
    yield f"sxtab16 {c}, r2, {a}, ror #8"
    yield f"sxtab16 {a}, r2, {a}"
    yield f"sxtab16 {d}, r2, {b}, ror #8"
    yield f"sxtab16 {b}, r2, {b}"
    yield from (f"str {word}, [{to}, #{to_at + 4 * i}]" for i, word in enumerate((a, b, c, d)))


def widen_x() -> Iterator[str]:
    """r0 p: two pixels' pointers, the next free word, pairs, skip; r1 groups of 8 channels; r2 -x_zero twice."""
    yield "push {r4-r11, lr}"
    yield "ldm r0, {r3, r4, r5, r10, r11}"
    yield "2:"
    yield "mov r9, r1"
    yield "1:"
    yield from widened(("r3", "r4"), None, "r5", 0, ("r6", "r7", "r8", "r12"))
    yield from widened(("r3", "r4"), None, "r5", 16, ("lr", "r7", "r8", "r12"))
    yield "add r5, r5, #32"
    yield "subs r9, r9, #1"
    yield "bne 1b"
    yield "add r3, r3, r11"
    yield "add r4, r4, r11"
    yield "subs r10, r10, #1"
    yield "bne 2b"
    yield "str r5, [r0, #8]"
    yield "pop {r4-r11, pc}"


def widen_windows() -> Iterator[str]:
    """r0 p: two windows' pointers, the next free word, pairs, skip; r1 bytes between rows; r2 as above.

    Of 9 bytes 12 are read: the words (0, 2), (1, 3), (4, 6), (5, 7) and (8, 10), of which weights take 8 alone.
    """
    yield "push {r4-r11, lr}"
    yield "ldm r0, {r3, r4, r5, r10, r11}"
    yield "sub r11, r11, r1"
    yield "sub r11, r11, r1, lsl #1"
    yield "1:"
    for row in range(3):
        yield from widened(("r3", "r4"), 0, "r5", 40 * row, ("r6", "r7", "r8", "r12"))
        yield from widened(("r3", "r4"), 4, "r5", 40 * row + 16, ("r9", "lr", "r8", "r12"))
        yield "ldr r6, [r3, #8]"
        yield "ldr r7, [r4, #8]"
        yield "add r3, r3, r1"
        yield "add r4, r4, r1"
        yield "sxtab16 r6, r2, r6"
        yield "sxtab16 r7, r2, r7"
        yield f"str r6, [r5, #{40 * row + 32}]"
        yield f"str r7, [r5, #{40 * row + 36}]"
    yield "add r3, r3, r11"
    yield "add r4, r4, r11"
    yield "add r5, r5, #128"
    yield "subs r10, r10, #1"
    yield "bne 1b"
    yield "str r5, [r0, #8]"
    yield "pop {r4-r11, pc}"


def four_rows(at: int, to: int) -> Iterator[str]:
    """Four channels of four rows at r2-r5."""
    low = ("r0", "r10", "r11", "lr")
    yield from (f"ldr r{i + 4}, [r{i}, #{at}]" for i in range(2, 6))
    yield from (f"sxtb16 {even}, r{word}" for even, word in zip(low, range(6, 10), strict=True))
    yield from (f"sxtb16 r{i}, r{i}, ror #8" for i in range(6, 10))
    yield from (f"str {word}, [r12, #{to + 4 * i}]" for i, word in enumerate((*low, "r6", "r7", "r8", "r9")))


def eight_channels() -> Iterator[str]:
    """Of four rows at r2-r5, which move on; words go to r12, which does."""
    low = ("r0", "r10", "r11", "lr")
    for at in (0, 32):
        yield from (f"ldr r{i + 4}, [r{i}], #4" for i in range(2, 6))
        yield from (f"sxtb16 {even}, r{word}" for even, word in zip(low, range(6, 10), strict=True))
        yield from (f"sxtb16 r{i}, r{i}, ror #8" for i in range(6, 10))
        yield from (f"str {word}, [r12, #{at + 4 * i}]" for i, word in enumerate((*low, "r6", "r7", "r8", "r9")))
    yield "add r12, r12, #64"


def widen_w() -> Iterator[str]:
    """r0 the first of four rows, r1 bytes from one to the next, r2 where words go, r3 groups of 8 channels."""
    yield "push {r4-r11, lr}"
    yield "mov r12, r2"
    yield "add r4, r0, r1, lsl #1"
    yield "add r5, r4, r1"
    yield "mov r2, r0"
    yield "mov r6, r3"
    yield "add r3, r0, r1"
    yield "mov r1, r6"
    yield "1:"
    yield from eight_channels()
    yield "subs r1, r1, #1"
    yield "bne 1b"
    yield "pop {r4-r11, pc}"


def widen_window_rows() -> Iterator[str]:
    """r0 the first of four rows, r1 bytes to the next, r2 where words go: 27 weights each, in widen_windows' words."""
    yield "push {r4-r11, lr}"
    yield "mov r12, r2"
    yield "add r4, r0, r1, lsl #1"
    yield "add r5, r4, r1"
    yield "mov r2, r0"
    yield "add r3, r0, r1"
    yield "mov r1, #3"
    yield "1:"
    yield from four_rows(0, 0)
    yield from four_rows(4, 32)
    yield from (f"ldrsb r{i + 4}, [r{i}, #8]" for i in range(2, 6))
    yield from (f"uxth r{i}, r{i}" for i in range(6, 10))
    yield from (f"str r{i}, [r12, #{64 + 4 * (i - 6)}]" for i in range(6, 10))
    yield from (f"add r{i}, r{i}, #9" for i in range(2, 6))
    yield "add r12, r12, #80"
    yield "subs r1, r1, #1"
    yield "bne 1b"
    yield "mov r6, #0"
    yield from (f"str r6, [r12, #{4 * i}]" for i in range(4))
    yield "pop {r4-r11, pc}"


DOT = "gg_m7_dot_t *p __attribute__((unused))"
FUNCTIONS = (
    function("gg_m7_dot", DOT, scheduled(dot()), "CONV-S1, CONV-S2: requantized to all of int8."),
    function("gg_m7_dot_odd", DOT, scheduled(dot(odd=True)), "The same for an odd zero point."),
    function(
        "gg_m7_dot_mask", DOT, scheduled(dot(mask=True)), "CONV-S1, CONV-S2, CONV-S3: and where the clamp lets through."
    ),
    function("gg_m7_dot_mask_odd", DOT, scheduled(dot(mask=True, odd=True)), "The same for an odd zero point."),
    function(
        "gg_m7_dot_turns",
        "int32_t turns __attribute__((unused))",
        turns(),
        "Where their blocks go behind the first turn, of so many.",
        "const void *",
    ),
    function("gg_m7_dot_raw", DOT, scheduled(dot_raw()), "CONV-S1: the sums, eight a pair of pixels."),
    function(
        "gg_m7_dot_rows",
        "gg_m7_rows_t *p __attribute__((unused))",
        scheduled(dot_rows()),
        "FC-S1: four outputs' sums, of one pixel.",
    ),
    function(
        "gg_m7_widen_pixels",
        "gg_m7_pixels_t *p __attribute__((unused)), int32_t groups __attribute__((unused)),\n"
        "                        uint32_t less __attribute__((unused))",
        scheduled(widen_x()),
        "CONV-S1: x - x_zero of pairs of pixels, groups of 8 channels; less is -x_zero, twice.",
    ),
    function(
        "gg_m7_widen_windows",
        "gg_m7_pixels_t *p __attribute__((unused)), int32_t row __attribute__((unused)),\n"
        "                         uint32_t less __attribute__((unused))",
        scheduled(widen_windows()),
        "CONV-S1: x - x_zero of pairs of windows of 3 x 3 pixels with 3 channels.",
    ),
    function(
        "gg_m7_widen_rows",
        "const int8_t *w __attribute__((unused)), int32_t step __attribute__((unused)),\n"
        "                      int16_t *to __attribute__((unused)), int32_t groups __attribute__((unused))",
        scheduled(widen_w()),
        "Four rows of a weight, groups of 8 channels.",
    ),
    function(
        "gg_m7_widen_window_rows",
        "const int8_t *w __attribute__((unused)), int32_t step __attribute__((unused)),\n"
        "                             int16_t *to __attribute__((unused))",
        scheduled(widen_window_rows()),
        "Four rows of a weight of 3 x 3 pixels with 3 channels.",
    ),
)

if __name__ == "__main__":
    write("dot_int8.c", file("dot_int8.py", "Products of int8 pixels and int8 weights.", ("dot_int8.h",), FUNCTIONS))
