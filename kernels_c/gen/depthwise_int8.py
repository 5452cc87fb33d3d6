"""Depthwise convolution of int8: four channels at a time, each a plane of pairs of neighbouring pixels.

Planes hold x - x_zero as int16, two pixels a word, the four channels' words in turn, so padding is 0.  A weight's row
is a word for each two neighbouring taps: (w0, w1), (w1, w2), ...  With stride 1 an output that starts at an even pixel
takes (w0, w1), (w2, w3), ... and the last tap alone, one that starts at an odd pixel w0 alone and (w1, w2), ...; with
stride 2 all start at even pixels, and the last word is (w2, 0) or longer.

Registers of a block of outputs of one channel: accumulators, two words of pixels by turns, a row of the weight, then
where the pixels (r12) and the weights (lr) are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from assembly import beside, file, function, write, zipped

# Offsets in gg_m7_depthwise_t.
X, ROW_BYTES, W, W_BYTES, BLOCKS, CODES, MAGIC, ROWS, ROWS_END, BIAS, M = *range(0, 40, 4), 52
# On the stack.
P, X_HERE, W_HERE, ROW, W_END, BIAS_HERE, TO, X_END, CHANNEL, W_CHANNEL, ROW_HERE = range(0, 44, 4)
FRAME = 52

SHAPES = ((3, 1, 8), (3, 1, 4), (3, 2, 8), (3, 2, 4), (5, 1, 4), (5, 2, 4), (7, 1, 4), (7, 2, 4))
"""Taps a row, stride, outputs a block."""


def words(taps: int, stride: int) -> int:
    """Words of a row of the weight."""
    return taps - 1 if stride == 1 else (taps + 1) // 2


def name(taps: int, stride: int, outputs: int) -> str:
    """The function for a shape."""
    return f"gg_m7_depthwise_{taps}_{stride}_{outputs}"


def products(taps: int, stride: int, outputs: int) -> list[list[tuple[str, int, int]]]:
    """By word of pixels: what is multiplied: instruction, output, word of the weight."""
    last = (taps - 1) // 2
    if stride == 2:
        return [
            [("smlad", output, t - output) for output in range(outputs) if 0 <= t - output <= last]
            for t in range(outputs + last)
        ]
    found: list[list[tuple[str, int, int]]] = []
    for t in range(outputs // 2 + last):
        here = []
        for pair in range(outputs // 2):
            k = t - pair
            if 0 <= k < last:
                here.append(("smlad", 2 * pair, 2 * k))
            elif k == last:
                here.append(("smlabt", 2 * pair, 2 * k - 1))
            if k == 0:
                here.append(("smlatb", 2 * pair + 1, 0))
            elif 0 < k <= last:
                here.append(("smlad", 2 * pair + 1, 2 * k - 1))
        found.append(here)
    return found


def row(taps: int, stride: int, outputs: int, first: bool, last: bool) -> Iterator[str]:
    """A row of taps; the first adds to the bias, which lies in the last accumulator until that is begun."""
    pixels = (f"r{outputs}", f"r{outputs + 1}")
    weight = [f"r{outputs + 2 + i}" for i in range(words(taps, stride))]
    begun: set[int] = set() if first else set(range(outputs))
    plan = products(taps, stride, outputs)
    yield f"ldr {pixels[0]}, [r12]"
    if len(weight) == 2:
        yield f"ldrd {weight[0]}, {weight[1]}, [lr], #8"
    else:
        yield f"ldm lr!, {{{', '.join(weight)}}}"
    for t, here in enumerate(plan):
        if t + 1 < len(plan):
            yield f"ldr {pixels[(t + 1) % 2]}, [r12, #{16 * (t + 1)}]"
        elif not last:
            yield f"ldr {pixels[(t + 1) % 2]}, [sp, #{ROW}]"
        # An output that begins later must find the bias: the last accumulator comes last.
        for instruction, output, k in sorted(here, key=lambda each: each[1]):
            start = output if output in begun else outputs - 1
            begun.add(output)
            yield f"{instruction} r{output}, {pixels[t % 2]}, {weight[k]}, r{start}"
    if not last:
        yield f"add r12, r12, {pixels[len(plan) % 2]}"


def block(taps: int, stride: int, outputs: int) -> Iterator[str]:
    """The sums of a block, and beside its products the codes of the block before: a conversion beside each product.

    Three rows, or as many as meet the map; the first adds to the bias.
    """
    yield f"ldr r12, [sp, #{X_HERE}]"
    yield f"ldr lr, [sp, #{W_HERE}]"
    yield f"ldr r{outputs - 1}, [sp, #{BIAS_HERE}]"
    before = list(rounded(outputs))
    if taps == 3:
        rows = [line for i in range(3) for line in row(taps, stride, outputs, i == 0, i == 2)]
        yield from beside(rows, before)
        return
    yield from beside([*row(taps, stride, outputs, True, False)], before)
    yield f"ldr r{outputs}, [sp, #{W_END}]"
    yield f"cmp lr, r{outputs}"
    yield "beq 4f"
    yield "3:"
    yield from row(taps, stride, outputs, False, False)
    yield f"ldr r{outputs}, [sp, #{W_END}]"
    yield f"cmp lr, r{outputs}"
    yield "bne 3b"
    yield "4:"


def rounded(outputs: int) -> Iterator[str]:
    """DW-S2: the sums of a block, in s16 and on: as float32, times m, and rounded (NUM-N6) as dot_int8.py does."""
    yield from (f"vcvt.f32.s32 s{i}, s{16 + i}" for i in range(outputs))
    yield from (f"vmul.f32 s{i}, s{i}, s8" for i in range(outputs))
    yield from (f"vadd.f32 s{i}, s{i}, s9" for i in range(outputs))


def codes(outputs: int, others: Iterable[str] = ()) -> Iterator[str]:
    """Codes of the block before, two a word, not yet clamped; others run beside."""
    yield from (f"vmov r{i}, r{i + 1}, s{i}, s{i + 1}" for i in range(0, outputs, 2))
    yield f"ldr r12, [sp, #{TO}]"
    yield from zipped((f"pkhbt r{i}, r{i}, r{i + 1}, lsl #16" for i in range(0, outputs, 2)), others)
    yield f"stm r12!, {{{', '.join(f'r{i}' for i in range(0, outputs, 2))}}}"


def enter() -> Iterator[str]:
    """Registers and constants are kept; the first channel is next."""
    yield "push {r4-r11, lr}"
    yield "vpush {s16-s23}"
    yield f"sub sp, #{FRAME}"
    yield f"ldr r1, [r0, #{W}]"
    yield f"ldr r2, [r0, #{ROW_BYTES}]"
    yield f"ldr r3, [r0, #{CODES}]"
    yield f"str r0, [sp, #{P}]"
    yield f"str r1, [sp, #{W_CHANNEL}]"
    yield f"str r2, [sp, #{ROW}]"
    yield f"str r3, [sp, #{TO}]"
    yield f"vldr s9, [r0, #{MAGIC}]"
    yield "mov r5, #0"


def next_channel() -> Iterator[str]:
    """r5 is 4 times its number."""
    yield "1:"
    yield "add r6, r0, r5"
    yield f"ldr r1, [r0, #{ROWS}]"
    yield f"vldr s10, [r6, #{M}]"
    yield f"ldr r7, [r6, #{BIAS}]"
    yield f"str r5, [sp, #{CHANNEL}]"
    yield f"str r7, [sp, #{BIAS_HERE}]"


def next_row(step: int) -> Iterator[str]:
    """r0 p, r1 what the row meets; step is the bytes of pixels of a block, a power of two."""
    yield "2:"
    yield "ldm r1!, {r2, r3, r4}"
    yield f"ldr r6, [r0, #{X}]"
    yield f"ldr r5, [sp, #{CHANNEL}]"
    yield f"ldr r7, [sp, #{W_CHANNEL}]"
    yield f"ldr r8, [r0, #{BLOCKS}]"
    yield "add r2, r2, r6"
    yield f"str r1, [sp, #{ROW_HERE}]"
    yield "add r2, r2, r5"
    yield "add r3, r3, r7"
    yield "add r4, r4, r7"
    yield f"add r8, r2, r8, lsl #{step.bit_length() - 1}"
    yield f"str r4, [sp, #{W_END}]"
    yield f"strd r2, r3, [sp, #{X_HERE}]"
    yield f"str r8, [sp, #{X_END}]"


def depthwise(taps: int, stride: int, outputs: int) -> Iterator[str]:
    """Rows of outputs of four channels: the first block stores what is no code, before the others' places."""
    step = 8 * outputs * stride
    yield from enter()
    yield from next_channel()
    yield from next_row(step)
    yield "5:"
    yield from block(taps, stride, outputs)
    yield "vmov.f32 s8, s10"
    yield from (f"vmov s{16 + i}, s{17 + i}, r{i}, r{i + 1}" for i in range(0, outputs, 2))
    here, end = f"[sp, #{X_HERE}]", f"[sp, #{X_END}]"
    yield from codes(outputs, [f"ldr lr, {here}", f"ldr r{outputs}, {end}", f"add lr, lr, #{step}", f"str lr, {here}"])
    yield f"str r12, [sp, #{TO}]"
    yield f"cmp lr, r{outputs}"
    yield "bne 5b"
    yield f"ldr r0, [sp, #{P}]"
    yield f"ldr r1, [sp, #{ROW_HERE}]"
    yield f"ldr r2, [r0, #{ROWS_END}]"
    yield "cmp r1, r2"
    yield "bne 2b"
    yield f"ldr r5, [sp, #{CHANNEL}]"
    yield f"ldr r2, [sp, #{W_CHANNEL}]"
    yield f"ldr r3, [r0, #{W_BYTES}]"
    yield "add r5, #4"
    yield "add r2, r2, r3"
    yield "cmp r5, #16"
    yield f"str r2, [sp, #{W_CHANNEL}]"
    yield "bne 1b"
    yield from rounded(outputs)
    yield from codes(outputs)
    yield f"add sp, #{FRAME}"
    yield "vpop {s16-s23}"
    yield "pop {r4-r11, pc}"


