"""Products of int8 pixels and int8 weights: blocks of 2 pixels x 4 outputs, requantized, with or without a mask.

Both operands are widened to pairs of int16 in scratch (gg_m7_widen_*), the two pixels' words in turn, and the four
outputs' words in turn.  A step multiplies one pair of channels: 8 SMLAD and the 6 loads of the next step, one beside
each of six SMLADs, so that it can issue in 8 cycles; each load comes at least two cycles before what multiplies by it.

Registers: r0-r3 accumulators of the first pixel, r4-r7 of the second; r8, r9 the pixels' words; r10, r11 two of the
four outputs' words; r12 and lr where the weights and the pixels are read.  On the stack: p, and where weights end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from assembly import beside, file, function, write, zipped

UNROLLED = 4
"""Steps a turn of the loop: 8 channels, to which operands are filled up with zeros."""

# Offsets in gg_m7_dot_t.
BIAS, M, W, W_END, X, Y, Y_END, Y_STEP, MAGIC, MASK, MASK_STEP, SHIFT = 0, 16, *range(32, 72, 4)


def step(first: bool = False) -> Iterator[str]:
    """A pair of channels; r8, r9 and r10 are loaded, and are again for the next step at its end.

    In the first step of a block the biases of both pixels are in r0-r3.
    """
    yield "ldr r11, [r12], #4"
    for output, word, after in (
        (0, "r10", "ldr r10, [r12], #4"),
        (1, "r11", "ldr r11, [r12], #4"),
        (2, "r10", "ldr r10, [r12], #4"),
    ):
        second = f"smlad r{4 + output}, r9, {word}, r{output if first else 4 + output}"
        pair = (second, f"smlad r{output}, r8, {word}, r{output}")
        yield from pair if first else reversed(pair)
        yield after
    if first:
        yield "smlad r7, r9, r11, r3"
        yield "ldr r9, [lr, #4]"
        yield "smlad r3, r8, r11, r3"
        yield "ldr r8, [lr], #8"
    else:
        yield "smlad r3, r8, r11, r3"
        yield "ldr r8, [lr], #4"
        yield "smlad r7, r9, r11, r7"
        yield "ldr r9, [lr], #4"


def last_step() -> Iterator[str]:
    """The last of a turn: r11 is free early, for where the weights end, and the flags tell whether r12 is there."""
    yield "ldr r11, [r12], #4"
    yield "smlad r0, r8, r10, r0"
    yield "smlad r4, r9, r10, r4"
    yield "ldr r10, [r12], #4"
    yield "smlad r1, r8, r11, r1"
    yield "smlad r5, r9, r11, r5"
    yield "ldr r11, [r12], #4"
    yield "smlad r2, r8, r10, r2"
    yield "smlad r6, r9, r10, r6"
    yield "ldr r10, [r12], #4"
    yield "smlad r7, r9, r11, r7"
    yield "ldr r9, [lr, #4]"
    yield "smlad r3, r8, r11, r3"
    yield "ldr r11, [sp, #4]"
    yield "ldr r8, [lr], #8"
    yield "cmp r12, r11"


def first_steps(others: Iterable[str] = ()) -> Iterator[str]:
    """The steps of a block that begin with its biases; r11 is p before."""
    lines = [f"ldr r12, [r11, #{W}]", "ldm r11, {r0-r3}", "ldr r10, [r12], #4"]
    for i in range(UNROLLED):
        lines += last_step() if i == UNROLLED - 1 else step(first=i == 0)
    compare = lines.pop()  # what is beside keeps the flags, but may come between
    yield from beside(lines, others)
    yield compare


def products(others: Iterable[str] = ()) -> Iterator[str]:
    """The sums of all channels for a block, and beside the first of them others."""
    yield from first_steps(others)
    yield "beq 3f"
    yield "1:"
    for i in range(UNROLLED):
        yield from last_step() if i == UNROLLED - 1 else step()
    yield "bne 1b"
    yield "3:"


def rounded() -> Iterator[str]:
    """CONV-S2: sums in s16-s23 as float32, times m, plus 1.5 * 2^23 and more, which rounds to nearest even (NUM-N6).

    The low 16 bits are then the code, where that is known to lie within them.  What is added besides is the zero point
    and 128, so that codes that fit are 0 .. 255; were it odd, ties would go to odd codes, so an odd one comes after.
    """
    yield from (f"vcvt.f32.s32 s{i}, s{16 + i}" for i in range(8))
    yield from (f"vmul.f32 s{i}, s{i}, s{8 + i % 4}" for i in range(8))
    yield from (f"vadd.f32 s{i}, s{i}, s12" for i in range(8))


def put_aside() -> Iterator[str]:
    """The sums, until the next block's products are computed; r11 is p again."""
    yield from (f"vmov s{16 + i}, s{17 + i}, r{i}, r{i + 1}" for i in range(0, 8, 2))
    yield "ldr r11, [sp]"


