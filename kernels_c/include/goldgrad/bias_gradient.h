/* Gradient of a bias: the gradient of the accumulator summed over pixels (specs/ops/bias_gradient.md). */
#ifndef GOLDGRAD_BIAS_GRADIENT_H
#define GOLDGRAD_BIAS_GRADIENT_H

#include <stdint.h>

/*
 * db (BIAS-S1): from db0, the sum over pixels in raster order, one rounding an addition.
 *
 *   g    float32 [pixels][channels], pixels >= 1, channels >= 1; their product fits into int32_t
 *   db0  float32 [channels], where the sum starts, or NULL for +0
 *   db   float32 [channels]
 *
 * BIAS-C1, BIAS-C2: shapes as above.  BIAS-A1: db may be db0; otherwise db overlaps no operand.
 * BIAS-F1: db is all that is written; every bit of it is.
 */
void gg_bias_gradient_forward(int32_t pixels, int32_t channels, const float *g, const float *db0, float *db);

#endif
