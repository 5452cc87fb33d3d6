/* SGD on int8 weights with stochastic rounding (specs/ops/sgd_update_weight_stochastic.md). */
#ifndef GOLDGRAD_SGD_UPDATE_WEIGHT_STOCHASTIC_H
#define GOLDGRAD_SGD_UPDATE_WEIGHT_STOCHASTIC_H

#include <stdint.h>

#include "goldgrad/weight_slice.h"

/*
 * w_new (UPS-S1, UPS-S2, UPS-S5): v = fma(-(lr * q), dw, w) clamped to [-127, 127], then one of the two codes around
 * it by a draw, where the channel trains; w elsewhere.
 * UPS-S3, UPS-S4: the draw is mix(e ^ mix(step ^ mix(seed))), e the element's index in the dense weight.
 * UPS-S6: dense_channels is p->channels, or more where w is the trained part of a split weight; then all of w trains,
 * and channels are its channels' numbers in the dense weight.
 *
 *   w, dw, q, lr, channels, w_new  as in sgd_update_weight.h
 *   seed, step                     int32 [1], any value, taken as 32 bits (UPS-C1)
 *
 * UPS-C2: for a split weight p->selected is p->channels, and channels has so many elements, each in
 * [0, dense_channels); rows * taps * dense_channels fits into int32_t.
 * UPS-A1: w_new may be w; otherwise w_new overlaps no operand.
 * UPS-F1: channels that do not train keep every bit; w_new is all that is written.
 */
void gg_sgd_update_weight_stochastic_update(const gg_weight_slice_t *p, const int8_t *w, const float *dw,
                                            const float *q, const float *lr, const int32_t *seed, const int32_t *step,
                                            const int32_t *channels, int32_t dense_channels, int8_t *w_new);

#endif
