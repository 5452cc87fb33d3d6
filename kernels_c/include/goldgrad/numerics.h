/*
 * float32 arithmetic as the rules of specs/numerics.md define it: exp32 and log32, and every other rule as a hook,
 * an array at a time, so that a machine and a compiler can be held to it.  Kernels use the rules inline.
 *
 * NUM-N12: the FPU rounds to nearest even, keeps subnormals, and uses no default NaN or alternative half precision.
 * NUM-N13: each operation is rounded once; compile with -ffp-contract=off -fno-fast-math -fno-math-errno.
 * NUM-N9: a result that is NaN may be any NaN.
 */
#ifndef GOLDGRAD_NUMERICS_H
#define GOLDGRAD_NUMERICS_H

#include <stdint.h>

/*
 * NUM-N10: e^x by the named polynomial, within 0.9 ulp; 0 below -104, infinite from 88.722839 on, NaN of NaN.
 */
float gg_exp32(float x);

/*
 * NUM-N11: the natural logarithm by the named polynomial, within 0.9 ulp; -inf of both zeros, +inf of +inf,
 * NaN of negative numbers and of NaN.
 */
float gg_log32(float x);

/*
 * Below, for each i < n, n >= 0; out (y) may be any operand of the same type, otherwise it overlaps none.
 */

/* NUM-N1: out[i] = x[i], rounded to nearest even. */
void gg_float32_n(int32_t n, const int32_t *x, float *out);

/* NUM-N2: out[i] = a[i] * b[i], and so on, each rounded once. */
void gg_mul32_n(int32_t n, const float *a, const float *b, float *out);
void gg_add32_n(int32_t n, const float *a, const float *b, float *out);
void gg_sub32_n(int32_t n, const float *a, const float *b, float *out);
void gg_div32_n(int32_t n, const float *a, const float *b, float *out);

/* NUM-N3: out[i] = a[i] * b[i] + c[i], rounded once. */
void gg_fma32_n(int32_t n, const float *a, const float *b, const float *c, float *out);

/* NUM-N4: start, then sum = fma32(a[i], b[i], sum) for i = 0, 1, ..., n - 1. */
float gg_chain(int32_t n, const float *a, const float *b, float start);

/* NUM-N5: out[i] = x[i], rounded to nearest even, saturated to int32; NaN gives 0. */
void gg_rne_n(int32_t n, const float *x, int32_t *out);

/*
 * NUM-N6: y[i] = clamp(rne(float32(acc[i]) * m[i]) + zero, lo, hi); inside[i] is 1 where the clamp let it through
 * and 0 elsewhere.  zero, lo and hi are codes in [-128, 127], lo <= hi.  y and inside overlap no operand.
 */
void gg_requantize_n(int32_t n, const int32_t *acc, const float *m, int32_t zero, int32_t lo, int32_t hi, int8_t *y,
                     uint8_t *inside);

/* NUM-N7: out[i] = x[i] in [lo, hi], lo <= hi. */
void gg_saturate_n(int32_t n, const int64_t *x, int32_t lo, int32_t hi, int32_t *out);

/* NUM-N10 and NUM-N11 of each element. */
void gg_exp32_n(int32_t n, const float *x, float *out);
void gg_log32_n(int32_t n, const float *x, float *out);

#endif
