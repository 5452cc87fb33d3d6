/* SGD on int32 biases in place, with quantization-aware scaling (specs/ops/sgd_update_bias.md). */
#ifndef GOLDGRAD_SGD_UPDATE_BIAS_H
#define GOLDGRAD_SGD_UPDATE_BIAS_H

#include <stdint.h>

/*
 * b_new (UPB-S1, UPB-S2, UPB-S3, UPB-S4): clamp(b + rne(-(lr * q) * db), -limit - 1, limit), the sum exact; b where q
 * is 0.
 *
 *   b      int32   [channels], channels >= 1; -limit - 1 <= b <= limit where q is not 0 (UPB-C1, UPB-C3)
 *   db, q  float32 [channels], lr float32 [1], any value (UPB-C2)
 *   limit  int32   [1], not negative (UPB-C2, UPB-C3)
 *   b_new  int32   [channels]
 *
 * UPB-A1: b_new may be b; otherwise b_new overlaps no operand.
 * UPB-F1: b_new is all that is written.
 */
void gg_sgd_update_bias_update(int32_t channels, const int32_t *b, const float *db, const float *q,
                               const int32_t *limit, const float *lr, int32_t *b_new);

#endif
