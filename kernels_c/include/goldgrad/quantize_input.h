/* An image to the int8 codes that the first layer reads (specs/ops/quantize_input.md). */
#ifndef GOLDGRAD_QUANTIZE_INPUT_H
#define GOLDGRAD_QUANTIZE_INPUT_H

#include <stdint.h>

/*
 * y from bytes (QIN-S1): (x - x_zero) * m, rounded half to even, plus y_zero, saturated.
 *
 *   x  uint8   [elements], elements >= 1
 *   m  float32 [1], positive and finite
 *   y  int8    [elements]
 *
 * QIN-C1, QIN-C2: types as above.  QIN-C3: y_zero is a code in [-128, 127].  QIN-C4: x_zero is a byte in [0, 255].
 * QIN-A1: y may start where x starts; otherwise y overlaps no operand.
 * QIN-F1: y is all that is written; every bit of it is.
 */
void gg_quantize_input_from_uint8(int32_t elements, int32_t x_zero, int32_t y_zero, const uint8_t *x, const float *m,
                                  int8_t *y);

/*
 * y from real numbers (QIN-S2): x * m, rounded to float32, then half to even, plus y_zero, saturated; NaN gives y_zero.
 *
 *   x  float32 [elements], elements >= 1
 *   m  float32 [1], positive and finite
 *   y  int8    [elements]
 *
 * QIN-C1, QIN-C2: types as above.  QIN-C3: y_zero is a code in [-128, 127].
 * QIN-A2: y may start where x starts, and takes the first quarter of it; otherwise y overlaps no operand.
 * QIN-F1: y is all that is written; every bit of it is.
 */
void gg_quantize_input_from_float32(int32_t elements, int32_t y_zero, const float *x, const float *m, int8_t *y);

#endif
