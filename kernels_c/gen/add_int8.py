"""Sum of two int8 activations, eight elements a turn: a product, a fused multiply-add and an addition for each.

VCVT from fixed point takes the low halfword of a register, so a word of two int16 is converted without being taken
apart: once as it is, once shifted down.  Rounding, packing and masks are those of dot_int8.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from assembly import file, function, write

X1, X2, Y, MASK, GROUPS, LESS1, LESS2, M1, M2, MAGIC = range(0, 40, 4)


def word(mask: bool, odd: bool) -> Iterator[str]:
    """ADD-S1, ADD-S2, ADD-S3: four elements; of a mask four bits in r12, on top of what they are shifted above."""
    yield "ldr r8, [r1], #4"
    yield "ldr r9, [r2], #4"
    yield "sxtab16 r10, r6, r8"
    yield "sxtab16 r8, r6, r8, ror #8"
    yield "sxtab16 r11, r7, r9"
    yield "sxtab16 r9, r7, r9, ror #8"
    yield "vmov s0, s1, r10, r8"
    yield "asr r10, r10, #16"
    yield "asr r8, r8, #16"
    yield "vmov s4, s5, r11, r9"
    yield "asr r11, r11, #16"
    yield "asr r9, r9, #16"
    yield "vmov s2, s3, r10, r8"
    yield "vmov s6, s7, r11, r9"
    yield from (f"vcvt.f32.s16 s{i}, s{i}, #0" for i in range(8))
    yield from (f"vmul.f32 s{i}, s{i}, s13" for i in range(4))
    yield from (f"vfma.f32 s{i}, s{i + 4}, s14" for i in range(4))
    yield from (f"vadd.f32 s{i}, s{i}, s15" for i in range(4))
    yield "vmov r8, r9, s0, s1"
    yield "vmov r10, r11, s2, s3"
    yield "pkhbt r8, r8, r10, lsl #16"
    yield "pkhbt r9, r9, r11, lsl #16"
    if odd:
        yield "mov r10, #0x00010001"
        yield "sadd16 r8, r8, r10"
        yield "sadd16 r9, r9, r10"
    if mask:
        yield "uxtb16 r10, r8, ror #8"
        yield "bic r11, r9, #0x00ff00ff"
        yield "orr r10, r10, r11"
        yield "mov r11, #-1"
        yield "uadd8 r10, r10, r11"
        yield "movw r11, #0x0201"
        yield "movt r11, #0x0804"
        yield "mov lr, #0"
        yield "sel r10, lr, r11"
        yield "usad8 r10, r10, lr"
    yield "usat16 r8, #8, r8"
    yield "usat16 r9, #8, r9"
    yield "orr r8, r8, r9, lsl #8"
    yield "eor r8, r8, #0x80808080"
    yield "str r8, [r3], #4"


def add(mask: bool, odd: bool) -> Iterator[str]:
    """A whole function."""
    yield "push {r4-r11, lr}"
    yield "ldm r0!, {r1-r7}"
    yield "vldm r0, {s13-s15}"
    yield "1:"
    yield from word(mask, odd)
    if mask:
        yield "mov r12, r10"
    yield from word(mask, odd)
    if mask:
        yield "orr r12, r12, r10, lsl #4"
        yield "strb r12, [r4], #1"
    yield "subs r5, #1"
    yield "bne 1b"
    yield "pop {r4-r11, pc}"


FUNCTIONS = [
    function(
        f"gg_m7_add{'_mask' * mask}{'_odd' * odd}",
        "const gg_m7_add_t *p __attribute__((unused))",
        add(mask, odd),
        f"ADD-S1, ADD-S2{', ADD-S3' * mask}: groups of 8 elements.",
    )
    for mask in (False, True)
    for odd in (False, True)
]

if __name__ == "__main__":
    write("add_int8.c", file("add_int8.py", "Sum of two int8 activations.", ("add_int8.h",), FUNCTIONS))