def packed(odd: bool, others: Iterable[str]) -> Iterator[str]:
    """Codes in r0 and r4: of outputs 0 and 2 of a pixel as halfwords, in r1 and r5 of outputs 1 and 3."""
    yield from (f"vmov r{i}, r{i + 1}, s{i}, s{i + 1}" for i in range(0, 8, 2))
    words = [f"pkhbt r{i}, r{i}, r{i + 2}, lsl #16" for i in (0, 1, 4, 5)]
    yield from zipped(words, others)
    if odd:
        yield "mov r2, #0x00010001"
        yield from (f"sadd16 r{i}, r{i}, r2" for i in (0, 1, 4, 5))


def masks() -> Iterator[str]:
    """CONV-S3: four bits a pixel, 1 where the upper byte of a halfword is 0, that is where the clamp lets through."""
    yield "uxtb16 r2, r0, ror #8"
    yield "uxtb16 r6, r4, ror #8"
    yield "bic r3, r1, #0x00ff00ff"
    yield "bic r7, r5, #0x00ff00ff"
    yield "orr r2, r2, r3"
    yield "mov r3, #-1"
    yield "orr r6, r6, r7"
    yield "movw r12, #0x0201"
    yield "uadd8 r2, r2, r3"
    yield "movt r12, #0x0804"
    yield "mov r7, #0"
    yield f"ldr r10, [r11, #{SHIFT}]"
    yield "sel r2, r7, r12"
    yield "uadd8 r6, r6, r3"
    yield "sel r6, r7, r12"
    yield f"ldr r12, [r11, #{MASK}]"
    yield "usad8 r2, r2, r7"
    yield "usad8 r6, r6, r7"
    yield "ldrb r3, [r12]"
    yield "lsl r2, r2, r10"
    yield "lsl r6, r6, r10"
    yield f"ldr r10, [r11, #{MASK_STEP}]"
    yield "orr r2, r2, r3"
    yield "ldrb r7, [r12, r10]"
    yield "strb r2, [r12]"
    yield "orr r6, r6, r7"
    yield "strb r6, [r12, r10]"
    yield "add r12, r12, r10, lsl #1"
    yield f"str r12, [r11, #{MASK}]"


LOADS = [f"ldr r12, [r11, #{Y}]", f"ldr r10, [r11, #{Y_STEP}]"]


def store() -> Iterator[str]:
    """Saturate, pack four outputs into a word, and store it for both pixels; LOADS are done."""
    yield from (f"usat16 r{i}, #8, r{i}" for i in (0, 1, 4, 5))
    yield from (f"orr r{i}, r{i}, r{i + 1}, lsl #8" for i in (0, 4))
    yield from (f"eor r{i}, r{i}, #0x80808080" for i in (0, 4))
    yield "str r0, [r12]"
    yield "str r4, [r12, r10]"
    yield "add r12, r12, r10, lsl #1"


def outputs(mask: bool, odd: bool) -> Iterator[str]:
    """What was rounded becomes outputs; r11 is p, and r12 the next pair's place after it, y_step in r10."""
    yield from packed(odd, [] if mask else LOADS)
    if mask:
        yield from masks()
        yield from LOADS
    yield from store()


