#include "goldgrad/bias_gradient.h"

#include <stddef.h>

enum { BLOCK = 8 };

/* BIAS-S1 for eight channels. */
static void block(int32_t pixels, int32_t row, const float *g, const float *start, float *db) {
    __asm__ volatile("vldmia %[start], {s0-s7}\n"
                     "1:\n"
                     "vldmia %[g], {s8-s15}\n"
                     "add %[g], %[row]\n"
                     "subs %[pixels], #1\n"
                     "vadd.f32 s0, s0, s8\n"
                     "vadd.f32 s1, s1, s9\n"
                     "vadd.f32 s2, s2, s10\n"
                     "vadd.f32 s3, s3, s11\n"
                     "vadd.f32 s4, s4, s12\n"
                     "vadd.f32 s5, s5, s13\n"
                     "vadd.f32 s6, s6, s14\n"
                     "vadd.f32 s7, s7, s15\n"
                     "bne 1b\n"
                     "vstmia %[db], {s0-s7}\n"
                     : [pixels] "+r"(pixels), [g] "+r"(g)
                     : [row] "r"(row), [start] "r"(start), [db] "r"(db)
                     : "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "s12", "s13", "s14",
                       "s15", "cc", "memory");
}

void gg_bias_gradient_forward(int32_t pixels, int32_t channels, const float *g, const float *db0, float *db) {
    static const float zeros[BLOCK];
    int32_t c = 0;
    for (; c + BLOCK <= channels; c += BLOCK) {
        block(pixels, 4 * channels, g + c, db0 != NULL ? db0 + c : zeros, db + c);
    }
    for (; c < channels; ++c) {
        float sum = db0 != NULL ? db0[c] : 0.0F;
        for (int32_t i = 0; i < pixels; ++i) {
            sum += g[i * channels + c];
        }
        db[c] = sum;
    }
}
