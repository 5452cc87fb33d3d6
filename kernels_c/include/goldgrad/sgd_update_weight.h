/* SGD on int8 weights in place, with quantization-aware scaling (specs/ops/sgd_update_weight.md). */
#ifndef GOLDGRAD_SGD_UPDATE_WEIGHT_H
#define GOLDGRAD_SGD_UPDATE_WEIGHT_H

#include <stdint.h>

#include "goldgrad/weight_slice.h"

/*
 * w_new (UPW-S1, UPW-S2, UPW-S3, UPW-S4, UPW-S5): with k = -(lr * q) of the element's scale,
 * w_new = clamp(rne(fma(k, dw, w)), -127, 127) where the channel trains, w elsewhere.
 *
 *   w         int8    [rows][taps][channels], codes in [-127, 127] (UPW-C1)
 *   dw        float32 [rows][taps][selected], any value (UPW-C2)
 *   q         float32 [rows] or [channels], lr float32 [1], any value (UPW-C3)
 *   channels  int32   [selected], ascending strictly, from 0 to p->channels - 1 (UPW-C4, UPW-C5);
 *             or NULL for all, then selected is p->channels
 *   w_new     int8    [rows][taps][channels]
 *
 * UPW-A1: w_new may be w, which is then updated in place; otherwise w_new overlaps no operand.
 * UPW-F1: channels that do not train keep every bit: in place they are not written, otherwise they are copied.
 * UPW-F2: w_new is all that is written.
 */
void gg_sgd_update_weight_update(const gg_weight_slice_t *p, const int8_t *w, const float *dw, const float *q,
                                 const float *lr, const int32_t *channels, int8_t *w_new);

#endif