def dot(mask: bool = False, odd: bool = False) -> Iterator[str]:
    """A whole function: all pairs of pixels for four outputs; a block is rounded beside the next one's products."""
    yield "push {r4-r11, lr}"
    yield "vpush {s16-s23}"
    yield f"ldr r1, [r0, #{W_END}]"
    yield "sub sp, #12"
    yield f"add r2, r0, #{M}"
    yield "strd r0, r1, [sp]"
    yield "vldm r2, {s8-s11}"
    yield f"vldr s12, [r0, #{MAGIC}]"
    yield f"ldr lr, [r0, #{X}]"
    yield "mov r11, r0"
    yield "ldr r8, [lr], #4"
    yield "ldr r9, [lr], #4"
    yield from products()
    yield from put_aside()
    yield from LOADS
    yield "b 4f"
    yield "2:"
    yield from products(rounded())
    yield from put_aside()
    yield from outputs(mask, odd)
    yield f"str r12, [r11, #{Y}]"
    yield "4:"  # is there a block after the one that is put aside?
    yield f"ldr r0, [r11, #{Y_END}]"
    yield "add r12, r12, r10, lsl #1"
    yield "cmp r12, r0"
    yield "bne 2b"
    yield from rounded()
    yield from outputs(mask, odd)
    yield f"str r12, [r11, #{Y}]"
    yield "add sp, #12"
    yield "vpop {s16-s23}"
    yield "pop {r4-r11, pc}"


def dot_raw() -> Iterator[str]:
    """The same, but the sums are stored."""
    yield "push {r4-r11, lr}"
    yield f"ldr r1, [r0, #{W_END}]"
    yield "sub sp, #12"
    yield "strd r0, r1, [sp]"
    yield f"ldr lr, [r0, #{X}]"
    yield "mov r11, r0"
    yield "ldr r8, [lr], #4"
    yield "ldr r9, [lr], #4"
    yield "2:"
    yield from products()
    yield "ldr r11, [sp]"
    yield f"ldr r12, [r11, #{Y}]"
    yield f"ldr r10, [r11, #{Y_END}]"
    yield "stm r12!, {r0-r7}"
    yield f"str r12, [r11, #{Y}]"
    yield "cmp r12, r10"
    yield "bne 2b"
    yield "add sp, #12"
    yield "pop {r4-r11, pc}"


def widen_x() -> Iterator[str]:
    """r0 p: two pixels' pointers, the next free word, pairs, skip; r1 groups of 8 channels; r2 -x_zero twice."""
    yield "push {r4-r11, lr}"
    yield "ldm r0, {r3, r4, r5, r10, r11}"
    yield "2:"
    yield "mov r9, r1"
    yield "1:"
    for _ in range(2):
        yield "ldr r6, [r3], #4"
        yield "ldr r7, [r4], #4"
        yield "sxtab16 r8, r2, r6, ror #8"
        yield "sxtab16 r6, r2, r6"
        yield "sxtab16 r12, r2, r7, ror #8"
        yield "sxtab16 r7, r2, r7"
        yield "stm r5!, {r6, r7, r8, r12}"
    yield "subs r9, #1"
    yield "bne 1b"
    yield "add r3, r3, r11"
    yield "add r4, r4, r11"
    yield "subs r10, #1"
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
    for _ in range(3):
        for at in (0, 4):
            yield f"ldr r6, [r3, #{at}]"
            yield f"ldr r7, [r4, #{at}]"
            yield "sxtab16 r8, r2, r6, ror #8"
            yield "sxtab16 r6, r2, r6"
            yield "sxtab16 r12, r2, r7, ror #8"
            yield "sxtab16 r7, r2, r7"
            yield "stm r5!, {r6, r7, r8, r12}"
        yield "ldr r6, [r3, #8]"
        yield "ldr r7, [r4, #8]"
        yield "add r3, r3, r1"
        yield "sxtab16 r6, r2, r6"
        yield "sxtab16 r7, r2, r7"
        yield "add r4, r4, r1"
        yield "stm r5!, {r6, r7}"
    yield "add r3, r3, r11"
    yield "add r4, r4, r11"
    yield "add r5, #8"
    yield "subs r10, #1"
    yield "bne 1b"
    yield "str r5, [r0, #8]"
    yield "pop {r4-r11, pc}"