def pair(first: bool = True, second: bool = True) -> Iterator[str]:
    """Two neighbours' words, of which one may be padding."""
    if first:
        yield "ldr r6, [r1]"
    if second:
        yield "ldr r7, [r1, r2]" if first else "ldr r7, [r1]"
    if first and second:
        yield "add r1, r1, r2, lsl #1"
    elif second:
        yield "add r1, r1, r2"
    for there, even, odd in ((first, "r8", "r6"), (second, "r9", "r7")):
        yield f"sxtab16 {even}, r5, {odd}" if there else f"mov {even}, #0"
        yield f"sxtab16 {odd}, r5, {odd}, ror #8" if there else f"mov {odd}, #0"
    yield "pkhbt r10, r8, r9, lsl #16"
    yield "pkhtb r12, r9, r8, asr #16"
    yield "pkhbt r11, r6, r7, lsl #16"
    yield "pkhtb lr, r7, r6, asr #16"
    yield "stm r3!, {r10, r11, r12, lr}"


def planes() -> Iterator[str]:
    """r0 p, of which pixels and words move on row by row."""
    yield "push {r4-r11, lr}"
    yield "1:"
    yield "ldm r0, {r1-r5}"
    yield "ldr r6, [r0, #32]"
    yield "cbz r6, 2f"
    yield from pair(first=False)
    yield "2:"
    yield "cbz r4, 4f"
    yield "3:"
    yield from pair()
    yield "subs r4, #1"
    yield "bne 3b"
    yield "4:"
    yield "ldr r6, [r0, #36]"
    yield "cbz r6, 5f"
    yield from pair(second=False)
    yield "5:"
    yield "ldm r0, {r1-r3}"
    yield "ldr r4, [r0, #20]"
    yield "ldr r5, [r0, #24]"
    yield "ldr r6, [r0, #28]"
    yield "add r1, r1, r4"
    yield "add r3, r3, r5"
    yield "subs r6, #1"
    yield "str r1, [r0]"
    yield "str r3, [r0, #8]"
    yield "str r6, [r0, #28]"
    yield "bne 1b"
    yield "pop {r4-r11, pc}"


