/* Mask, scale, sum and step of a bias, in one pass over a gradient (specs/ops/bias_step.md). */
#ifndef GOLDGRAD_BIAS_STEP_H
#define GOLDGRAD_BIAS_STEP_H

#include <stdint.h>

/*
 * g and b_new (STEP-S1): g is that of gg_mask_scale_forward, db of g from +0 that of gg_bias_gradient_forward, and b_new
 * that of gg_sgd_update_bias_update, in every bit.
 *
 *   gy     float32 [pixels][channels]
 *   mask   uint8   [pixels][ceil(channels / 8)] (MASK-S1)
 *   m      float32 [channels], positive and finite
 *   b      int32   [channels], -limit - 1 <= b <= limit where q is not 0
 *   q      float32 [channels], lr float32 [1], any value
 *   limit  int32   [1], not negative
 *   b_new  int32   [channels]
 *   g      float32 [pixels][channels]
 *
 * STEP-C1: shapes as above, pixels >= 1, channels >= 1; pixels * channels fits into int32_t.
 * STEP-A1, STEP-A2: b_new may be b, g may be gy; otherwise they overlap no operand, nor each other.
 * STEP-F1: b_new and g are all that is written; every bit of them is.
 */
void gg_bias_step_update(int32_t pixels, int32_t channels, const float *gy, const uint8_t *mask, const float *m,
                         const int32_t *b, const float *q, const int32_t *limit, const float *lr, int32_t *b_new,
                         float *g);

#endif