def widen_w() -> Iterator[str]:
    """r0 four rows' pointers and the next free word, r1 groups of 4 channels."""
    yield "push {r0, r4-r11, lr}"
    yield "ldm r0, {r2-r5, r12}"
    yield "1:"
    yield from (f"ldr r{i + 4}, [r{i}], #4" for i in range(2, 6))
    yield from (f"sxtb16 {even}, r{word}" for even, word in zip(("r0", "r10", "r11", "lr"), range(6, 10), strict=True))
    yield "subs r1, #1"
    yield "stm r12!, {r0, r10, r11, lr}"
    yield from (f"sxtb16 r{i}, r{i}, ror #8" for i in range(6, 10))
    yield "stm r12!, {r6-r9}"
    yield "bne 1b"
    yield "ldr r0, [sp]"
    yield "stm r0, {r2-r5, r12}"
    yield "pop {r0, r4-r11, pc}"


def widen_window_rows() -> Iterator[str]:
    """r0 four rows' pointers and the next free word: 27 weights each, in the words of widen_windows."""
    low = ("r0", "r10", "r11", "lr")
    yield "push {r4-r11, lr}"
    yield "ldm r0, {r2-r5, r12}"
    yield "mov r1, #3"
    yield "1:"
    for _ in range(2):
        yield from (f"ldr r{i + 4}, [r{i}], #4" for i in range(2, 6))
        yield from (f"sxtb16 {even}, r{word}" for even, word in zip(low, range(6, 10), strict=True))
        yield "stm r12!, {r0, r10, r11, lr}"
        yield from (f"sxtb16 r{i}, r{i}, ror #8" for i in range(6, 10))
        yield "stm r12!, {r6-r9}"
    yield from (f"ldrsb r{i + 4}, [r{i}], #1" for i in range(2, 6))
    yield "subs r1, #1"
    yield from (f"uxth r{i}, r{i}" for i in range(6, 10))
    yield "stm r12!, {r6-r9}"
    yield "bne 1b"
    yield from (f"mov r{i}, #0" for i in range(6, 10))
    yield "stm r12!, {r6-r9}"
    yield "pop {r4-r11, pc}"


DOT = "gg_m7_dot_t *p __attribute__((unused))"
FUNCTIONS = (
    function("gg_m7_dot", DOT, dot(), "CONV-S1, CONV-S2: requantized to all of int8."),
    function("gg_m7_dot_odd", DOT, dot(odd=True), "The same for an odd zero point."),
    function("gg_m7_dot_mask", DOT, dot(mask=True), "CONV-S1, CONV-S2, CONV-S3: and where the clamp lets through."),
    function("gg_m7_dot_mask_odd", DOT, dot(mask=True, odd=True), "The same for an odd zero point."),
    function("gg_m7_dot_raw", DOT, dot_raw(), "CONV-S1: the sums, eight a pair of pixels."),
    function(
        "gg_m7_widen_pixels",
        "gg_m7_pixels_t *p __attribute__((unused)), int32_t groups __attribute__((unused)),\n"
        "                        uint32_t less __attribute__((unused))",
        widen_x(),
        "CONV-S1: x - x_zero of pairs of pixels, groups of 8 channels; less is -x_zero, twice.",
    ),
    function(
        "gg_m7_widen_windows",
        "gg_m7_pixels_t *p __attribute__((unused)), int32_t row __attribute__((unused)),\n"
        "                         uint32_t less __attribute__((unused))",
        widen_windows(),
        "CONV-S1: x - x_zero of pairs of windows of 3 x 3 pixels with 3 channels.",
    ),
    function(
        "gg_m7_widen_rows",
        "gg_m7_rows_t *p __attribute__((unused)), int32_t groups __attribute__((unused))",
        widen_w(),
        "Four rows of a weight, groups of 4 channels.",
    ),
    function(
        "gg_m7_widen_window_rows",
        "const gg_m7_rows_t *p __attribute__((unused))",
        widen_window_rows(),
        "Four rows of a weight of 3 x 3 pixels with 3 channels.",
    ),
)

if __name__ == "__main__":
    write("dot_int8.c", file("dot_int8.py", "Products of int8 pixels and int8 weights.", ("dot_int8.h",), FUNCTIONS))
