#include "goldgrad/mask_scale.h"

#include "../portable/taps.h"
#include "masked.h"

enum { BLOCK = 8 };

/* SCALE-S1, SCALE-S2 for eight channels of all pixels, which share a byte of the mask. */
static void block(int32_t pixels, int32_t row, int32_t mask_row, const float *gy, const uint8_t *mask, const float *m,
                  float *g) {
    uint32_t bits = 0;
    __asm__ volatile("vldmia %[m], {s8-s15}\n"
                     "vmov s16, %[bits]\n"
                     "1:\n" GG_M7_MASKED_EIGHT "vstmia %[g], {s0-s7}\n"
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
