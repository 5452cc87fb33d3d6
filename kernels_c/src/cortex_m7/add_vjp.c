#include <stddef.h>

#include "../portable/rounding.h"
#include "../portable/taps.h"
#include "goldgrad/add.h"

enum { BLOCK = 8 };

/*
 * ADD-S4 for eight channels of a pixel after the other: bit by bit as in masked.h, which explains it.  start moves on
 * by start_row, 0 if it is the same for all.
 */
static void block(int32_t pixels, int32_t row, int32_t mask_row, int32_t start_row, const float *gy,
                  const uint8_t *mask, const float *m, const float *start, float *dx) {
    uint32_t bits;
    __asm__ volatile("vldr s24, [%[m]]\n"
                     "1:\n"
                     "vldmia %[gy], {s0-s7}\n"
                     "vldmia %[start], {s8-s15}\n"
                     "vldmia %[start], {s16-s23}\n"
                     "ldrb %[bits], [%[mask]]\n"
                     "add %[gy], %[row]\n"
                     "add %[start], %[start_row]\n"
                     "subs %[pixels], #1\n"
                     "add %[mask], %[mask_row]\n"
                     "vfma.f32 s16, s0, s24\n"
                     "vfma.f32 s17, s1, s24\n"
                     "vfma.f32 s18, s2, s24\n"
                     "vfma.f32 s19, s3, s24\n"
                     "vfma.f32 s20, s4, s24\n"
                     "vfma.f32 s21, s5, s24\n"
                     "vfma.f32 s22, s6, s24\n"
                     "vfma.f32 s23, s7, s24\n"
                     "lsls %[bits], #24\n"
                     "vselge.f32 s23, s15, s23\n"
                     "lsls %[bits], #1\n"
                     "vselge.f32 s22, s14, s22\n"
                     "lsls %[bits], #1\n"
                     "vselge.f32 s21, s13, s21\n"
                     "lsls %[bits], #1\n"
                     "vselge.f32 s20, s12, s20\n"
                     "lsls %[bits], #1\n"
                     "vselge.f32 s19, s11, s19\n"
                     "lsls %[bits], #1\n"
                     "vselge.f32 s18, s10, s18\n"
                     "lsls %[bits], #1\n"
                     "vselge.f32 s17, s9, s17\n"
                     "lsls %[bits], #1\n"
                     "vselge.f32 s16, s8, s16\n"
                     "cmp %[pixels], #0\n"
                     "vstmia %[dx], {s16-s23}\n"
                     "add %[dx], %[row]\n"
                     "bne 1b\n"
                     : [pixels] "+r"(pixels), [gy] "+r"(gy), [mask] "+r"(mask), [start] "+r"(start), [dx] "+r"(dx),
                       [bits] "=&r"(bits)
                     : [row] "r"(row), [mask_row] "r"(mask_row), [start_row] "r"(start_row), [m] "r"(m)
                     : "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "s12", "s13", "s14",
                       "s15", "s16", "s17", "s18", "s19", "s20", "s21", "s22", "s23", "s24", "cc", "memory");
}

void gg_add_vjp_x(const gg_add_t *p, const float *gy, const uint8_t *mask, const float *m, const float *dx0,
                  float *dx) {
    static const float zeros[BLOCK];
    const int32_t whole = p->channels / BLOCK;
    const int32_t bytes = gg_mask_bytes(p->channels);
    const int32_t row = 4 * p->channels;
    for (int32_t i = 0; i < whole; ++i) {
        const float *const start = dx0 != NULL ? dx0 + BLOCK * i : zeros;
        block(p->pixels, row, bytes, dx0 != NULL ? row : 0, gy + BLOCK * i, mask + i, m, start, dx + BLOCK * i);
    }
    for (int32_t i = 0; p->channels % BLOCK != 0 && i < p->pixels; ++i) {
        for (int32_t c = whole * BLOCK; c < p->channels; ++c) {
            const int32_t at = i * p->channels + c;
            const float start = dx0 != NULL ? dx0[at] : 0.0F;
            dx[at] = gg_get_bit(mask + i * bytes, c) ? gg_fma(gy[at], *m, start) : start;
        }
    }
}