def weights(taps: int, stride: int) -> Iterator[str]:
    """r0 four channels' taps, r1 bytes between taps, r2 where words go: a channel's rows after another's."""
    channel = 4 * words(taps, stride) * taps
    kept = range(0, taps - 1, stride)
    yield "push {r4-r11, lr}"
    yield f"mov r3, #{taps}"
    yield "1:"
    yield "ldr r4, [r0]"
    yield "add r0, r0, r1"
    yield "sxtb16 r5, r4"
    yield "sxtb16 r6, r4, ror #8"
    even, odd, next_even, next_odd = "r5", "r6", "r7", "r8"
    for k in range(taps - 1):
        yield "ldr r4, [r0]"
        yield "add r0, r0, r1"
        yield f"sxtb16 {next_even}, r4"
        yield f"sxtb16 {next_odd}, r4, ror #8"
        if k in kept:
            yield f"pkhbt r9, {even}, {next_even}, lsl #16"
            yield f"pkhbt r10, {odd}, {next_odd}, lsl #16"
            yield f"pkhtb r11, {next_even}, {even}, asr #16"
            yield f"pkhtb r12, {next_odd}, {odd}, asr #16"
            yield from (f"str r{9 + i}, [r2, #{i * channel}]" for i in range(1, 4))
            yield "str r9, [r2], #4"
        even, odd, next_even, next_odd = next_even, next_odd, even, odd
    if stride == 2:
        yield f"uxth r9, {even}"
        yield f"uxth r10, {odd}"
        yield f"lsr r11, {even}, #16"
        yield f"lsr r12, {odd}, #16"
        yield from (f"str r{9 + i}, [r2, #{i * channel}]" for i in range(1, 4))
        yield "str r9, [r2], #4"
    yield "subs r3, #1"
    yield "bne 1b"
    yield "pop {r4-r11, pc}"


