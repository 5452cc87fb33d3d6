/* Sum of two activations, each at a scale of its own, int8 forward and float32 backward (specs/ops/add.md). */
#ifndef GOLDGRAD_ADD_H
#define GOLDGRAD_ADD_H

#include <stdint.h>

/*
 * ADD-C3: x1_zero, x2_zero, y_zero, lo and hi are codes in [-128, 127], lo <= hi.
 * pixels >= 1, channels >= 1; pixels * channels fits into int32_t.
 */
typedef struct {
    int32_t pixels, channels;
    int32_t x1_zero, x2_zero;
    int32_t y_zero;
    int32_t lo, hi;
} gg_add_t;

/*
 * y and its clamp mask (ADD-S1, ADD-S2, ADD-S3): m1 * (x1 - x1_zero) rounded, then m2 * (x2 - x2_zero) added by one
 * fused multiply-add, rounded half to even; then zero point, mask and clamp.
 *
 *   x1, x2  int8    [pixels][channels]
 *   m1, m2  float32 [1], positive and finite
 *   y       int8    [pixels][channels]
 *   mask    uint8   [pixels][ceil(channels / 8)] (MASK-S1), or NULL if nobody wants it
 *
 * ADD-C1, ADD-C2: shapes and types as above.
 * ADD-A1: y may be x1, or x2, or both; otherwise y and mask overlap no operand and not each other.
 * ADD-F1: y and mask are all that is written; every bit of both is.
 */
void gg_add_forward(const gg_add_t *p, const int8_t *x1, const int8_t *x2, const float *m1, const float *m2, int8_t *y,
                    uint8_t *mask);

/*
 * Gradient of x1 (m is m1) or of x2 (m is m2) (ADD-S4): from dx0, gy * m added by one fused multiply-add where the mask
 * is 1; every bit of dx0 where it is 0.  Of p, pixels and channels alone are read.
 *
 *   gy    float32 [pixels][channels], the gradient of y
 *   mask  uint8   [pixels][ceil(channels / 8)] (MASK-S1)
 *   m     float32 [1]
 *   dx0   float32 [pixels][channels], where the chain starts, or NULL for +0
 *   dx    float32 [pixels][channels]
 *
 * ADD-C2, ADD-C4: shapes as above.  ADD-A2: dx may be gy, or dx0; otherwise dx overlaps no operand.
 * ADD-F1: dx is all that is written; every bit of it is.
 */
void gg_add_vjp_x(const gg_add_t *p, const float *gy, const uint8_t *mask, const float *m, const float *dx0, float *dx);

#endif
