/* SGD with momentum on int8 weights (specs/ops/sgd_update_weight_momentum.md). */
#ifndef GOLDGRAD_SGD_UPDATE_WEIGHT_MOMENTUM_H
#define GOLDGRAD_SGD_UPDATE_WEIGHT_MOMENTUM_H

#include <stdint.h>

#include "goldgrad/weight_slice.h"

/*
 * velocity_new (UPMO-S1, UPMO-S3): fma(mu, velocity, dw).
 * w_new (UPMO-S2): sgd_update_weight's, with velocity_new in place of dw.
 *
 *   w, dw, q, lr, channels, w_new  as in sgd_update_weight.h
 *   velocity, velocity_new         float32 [rows][taps][selected], mu float32 [1], any value (UPMO-C1)
 *
 * UPMO-A1: w_new may be w.  UPMO-A2: velocity_new may be velocity.  Otherwise no result overlaps an operand or the
 * other.
 * UPMO-F1: channels that do not train keep every bit of w; w_new and velocity_new are all that is written.
 */
void gg_sgd_update_weight_momentum_update(const gg_weight_slice_t *p, const int8_t *w, const float *dw, const float *q,
                                          const float *lr, const float *velocity, const float *mu,
                                          const int32_t *channels, int8_t *w_new, float *velocity_new);

#endif
