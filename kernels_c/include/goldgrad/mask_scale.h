/* Gradient of an accumulator from the gradient of its codes: mask, then multiply (specs/ops/mask_scale.md). */
#ifndef GOLDGRAD_MASK_SCALE_H
#define GOLDGRAD_MASK_SCALE_H

#include <stdint.h>

/*
 * g (SCALE-S1, SCALE-S2): gy * m[c], rounded once, where the mask is 1; +0, whatever gy is, where it is 0.
 *
 *   gy    float32 [pixels][channels]
 *   mask  uint8   [pixels][ceil(channels / 8)] (MASK-S1)
 *   m     float32 [channels], positive and finite
 *   g     float32 [pixels][channels]
 *
 * SCALE-C1, SCALE-C2, SCALE-C3: shapes as above, pixels >= 1, channels >= 1; pixels * channels fits into int32_t.
 * SCALE-A1: g may be gy; otherwise g overlaps no operand.
 * SCALE-F1: g is all that is written; every bit of it is.
 */
void gg_mask_scale_forward(int32_t pixels, int32_t channels, const float *gy, const uint8_t *mask, const float *m,
                           float *g);

#endif
