#include "goldgrad/mask_scale.h"

#include "../portable/taps.h"

enum { BLOCK = 8 };

/*
 * SCALE-S1, SCALE-S2 for eight channels of all pixels, which share a byte of the mask.  A shift puts the bit of the next
 * channel where the sign of its result is, and VSEL takes +0 where that is not set: GE holds where N is V, and V stays 0.
 */
static void block(int32_t pixels, int32_t row, int32_t mask_row, const float *gy, const uint8_t *mask, const float *m,
                  float *g) {
    uint32_t bits = 0;
    __asm__ volatile("vldmia %[m], {s8-s15}\n"
                     "vmov s16, %[bits]\n"
                     "1:\n"
                     "vldmia %[gy], {s0-s7}\n"
                     "ldrb %[bits], [%[mask]]\n"
                     "add %[gy], %[row]\n"
                     "vmul.f32 s7, s7, s15\n"
                     "subs %[pixels], #1\n"
                     "vmul.f32 s6, s6, s14\n"
                     "add %[mask], %[mask_row]\n"
                     "vmul.f32 s5, s5, s13\n"
                     "lsls %[bits], #24\n"
                     "vmul.f32 s4, s4, s12\n"
                     "vselge.f32 s7, s16, s7\n"
                     "lsls %[bits], #1\n"
                     "vmul.f32 s3, s3, s11\n"
                     "vselge.f32 s6, s16, s6\n"
                     "lsls %[bits], #1\n"
                     "vmul.f32 s2, s2, s10\n"
                     "vselge.f32 s5, s16, s5\n"
                     "lsls %[bits], #1\n"
                     "vmul.f32 s1, s1, s9\n"
                     "vselge.f32 s4, s16, s4\n"
                     "lsls %[bits], #1\n"
                     "vmul.f32 s0, s0, s8\n"
                     "vselge.f32 s3, s16, s3\n"
                     "lsls %[bits], #1\n"
                     "vselge.f32 s2, s16, s2\n"
                     "lsls %[bits], #1\n"
                     "vselge.f32 s1, s16, s1\n"
                     "lsls %[bits], #1\n"
                     "vselge.f32 s0, s16, s0\n"
                     "cmp %[pixels], #0\n"
                     "vstmia %[g], {s0-s7}\n"
                     "add %[g], %[row]\n"
                     "bne 1b\n"
                     : [pixels] "+r"(pixels), [gy] "+r"(gy), [mask] "+r"(mask), [g] "+r"(g), [bits] "+r"(bits)
                     : [row] "r"(row), [mask_row] "r"(mask_row), [m] "r"(m)
                     : "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "s12", "s13", "s14",
                       "s15", "s16", "cc", "memory");
}

void gg_mask_scale_forward(int32_t pixels, int32_t channels, const float *gy, const uint8_t *mask, const float *m,
                           float *g) {
    const int32_t whole = channels / BLOCK;
    const int32_t bytes = gg_mask_bytes(channels);
    for (int32_t i = 0; i < whole; ++i) {
        block(pixels, 4 * channels, bytes, gy + BLOCK * i, mask + i, m + BLOCK * i, g + BLOCK * i);
    }
    for (int32_t i = 0; channels % BLOCK != 0 && i < pixels; ++i) {
        for (int32_t c = whole * BLOCK; c < channels; ++c) {
            g[i * channels + c] = gg_get_bit(mask + i * bytes, c) ? gy[i * channels + c] * m[c] : 0.0F;
        }
    }
}