def merge(mask: bool, odd: bool) -> Iterator[str]:
    """r0 p: four channels' codes, where outputs go, bytes between pixels, pairs; then what masks want."""
    yield "push {r4-r11, lr}"
    if mask:
        yield "sub sp, #12"
        yield "ldr r1, [r0, #28]"
        yield "ldr r2, [r0, #32]"
        yield "ldr r3, [r0, #36]"
        yield "stm sp, {r1-r3}"
    yield "ldm r0, {r1-r7}"
    yield "1:"
    yield "ldr r8, [r1], #4"
    yield "ldr r9, [r2], #4"
    yield "ldr r10, [r3], #4"
    yield "ldr r11, [r4], #4"
    if odd:
        yield "mov r12, #0x00010001"
        yield from (f"sadd16 r{i}, r{i}, r12" for i in range(8, 12))
    if mask:
        yield from marks()
    yield from (f"usat16 r{i}, #8, r{i}" for i in range(8, 12))
    yield "orr r8, r8, r9, lsl #8"
    yield "orr r10, r10, r11, lsl #8"
    yield "pkhbt r9, r8, r10, lsl #16"
    yield "pkhtb r10, r10, r8, asr #16"
    yield "eor r9, r9, #0x80808080"
    yield "eor r10, r10, #0x80808080"
    yield "subs r7, #1"
    yield "str r9, [r5]"
    yield "str r10, [r5, r6]"
    yield "add r5, r5, r6, lsl #1"
    yield "bne 1b"
    if mask:
        yield "add sp, #12"
    yield "pop {r4-r11, pc}"


def marks() -> Iterator[str]:
    """DW-S3: as in dot_int8.py, of two pixels at once."""
    yield "uxtb16 r12, r8, ror #8"
    yield "bic lr, r9, #0x00ff00ff"
    yield "orr r12, r12, lr"
    yield "uxtb16 lr, r10, ror #8"
    yield "bic r0, r11, #0x00ff00ff"
    yield "orr lr, lr, r0"
    yield "pkhbt r0, r12, lr, lsl #16"
    yield "pkhtb r12, lr, r12, asr #16"
    yield "push {r4, r5}"
    yield "movw r4, #0x0201"
    yield "movt r4, #0x0804"
    yield "mov r5, #-1"
    yield "mov lr, #0"
    for bits in ("r0", "r12"):
        yield f"uadd8 {bits}, {bits}, r5"
        yield f"sel {bits}, lr, r4"
        yield f"usad8 {bits}, {bits}, lr"
    yield "ldr r4, [sp, #8]"
    yield "ldr r5, [sp, #16]"
    yield "lsl r0, r0, r5"
    yield "lsl r12, r12, r5"
    yield "ldr r5, [sp, #12]"
    for bits in ("r0", "r12"):
        yield "ldrb lr, [r4]"
        yield f"orr {bits}, {bits}, lr"
        yield f"strb {bits}, [r4]"
        yield "add r4, r4, r5"
    yield "str r4, [sp, #8]"
    yield "pop {r4, r5}"


P_TYPE = "const gg_m7_depthwise_t *p __attribute__((unused))"
FUNCTIONS = [
    function(
        name(*shape),
        P_TYPE,
        depthwise(*shape),
        "DW-S1, DW-S2: {} taps a row, stride {}, {} outputs a block.".format(*shape),
    )
    for shape in SHAPES
]
FUNCTIONS += [
    function(
        f"gg_m7_depthwise_weights_{taps}_{stride}",
        "const int8_t *w __attribute__((unused)), int32_t step __attribute__((unused)),\n"
        "                                int16_t *to __attribute__((unused))",
        weights(taps, stride),
        f"Words of neighbouring taps, {taps} rows of {taps}, for stride {stride}.",
    )
    for taps in (3, 5, 7)
    for stride in (1, 2)
]
FUNCTIONS += [
    function(
        "gg_m7_planes",
        "gg_m7_planes_t *p __attribute__((unused))",
        planes(),
        "DW-S1: x - x_zero of rows of four channels, two pixels a word.",
    ),
]
FUNCTIONS += [
    function(
        f"gg_m7_merge{'_mask' * mask}{'_odd' * odd}",
        "const gg_m7_merge_t *p __attribute__((unused))",
        merge(mask, odd),
        "DW-S2: four channels' codes of two pixels at a time, clamped to int8"
        + ("; DW-S3: and where that lets through." if mask else "."),
    )
    for mask in (False, True)
    for odd in (False, True)
]

if __name__ == "__main__":
    includes = ("depthwise_int8.h",)
    write("depthwise_int8.c", file("depthwise_int8.py", "Depthwise convolution of int8.", includes, FUNCTIONS))
