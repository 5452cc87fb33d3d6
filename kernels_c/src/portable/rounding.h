/* Rounding, for the kernels only (specs/numerics.md).  goldgrad/numerics.h is what others see. */
#ifndef GOLDGRAD_PORTABLE_ROUNDING_H
#define GOLDGRAD_PORTABLE_ROUNDING_H

#include <float.h>
#include <stdbool.h>
#include <stdint.h>

/* NUM-N13: every operation below is rounded once to binary32.  (Contraction cannot be detected: -ffp-contract=off.) */
#if FLT_EVAL_METHOD != 0
#error "float is computed with more precision than it has: compile for SSE2 or a single-precision FPU (NUM-N13)"
#endif
#ifdef __FAST_MATH__
#error "-ffast-math changes results: compile without it (NUM-N13)"
#endif

/* NUM-N3: a * b + c with one rounding. */
static inline float gg_fma(float a, float b, float c) {
    return __builtin_fmaf(a, b, c); /* not fmaf: a board without a C library has no math.h */
}

/* NUM-N5: nearest integer, ties to even, saturated to int32; NaN gives 0. */
static inline int32_t gg_round(float v) {
#if defined(__ARM_FP) && defined(__thumb__) && !defined(__aarch64__)
    /* VCVTR rounds as the FPSCR says: to nearest even (NUM-N12).  VCVTN is the same but not on every Cortex-M. */
    float code;
    int32_t rounded;
    __asm__("vcvtr.s32.f32 %0, %1" : "=t"(code) : "t"(v));
    __asm__("vmov %0, %1" : "=r"(rounded) : "t"(code));
    return rounded;
#else
    const float whole = 8388608.0F; /* 2^23: from here on every float32 is an integer */
    if (!(v >= -2147483648.0F)) {
        return v < 0.0F ? INT32_MIN : 0;
    }
    if (v >= 2147483648.0F) {
        return INT32_MAX;
    }
    if (v >= whole || v <= -whole) {
        return (int32_t)v;
    }
    return (int32_t)(v < 0.0F ? (v - whole) + whole : (v + whole) - whole);
#endif
}

/*
 * NUM-N6, the last step: zero + code in [lo, hi], and in *inside whether the clamp let it through.
 * lo - zero and hi - zero cannot overflow, so nothing can, whatever code is.
 */
static inline int8_t gg_clamp(int32_t code, int32_t zero, int32_t lo, int32_t hi, bool *inside) {
    const int32_t least = lo - zero;
    const int32_t most = hi - zero;
    *inside = least <= code && code <= most;
    return (int8_t)(zero + (code < least ? least : code > most ? most : code));
}

/* NUM-N6 in whole. */
static inline int8_t gg_requantize(int32_t acc, float m, int32_t zero, int32_t lo, int32_t hi, bool *inside) {
    return gg_clamp(gg_round((float)acc * m), zero, lo, hi, inside);
}

#endif
