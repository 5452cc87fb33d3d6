"""Sum of two int8 activations, eight elements a turn: a product, a fused multiply-add and an addition for each.

VCVT from fixed point takes the low halfword of a register, so a word of two int16 is converted without being taken
apart: once as it is, once shifted down.  Rounding, packing and masks are those of dot_int8.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from assembly import file, function, write
from schedule import scheduled

X1, X2, Y, MASK, GROUPS, LESS1, LESS2, M1, M2, MAGIC = range(0, 40, 4)


def converted(first: int, r: tuple[str, str, str, str]) -> Iterator[str]:
    """ADD-S1: four elements of each operand as float32: s(first) and on, and s(first + 4) and on."""
    a, b, c, d = r
    yield f"ldr {a}, [r1], #4"
    yield f"ldr {b}, [r2], #4"
    yield f"sxtab16 {c}, r6, {a}"
    yield f"sxtab16 {a}, r6, {a}, ror #8"
    yield f"sxtab16 {d}, r7, {b}"
    yield f"sxtab16 {b}, r7, {b}, ror #8"
    yield f"vmov s{first}, s{first + 1}, {c}, {a}"
    yield f"vmov s{first + 4}, s{first + 5}, {d}, {b}"
    yield from (f"asr {word}, {word}, #16" for word in (c, a, d, b))
    yield f"vmov s{first + 2}, s{first + 3}, {c}, {a}"
    yield f"vmov s{first + 6}, s{first + 7}, {d}, {b}"
    yield from (f"vcvt.f32.s16 s{i}, s{i}, #0" for i in range(first, first + 8))
    yield from (f"vmul.f32 s{i}, s{i}, s28" for i in range(first, first + 4))


def packed(first: int, r: tuple[str, str, str, str], odd: bool) -> Iterator[str]:
    """ADD-S2: codes of four elements in the first two registers, two a word."""
    a, b, c, d = r
    yield from (f"vadd.f32 s{i}, s{i}, s30" for i in range(first, first + 4))
    yield f"vmov {a}, {b}, s{first}, s{first + 1}"
    yield f"vmov {c}, {d}, s{first + 2}, s{first + 3}"
    yield f"pkhbt {a}, {a}, {c}, lsl #16"
    yield f"pkhbt {b}, {b}, {d}, lsl #16"
    if odd:
        yield f"mov {c}, #0x00010001"
        yield f"sadd16 {a}, {a}, {c}"
        yield f"sadd16 {b}, {b}, {c}"


def marked(r: tuple[str, str, str, str], bits: str) -> Iterator[str]:
    """ADD-S3: four bits of a mask in the third register."""
    a, b, c, d = r
    yield f"uxtb16 {c}, {a}, ror #8"
    yield f"bic {d}, {b}, #0x00ff00ff"
    yield f"orr {c}, {c}, {d}"
    yield f"mov {d}, #-1"
    yield f"uadd8 {c}, {c}, {d}"
    yield f"movw {d}, #0x{bits[4:]}"
    yield f"movt {d}, #0x{bits[:4]}"
    yield "mov r0, #0"
    yield f"sel {c}, r0, {d}"
    yield f"usad8 {c}, {c}, r0"


def stored(r: tuple[str, str, str, str], at: int) -> Iterator[str]:
    """Four elements."""
    a, b, _, _ = r
    yield f"usat16 {a}, #8, {a}"
    yield f"usat16 {b}, #8, {b}"
    yield f"orr {a}, {a}, {b}, lsl #8"
    yield f"eor {a}, {a}, #0x80808080"
    yield f"str {a}, [r3, #{at}]"


def add(mask: bool, odd: bool) -> Iterator[str]:
    """A whole function: two words of each operand a turn, so that one has what to do while the other waits."""
    one, two = ("r8", "r9", "r10", "r11"), ("r8", "r9", "r12", "lr")
    yield "push {r4-r11, lr}"
    yield "vpush {s16-s31}"
    yield "ldm r0!, {r1-r7}"
    yield "vldm r0, {s28-s30}"
    yield "1:"
    yield from converted(0, one)
    yield from converted(8, two)
    yield from (f"vfma.f32 s{first + i}, s{first + i + 4}, s29" for first in (0, 8) for i in range(4))
    yield from packed(0, one, odd)
    if mask:
        yield from marked(one, "08040201")
    yield from stored(one, 0)
    yield from packed(8, two, odd)
    if mask:
        yield from marked(two, "80402010")
    yield from stored(two, 4)
    if mask:
        yield "orr r10, r10, r12"
        yield "strb r10, [r4], #1"
    yield "add r3, r3, #8"
    yield "subs r5, r5, #1"
    yield "bne 1b"
    yield "vpop {s16-s31}"
    yield "pop {r4-r11, pc}"


FUNCTIONS = [
    function(
        f"gg_m7_add{'_mask' * mask}{'_odd' * odd}",
        "const gg_m7_add_t *p __attribute__((unused))",
        scheduled(add(mask, odd)),
        f"ADD-S1, ADD-S2{', ADD-S3' * mask}: groups of 8 elements.",
    )
    for mask in (False, True)
    for odd in (False, True)
]

if __name__ == "__main__":
    write("add_int8.c", file("add_int8.py", "Sum of two int8 activations.", ("add_int8.h",), FUNCTIONS))
