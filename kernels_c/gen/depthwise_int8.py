"""Depthwise convolution of int8: four channels at a time, each a plane of pairs of neighbouring pixels.

Planes hold x - x_zero as int16, two pixels a word, the four channels' words in turn, so padding is 0.  A weight's row
is a word for each two neighbouring taps: (w0, w1), (w1, w2), ...  With stride 1 an output that starts at an even pixel
takes (w0, w1), (w2, w3), ... and the last tap alone, one that starts at an odd pixel w0 alone and (w1, w2), ...; with
stride 2 all start at even pixels, and the last word is (w2, 0) or longer.

Eight outputs of one channel are a block: neighbours in a row, or four in each of two rows where rows are narrow.  Three
blocks are under way at once: the products of one, the float arithmetic of the one before, and the codes of the one
before that, so that what none of them needs to wait for is there to fill each cycle (schedule.py).

Registers of a block: r0-r7 accumulators, r8 and r9 words of pixels by turns, r10 and r11 words of the weight, r12 where
pixels are read; lr what is needed now and then, or where weights are read.
"""

from __future__ import annotations

from collections.abc import Iterator

from assembly import file, function, write
from schedule import scheduled

# Offsets in gg_m7_depthwise_t.
X, ROW_BYTES, W, W_BYTES, CODES, MAGIC, NEXT, PLANES, COUNT, BIAS, M = range(0, 44, 4)
# On the stack.
P, ROW, W_CHANNEL, BIAS_HERE, TO, NEXT_HERE, LEFT, X_CHANNEL, W_HERE, W_END, BIASES, MS, TAPS = range(0, 52, 4)
FRAME = 76

SHAPES = tuple((taps, stride, wide) for taps in (3, 5, 7) for stride in (1, 2) for wide in (True, False))
"""Taps a row, stride, and whether a block's outputs are in one row."""
END = 1
"""Comes after the last block's way to the next."""


def words(taps: int, stride: int) -> int:
    """Words of a row of the weight."""
    return taps - 1 if stride == 1 else (taps + 1) // 2


def name(taps: int, stride: int, wide: bool) -> str:
    """The function for a shape."""
    return f"gg_m7_depthwise_{taps}_{stride}_{'wide' if wide else 'narrow'}"


