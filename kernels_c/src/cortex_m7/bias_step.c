#include "goldgrad/bias_step.h"

#include <arm_acle.h>

#include "../portable/rounding.h"
#include "../portable/taps.h"
#include "masked.h"

enum { BLOCK = 8 };

/* SCALE-S1, SCALE-S2, BIAS-S1 for eight channels of all pixels: each g into its sum once it is stored. */
static void block(int32_t pixels, int32_t row, int32_t mask_row, const float *gy, const uint8_t *mask, const float *m,
                  float *g, float *db) {
    uint32_t bits = 0;
    __asm__ volatile("vldmia %[m], {s8-s15}\n"
                     "vmov s16, %[bits]\n"
                     "vmov s24, %[bits]\n"
                     "vmov s25, %[bits]\n"
                     "vmov s26, %[bits]\n"
                     "vmov s27, %[bits]\n"
                     "vmov s28, %[bits]\n"
                     "vmov s29, %[bits]\n"
                     "vmov s30, %[bits]\n"
                     "vmov s31, %[bits]\n"
                     "1:\n" GG_M7_MASKED_EIGHT "vstmia %[g], {s0-s7}\n"
                     "vadd.f32 s31, s31, s7\n"
                     "add %[g], %[row]\n"
                     "vadd.f32 s30, s30, s6\n"
                     "vadd.f32 s29, s29, s5\n"
                     "vadd.f32 s28, s28, s4\n"
                     "vadd.f32 s27, s27, s3\n"
                     "vadd.f32 s26, s26, s2\n"
                     "vadd.f32 s25, s25, s1\n"
                     "vadd.f32 s24, s24, s0\n"
                     "bne 1b\n"
                     "vstmia %[db], {s24-s31}\n"
                     : [pixels] "+r"(pixels), [gy] "+r"(gy), [mask] "+r"(mask), [g] "+r"(g), [bits] "+r"(bits)
                     : [row] "r"(row), [mask_row] "r"(mask_row), [m] "r"(m), [db] "r"(db)
                     : "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "s12", "s13", "s14",
                       "s15", "s16", "s24", "s25", "s26", "s27", "s28", "s29", "s30", "s31", "cc", "memory");
}

/* UPB-S1, UPB-S2, UPB-S3: a sum that saturates at the ends of int32 is clamped as the exact one is. */
static int32_t stepped(int32_t b, float db, float q, int32_t most, float lr) {
    const int32_t sum = __qadd(b, gg_round(-(lr * q) * db));
    const int32_t low = sum < -most - 1 ? -most - 1 : sum;
    return q == 0.0F ? b : low > most ? most : low;
}

void gg_bias_step_update(int32_t pixels, int32_t channels, const float *gy, const uint8_t *mask, const float *m,
                         const int32_t *b, const float *q, const int32_t *limit, const float *lr, int32_t *b_new,
                         float *g) {
    const int32_t bytes = gg_mask_bytes(channels);
    int32_t c = 0;
    for (; c + BLOCK <= channels; c += BLOCK) {
        float db[BLOCK];
        block(pixels, 4 * channels, bytes, gy + c, mask + c / BLOCK, m + c, g + c, db);
        for (int32_t i = c; i < c + BLOCK; ++i) {
            b_new[i] = stepped(b[i], db[i - c], q[i], *limit, *lr);
        }
    }
    for (; c < channels; ++c) {
        float db = 0.0F;
        for (int32_t i = 0; i < pixels; ++i) {
            const int32_t at = i * channels + c;
            g[at] = gg_get_bit(mask + i * bytes, c) ? gy[at] * m[c] : 0.0F;
            db += g[at];
        }
        b_new[c] = stepped(b[c], db, q[c], *limit, *lr);
    }
}
