/* SGD on a float32 master copy of the weights that train (specs/ops/sgd_update_weight_master.md). */
#ifndef GOLDGRAD_SGD_UPDATE_WEIGHT_MASTER_H
#define GOLDGRAD_SGD_UPDATE_WEIGHT_MASTER_H

#include <stdint.h>

#include "goldgrad/weight_slice.h"

/*
 * master_new (UPM-S1, UPM-S3): clamp(fma(k, dw, master), -127, 127) with k = -(lr * q), +0 where that is NaN.
 * w_new (UPM-S2): rne(master_new) where the channel trains, w elsewhere.
 *
 *   w, dw, q, lr, channels, w_new  as in sgd_update_weight.h
 *   master, master_new             float32 [rows][taps][selected] (UPM-C1)
 *
 * UPM-A1: w_new may be w.  UPM-A2: master_new may be master.  Otherwise no result overlaps an operand or the other.
 * UPM-F1: channels that do not train keep every bit of w; w_new and master_new are all that is written.
 */
void gg_sgd_update_weight_master_update(const gg_weight_slice_t *p, const int8_t *w, const float *dw, const float *q,
                                        const float *lr, const float *master, const int32_t *channels, int8_t *w_new,
                                        float *master_new);

#endif
