#include "goldgrad/sgd_update_weight.h"

#include "../portable/weight_slice.h"

/*
 * UPW-S2, UPW-S5 for fours codes of four.  VCVTR rounds as the FPSCR says: to nearest even (NUM-N12).  SSAT gives -128 at
 * least; SSUB8 tells what is no less than -127, and SEL puts that in the place of the rest.
 */
static void quads(int32_t fours, float k, const float *dw, int8_t *codes) {
    uint32_t a, b, c, d;
    __asm__ volatile("1:\n"
                     "ldr %[d], [%[codes]]\n"
                     "vldmia %[dw]!, {s0-s3}\n"
                     "sxtb %[a], %[d]\n"
                     "sxtb %[b], %[d], ror #8\n"
                     "sxtb %[c], %[d], ror #16\n"
                     "vmov s4, s5, %[a], %[b]\n"
                     "asrs %[d], %[d], #24\n"
                     "vcvt.f32.s32 s4, s4\n"
                     "vmov s6, s7, %[c], %[d]\n"
                     "vcvt.f32.s32 s5, s5\n"
                     "vcvt.f32.s32 s6, s6\n"
                     "vcvt.f32.s32 s7, s7\n"
                     "vfma.f32 s4, s0, %[k]\n"
                     "vfma.f32 s5, s1, %[k]\n"
                     "vfma.f32 s6, s2, %[k]\n"
                     "vfma.f32 s7, s3, %[k]\n"
                     "vcvtr.s32.f32 s4, s4\n"
                     "vcvtr.s32.f32 s5, s5\n"
                     "vcvtr.s32.f32 s6, s6\n"
                     "vcvtr.s32.f32 s7, s7\n"
                     "vmov %[a], %[b], s4, s5\n"
                     "vmov %[c], %[d], s6, s7\n"
                     "ssat %[a], #8, %[a]\n"
                     "ssat %[b], #8, %[b]\n"
                     "ssat %[c], #8, %[c]\n"
                     "bfi %[a], %[b], #8, #8\n"
                     "ssat %[d], #8, %[d]\n"
                     "bfi %[a], %[c], #16, #8\n"
                     "subs %[fours], #1\n"
                     "bfi %[a], %[d], #24, #8\n"
                     "ssub8 %[b], %[a], %[least]\n"
                     "sel %[a], %[a], %[least]\n"
                     "str %[a], [%[codes]], #4\n"
                     "bne 1b\n"
                     : [fours] "+r"(fours), [dw] "+r"(dw), [codes] "+r"(codes), [a] "=&r"(a), [b] "=&r"(b),
                       [c] "=&r"(c), [d] "=&r"(d)
                     : [k] "t"(k), [least] "r"(0x81818181U)
                     : "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "cc", "memory");
}

/* UPW-S2, UPW-S5 for codes that share a factor and lie side by side. */
static void row(int32_t count, float k, const float *dw, int8_t *codes) {
    const int32_t fours = count / 4;
    if (fours > 0) {
        quads(fours, k, dw, codes);
    }
    for (int32_t i = 4 * fours; i < count; ++i) {
        codes[i] = gg_round_weight(gg_fma(k, dw[i], (float)codes[i]));
    }
}

void gg_sgd_update_weight_update(const gg_weight_slice_t *p, const int8_t *w, const float *dw, const float *q,
                                 const float *lr, const int32_t *channels, int8_t *w_new) {
    gg_copy_weight(p, w, w_new);
    for (int32_t r = 0; r < p->rows; ++r) {
        for (int32_t tap = 0; tap < p->taps; ++tap) {
            int8_t *const codes = w_new + (r * p->taps + tap) * p->channels;
            if (channels == NULL && p->q_per_channel == 0) {
                row(p->channels, gg_step_factor(p, q, lr, r, 0), dw, codes);
                dw += p->channels;
                continue;
            }
            for (int32_t j = 0; j < p->selected; ++j) {
                const int32_t c = gg_selected_channel(channels, j);
                const float k = gg_step_factor(p, q, lr, r, c);
                codes[c] = gg_round_weight(gg_fma(k, *dw++, (float)codes[c]));
            }
        }
    }
}