def places(taps: int, stride: int, wide: bool) -> list[int]:
    """The word of pixels at which each output starts."""
    per_word = 2 if stride == 1 else 1
    if wide:
        return [output // per_word for output in range(8)]
    row_words = (3 * stride + taps + 1) // 2
    return [output % 4 // per_word + output // 4 * stride * row_words for output in range(8)]


def products(taps: int, stride: int, output: int) -> list[tuple[str, int, int]]:
    """What an output is made of: instruction, word of the weight, words of pixels from the output's first."""
    last = (taps - 1) // 2
    if stride == 2:
        return [("smlad", k, k) for k in range(last + 1)]
    if output % 2 == 0:
        return [*(("smlad", 2 * k, k) for k in range(last)), ("smlabt", taps - 2, last)]
    return [("smlatb", 0, 0), *(("smlad", 2 * k - 1, k) for k in range(1, last + 1))]


def passes(taps: int, stride: int) -> list[tuple[int, ...]]:
    """Words of the weight that are there at once: as there are two registers for them, pixels are read again."""
    count = words(taps, stride)
    if taps == 3 or stride == 2:
        return [tuple(range(k, min(k + 2, count))) for k in range(0, count, 2)]
    return [(0,), *((k, k + 1) for k in range(1, count - 1, 2)), (count - 1,)]


def row(taps: int, stride: int, wide: bool, first: bool, weight: str, at: int) -> Iterator[str]:
    """A row of taps; the first adds to the bias, which lies in the last accumulator until that is begun."""
    begun: set[int] = set() if first else set(range(8))
    starts = places(taps, stride, wide)
    turn = loads = 0
    for here in passes(taps, stride):
        register = {}
        for k in here:
            register[k] = f"r{10 + turn % 2}"
            turn += 1
            yield f"ldr {register[k]}, [{weight}, #{at + 4 * k}]"
        table = [
            (starts[output] + t, output, instruction, k)
            for output in range(8)
            for instruction, k, t in products(taps, stride, output)
            if k in here
        ]
        for t in sorted({place for place, *_ in table}):
            pixels = f"r{8 + loads % 2}"
            loads += 1
            yield f"ldr {pixels}, [r12, #{16 * t}]"
            for _, output, instruction, k in (each for each in table if each[0] == t):
                yield f"{instruction} r{output}, {pixels}, {register[k]}, r{output if output in begun else 7}"
                begun.add(output)


def codes_before(to: str) -> Iterator[str]:
    """Sums of the block before leave the accumulators, codes of the one before that go to scratch, two a word."""
    yield from (f"vmov s{16 + i}, s{17 + i}, r{i}, r{i + 1}" for i in range(0, 8, 2))
    yield f"ldr {to}, [sp, #{TO}]"
    for i in range(0, 8, 2):
        low, high = ("r5", "r6") if i % 4 == 0 else ("r3", "r4")
        yield f"vmov {low}, {high}, s{i}, s{i + 1}"
        yield f"pkhbt {low}, {low}, {high}, lsl #16"
        yield f"str {low}, [{to}, #{2 * i}]"
    yield f"add {to}, {to}, #16"
    yield f"str {to}, [sp, #{TO}]"


def rounded() -> Iterator[str]:
    """DW-S2: the sums of a block, in s16 and on: as float32, times m, and rounded (NUM-N6) as dot_int8.py does."""
    yield from (f"vcvt.f32.s32 s{i}, s{16 + i}" for i in range(8))
    yield from (f"vmul.f32 s{i}, s{i}, s8" for i in range(8))
    yield from (f"vadd.f32 s{i}, s{i}, s9" for i in range(8))


def block_of_three(stride: int, wide: bool) -> Iterator[str]:
    """All three rows; the words of the weight are on the stack; r12 moves on to the next block at last."""
    row_words = 4 * words(3, stride)
    yield "1:"
    yield from codes_before("lr")
    yield f"ldr r7, [sp, #{BIAS_HERE}]"
    yield f"ldr lr, [sp, #{ROW}]"
    for i in range(3):
        yield from row(3, stride, wide, i == 0, "sp", TAPS + row_words * i)
        if i < 2:
            yield "add r12, r12, lr"
    yield f"ldr lr, [sp, #{NEXT_HERE}]"
    yield "ldr r8, [lr], #4"
    yield f"str lr, [sp, #{NEXT_HERE}]"
    yield "add r12, r12, r8"
    yield f"cmp r8, #{END}"
    yield from rounded()
    yield "vmov.f32 s8, s10"
    yield "bne 1b"


def block(taps: int, stride: int, wide: bool) -> Iterator[str]:
    """As many rows as meet the map, from r12 and lr on; then where the next block's are."""
    row_words = 4 * words(taps, stride)
    next_row = [f"ldr r8, [sp, #{ROW}]", "add r12, r12, r8", f"add lr, lr, #{row_words}"]
    is_last = [f"ldr r9, [sp, #{W_END}]", "cmp lr, r9"]
    yield "1:"
    yield from codes_before("r11")
    yield f"ldr r7, [sp, #{BIAS_HERE}]"
    yield from row(taps, stride, wide, True, "lr", 0)
    yield from next_row
    yield from rounded()
    yield "vmov.f32 s8, s10"
    yield from is_last
    yield "beq 4f"
    yield "3:"
    yield from row(taps, stride, wide, False, "lr", 0)
    yield from next_row
    yield from is_last
    yield "bne 3b"
    yield "4:"
    yield f"ldr r8, [sp, #{NEXT_HERE}]"
    yield "ldm r8!, {r9, r10, r11}"
    yield f"str r8, [sp, #{NEXT_HERE}]"
    yield f"ldr r8, [sp, #{X_CHANNEL}]"
    yield "add r12, r8, r9"
    yield f"ldr r8, [sp, #{W_HERE}]"
    yield f"cmp r9, #{END}"
    yield "add lr, r8, r10"
    yield "add r11, r11, r8"
    yield f"str r11, [sp, #{W_END}]"
    yield "bne 1b"


def enter() -> Iterator[str]:
    """Registers and constants are kept; the first channel is next."""
    yield "push {r4-r11, lr}"
    yield "vpush {s16-s23}"
    yield f"sub sp, sp, #{FRAME}"
    yield f"str r0, [sp, #{P}]"
    for offset, here in ((ROW_BYTES, ROW), (W, W_CHANNEL), (CODES, TO), (X, X_CHANNEL), (BIAS, BIASES), (M, MS)):
        yield f"ldr r1, [r0, #{offset}]"
        yield f"str r1, [sp, #{here}]"
    yield f"vldr s9, [r0, #{MAGIC}]"
    yield f"ldr r9, [r0, #{COUNT}]"


def next_channel(taps: int, stride: int) -> Iterator[str]:
    """Of the channel of which r9 are left: bias, m, where its pixels are, and of three taps a row the weight."""
    yield "2:"
    yield f"str r9, [sp, #{LEFT}]"
    yield f"ldr r10, [sp, #{BIASES}]"
    yield "ldr r11, [r10], #4"
    yield f"str r10, [sp, #{BIASES}]"
    yield f"str r11, [sp, #{BIAS_HERE}]"
    yield f"ldr r10, [sp, #{MS}]"
    yield "vldr s10, [r10]"
    yield "add r10, r10, #4"
    yield f"str r10, [sp, #{MS}]"
    yield f"ldr r8, [sp, #{P}]"
    yield f"ldr r12, [sp, #{X_CHANNEL}]"
    yield f"ldr r11, [r8, #{NEXT}]"
    yield f"ldr r9, [sp, #{W_CHANNEL}]"
    if taps == 3:
        yield f"str r11, [sp, #{NEXT_HERE}]"
        for i in range(0, 6, 3):
            yield "ldm r9!, {r8, r10, r11}"
            yield from (f"str r{n}, [sp, #{TAPS + 4 * (i + j)}]" for j, n in enumerate((8, 10, 11)))
    else:
        yield f"str r9, [sp, #{W_HERE}]"
        yield "ldm r11!, {r10, lr}"  # the first block's pixels and taps
        yield "add r12, r12, r10"
        yield "add lr, lr, r9"
        yield "ldr r10, [r11], #4"
        yield "add r10, r10, r9"
        yield f"str r10, [sp, #{W_END}]"
        yield f"str r11, [sp, #{NEXT_HERE}]"
        yield f"ldr r10, [r8, #{W_BYTES}]"
        yield "add r9, r9, r10"
    yield f"str r9, [sp, #{W_CHANNEL}]"


def depthwise(taps: int, stride: int, wide: bool) -> Iterator[str]:
    """All blocks of all channels: two blocks that are no codes are stored before the others' places."""
    yield from enter()
    yield from next_channel(taps, stride)
    yield from block_of_three(stride, wide) if taps == 3 else block(taps, stride, wide)
    yield f"ldr r9, [sp, #{LEFT}]"
    yield f"ldr r10, [sp, #{X_CHANNEL}]"
    yield f"ldr r8, [sp, #{P}]"
    yield f"ldr r11, [r8, #{PLANES}]"
    yield "sub r9, r9, #1"
    yield "tst r9, #3"
    yield "bne 5f"
    yield "add r10, r10, r11"  # the next four channels' planes
    yield "sub r10, r10, #16"
    yield "5:"
    yield "add r10, r10, #4"
    yield "cmp r9, #0"
    yield f"str r10, [sp, #{X_CHANNEL}]"
    yield "bne 2b"
    yield from codes_before("lr")
    yield from rounded()
    yield from codes_before("lr")
    yield f"add sp, sp, #{FRAME}"
    yield "vpop {s16-s23}"
    yield "pop {r4-r11, pc}"


# Offsets in gg_m7_planes_t.
PAD, WHOLE, LEADS, SINGLE, DOUBLES, TRAILS, LAST, LAST_TO, GAP, X_GAP, ROWS, BEHIND, GROUPS = range(16, 68, 4)
P_HERE = 8
"""On the stack."""
ONE, TWO = ("r6", "r7", "r8", "r9"), ("r10", "r11", "r12", "lr")


def pair(r: tuple[str, str, str, str], first: str, second: str, to: str = "r3", at: int = 0) -> Iterator[str]:
    """Two neighbours' words, of which one may be padding: the four channels' bytes, then the channels'."""
    a, b, c, d = r
    yield f"ldr {a}, {first}"
    yield f"ldr {b}, {second}"
    yield f"pkhbt {c}, {a}, {b}, lsl #16"
    yield f"pkhtb {d}, {b}, {a}, asr #16"
    yield f"sxtab16 {a}, r5, {c}"
    yield f"sxtab16 {c}, r5, {c}, ror #8"
    yield f"sxtab16 {b}, r5, {d}"
    yield f"sxtab16 {d}, r5, {d}, ror #8"
    yield from (f"str {word}, [{to}, #{at + 4 * i}]" for i, word in enumerate((a, c, b, d)))


def whole_row() -> Iterator[str]:
    """The first pixel behind padding, two more, and the last before padding."""
    yield from pair(ONE, f"[r0, #{PAD}]", "[r1]")
    yield f"ldr r4, [r0, #{LAST}]"
    yield "ldr r10, [r1, r4]"
    yield f"ldr r4, [r0, #{LAST_TO}]"
    yield "add r4, r3, r4"
    yield from [*pair(TWO, "", f"[r0, #{PAD}]", "r4")][1:]
    yield from pair(ONE, "[r1, r2]", "[r1, r2, lsl #1]", at=16)
    yield "add r1, r1, r2"
    yield "add r1, r1, r2, lsl #1"
    yield "add r3, r3, #32"
    yield f"ldr r4, [r0, #{DOUBLES}]"


def plane_row() -> Iterator[str]:
    """A row of words: one with padding first, two pixels, twice two pixels, one with padding last."""
    yield f"ldr r6, [r0, #{WHOLE}]"
    yield f"ldr r7, [r0, #{LEADS}]"
    yield "cmp r6, #0"
    yield "beq 8f"
    yield from whole_row()
    yield "b 3f"
    yield "8:"
    yield "cbz r7, 2f"
    yield from pair(ONE, f"[r0, #{PAD}]", "[r1]")
    yield "add r1, r1, r2"
    yield "add r3, r3, #16"
    yield "2:"
    yield f"ldr r6, [r0, #{SINGLE}]"
    yield f"ldr r4, [r0, #{DOUBLES}]"
    yield "cbz r6, 3f"
    yield from pair(ONE, "[r1]", "[r1, r2]")
    yield "add r1, r1, r2, lsl #1"
    yield "add r3, r3, #16"
    yield "3:"
    yield "lsl r0, r2, #1"
    yield "cbz r4, 5f"
    yield "4:"
    yield from pair(ONE, "[r1]", "[r1, r2]")
    yield "add r1, r1, r0"
    yield from pair(TWO, "[r1]", "[r1, r2]", at=16)
    yield "add r1, r1, r0"
    yield "add r3, r3, #32"
    yield "subs r4, r4, #1"
    yield "bne 4b"
    yield "5:"
    yield f"ldr r0, [sp, #{P_HERE}]"
    yield f"ldr r6, [r0, #{TRAILS}]"
    yield "cbz r6, 6f"
    yield from pair(ONE, "[r1]", f"[r0, #{PAD}]")
    yield "add r1, r1, r2"
    yield "add r3, r3, #16"
    yield "6:"


def planes() -> Iterator[str]:
    """r0 p, of which groups count down; r1 where pixels are, r2 from one to the next, r3 where words go, r5 -x_zero."""
    yield "push {r4-r11, lr}"
    yield "ldm r0, {r1, r2, r3, r5}"
    yield "sub sp, sp, #12"
    yield "str r1, [sp, #4]"
    yield f"str r0, [sp, #{P_HERE}]"
    yield "7:"
    yield f"ldr r6, [r0, #{ROWS}]"
    yield "str r6, [sp]"
    yield "1:"
    yield from plane_row()
    yield "ldr r7, [sp]"
    yield f"ldr r6, [r0, #{GAP}]"
    yield f"ldr r8, [r0, #{X_GAP}]"
    yield "subs r7, r7, #1"
    yield "str r7, [sp]"
    yield "add r3, r3, r6"
    yield "add r1, r1, r8"
    yield "bne 1b"
    yield f"ldr r8, [r0, #{BEHIND}]"
    yield "ldr r1, [sp, #4]"
    yield f"ldr r9, [r0, #{GROUPS}]"
    yield "add r3, r3, r8"
    yield "add r1, r1, #4"
    yield "str r1, [sp, #4]"
    yield "subs r9, r9, #1"
    yield f"str r9, [r0, #{GROUPS}]"
    yield "bne 7b"
    yield "add sp, sp, #12"
    yield "pop {r4-r11, pc}"


def weights(taps: int, stride: int) -> Iterator[str]:
    """r0 four channels' taps, r1 bytes between taps, r2 where words go: a channel's rows after another's; r3 groups."""
    row_words = 4 * words(taps, stride)
    channel = row_words * taps
    yield "push {r3-r11, lr}"
    yield "2:"
    yield "mov r7, r0"
    if taps == 3:
        for i in range(3):
            yield from weight_row(taps, stride, channel, row_words * i)
        yield f"add r2, r2, #{4 * channel}"
    else:
        yield f"mov r3, #{taps}"
        yield "1:"
        yield from weight_row(taps, stride, channel, 0)
        yield f"add r2, r2, #{row_words}"
        yield "subs r3, r3, #1"
        yield "bne 1b"
        yield f"add r2, r2, #{3 * channel}"
    yield "ldr r3, [sp]"
    yield "add r0, r7, #4"
    yield "subs r3, r3, #1"
    yield "str r3, [sp]"
    yield "bne 2b"
    yield "pop {r3-r11, pc}"


def weight_row(taps: int, stride: int, channel: int, at: int) -> Iterator[str]:
    """A row's words: as in planes, two neighbours' bytes, then the channels'."""
    places = ("r4", "r5", "r6")  # of taps by turns
    for k in range(taps):
        yield f"ldr {places[k % 3]}, [r0]"
        yield "add r0, r0, r1"
        if k > 0 and ((k - 1) % stride == 0):
            before, here = places[(k - 1) % 3], places[k % 3]
            yield f"pkhbt r8, {before}, {here}, lsl #16"
            yield f"pkhtb r9, {here}, {before}, asr #16"
            yield from weight_words(channel, at + 4 * ((k - 1) // stride))
    if stride == 2:
        yield f"uxth r8, {places[(taps - 1) % 3]}"
        yield f"lsr r9, {places[(taps - 1) % 3]}, #16"
        yield from weight_words(channel, at + 4 * ((taps - 1) // 2))


def weight_words(channel: int, at: int) -> Iterator[str]:
    """The words of four channels, whose bytes are in r8 and r9."""
    yield "sxtb16 r10, r8"
    yield "sxtb16 r11, r8, ror #8"
    yield "sxtb16 r12, r9"
    yield "sxtb16 lr, r9, ror #8"
    yield from (f"str {word}, [r2, #{at + i * channel}]" for i, word in enumerate(("r10", "r11", "r12", "lr")))


def loaded(words_: tuple[str, str, str, str], odd: str) -> Iterator[str]:
    """Two pixels' codes of four channels: r1 the first channel's, r2 and r3 bytes to the second's and the last's."""
    a, b, c, d = words_
    yield f"ldr {b}, [r1, r2]"
    yield f"ldr {c}, [r1, r2, lsl #1]"
    yield f"ldr {d}, [r1, r3]"
    yield f"ldr {a}, [r1], #4"
    if odd:
        yield from (f"sadd16 {word}, {word}, {odd}" for word in words_)


def merged(words_: tuple[str, str, str, str], odd: str) -> Iterator[str]:
    """Two pixels of four channels, clamped."""
    a, b, c, d = words_
    yield from loaded(words_, odd)
    yield from (f"usat16 {word}, #8, {word}" for word in words_)
    yield f"orr {a}, {a}, {b}, lsl #8"
    yield f"orr {c}, {c}, {d}, lsl #8"
    yield f"pkhbt {b}, {a}, {c}, lsl #16"
    yield f"pkhtb {d}, {c}, {a}, asr #16"
    yield f"eor {b}, {b}, #0x80808080"
    yield f"eor {d}, {d}, #0x80808080"
    yield f"str {b}, [r4]"
    yield f"str {d}, [r4, r5]"
    yield "add r4, r4, r5, lsl #1"


def merge(odd: bool) -> Iterator[str]:
    """r0 p: codes, bytes from channel to channel, where outputs go, bytes between pixels, pairs, groups."""
    one, two = ("r7", "r8", "r9", "r10"), (("r11", "r12", "lr", "r7") if odd else ("r11", "r12", "lr", "r0"))
    yield "push {r4-r11, lr}"
    yield "sub sp, sp, #12"
    yield "ldm r0, {r1, r2, r4, r5, r6, r7}"
    yield "str r7, [sp]"
    yield "str r4, [sp, #4]"
    yield "str r6, [sp, #8]"
    yield "add r3, r2, r2, lsl #1"
    if odd:
        yield "mov r0, #0x00010001"
    constant = "r0" if odd else ""
    yield "3:"
    yield "tst r6, #1"
    yield "lsr r6, r6, #1"
    yield "beq 1f"
    yield from merged(one, constant)
    yield "cmp r6, #0"
    yield "beq 2f"
    yield "1:"
    yield from merged(one, constant)
    yield from merged(two, constant)
    yield "subs r6, r6, #1"
    yield "bne 1b"
    yield "2:"
    yield "ldr r7, [sp]"
    yield "ldr r4, [sp, #4]"
    yield "ldr r6, [sp, #8]"
    yield "add r1, r1, r3"  # behind the last channel's codes
    yield "add r4, r4, #4"
    yield "str r4, [sp, #4]"
    yield "subs r7, r7, #1"
    yield "str r7, [sp]"
    yield "bne 3b"
    yield "add sp, sp, #12"
    yield "pop {r4-r11, pc}"


def mark(odd: bool) -> Iterator[str]:
    """DW-S3: r0 p: as above, but masks and bytes between them; then the bits of two channels of two pixels.

    A code that fits has an empty upper byte.  The bits of channels 0 and 1 are made at once, as are those of 2 and 3.
    """
    yield "push {r4-r11, lr}"
    yield "ldm r0, {r1, r2, r4, r5, r6, r8}"
    yield "add r3, r2, r2, lsl #1"
    yield "mov r7, #-1"
    if odd:
        yield "mov r9, #0x00010001"
    yield "mov r0, #0"
    yield "1:"
    yield from loaded(("r10", "r11", "r12", "lr"), "r9" if odd else "")
    for even, other in (("r10", "r11"), ("r12", "lr")):
        yield f"uxtb16 {even}, {even}, ror #8"
        yield f"bic {other}, {other}, #0x00ff00ff"
        yield f"orr {even}, {even}, {other}"
        yield f"uadd8 {even}, {even}, r7"
        yield f"sel {even}, r0, r8"
    yield "orr r10, r10, r12, lsl #2"
    yield "orr r10, r10, r10, lsr #8"
    yield "ldrb r11, [r4]"
    yield "ldrb r12, [r4, r5]"
    yield "orr r11, r11, r10"
    yield "orr r12, r12, r10, lsr #16"
    yield "strb r11, [r4]"
    yield "strb r12, [r4, r5]"
    yield "add r4, r4, r5, lsl #1"
    yield "subs r6, r6, #1"
    yield "bne 1b"
    yield "pop {r4-r11, pc}"


P_TYPE = "const gg_m7_depthwise_t *p __attribute__((unused))"
FUNCTIONS = [
    function(
        name(taps, stride, wide),
        P_TYPE,
        scheduled(depthwise(taps, stride, wide)),
        f"DW-S1, DW-S2: {taps} taps a row, stride {stride}, "
        f"blocks of {'eight outputs' if wide else 'two rows of four outputs'}.",
    )
    for taps, stride, wide in SHAPES
]
FUNCTIONS += [
    function(
        f"gg_m7_depthwise_weights_{taps}_{stride}",
        "const int8_t *w __attribute__((unused)), int32_t step __attribute__((unused)),\n"
        "                                int16_t *to __attribute__((unused)), int32_t groups __attribute__((unused))",
        scheduled(weights(taps, stride)),
        f"Words of neighbouring taps, {taps} rows of {taps}, for stride {stride}.",
    )
    for taps in (3, 5, 7)
    for stride in (1, 2)
]
FUNCTIONS += [
    function(
        "gg_m7_planes",
        "gg_m7_planes_t *p __attribute__((unused))",
        scheduled(planes()),
        "DW-S1: x - x_zero of rows of four channels, two pixels a word.",
    ),
]
FUNCTIONS += [
    function(
        f"gg_m7_merge{'_odd' * odd}",
        "const gg_m7_merge_t *p __attribute__((unused))",
        scheduled(merge(odd)),
        "DW-S2: four channels' codes of two pixels at a time, clamped to int8.",
    )
    for odd in (False, True)
]
FUNCTIONS += [
    function(
        f"gg_m7_mark{'_odd' * odd}",
        "const gg_m7_mark_t *p __attribute__((unused))",
        scheduled(mark(odd)),
        "DW-S3: where the clamp lets four channels' codes through, of two pixels at a time.",
    )
    for odd in (False, True)
]

if __name__ == "__main__":
    includes = ("depthwise_int8.h",)
    write("depthwise_int8.c", file("depthwise_int8.py", "Depthwise convolution of int8.", includes, FUNCTIONS))
