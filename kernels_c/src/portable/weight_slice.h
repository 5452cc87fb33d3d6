/* What the weight updates share (specs/ops/sgd_update_weight.md); for the kernels only. */
#ifndef GOLDGRAD_PORTABLE_WEIGHT_SLICE_H
#define GOLDGRAD_PORTABLE_WEIGHT_SLICE_H

#include <stddef.h>
#include <stdint.h>

#include "goldgrad/weight_slice.h"
#include "rounding.h"

#define GG_W_MAX 127

/* UPW-F1: from here on the update runs in place on w_new, and touches only what trains. */
static inline void gg_copy_weight(const gg_weight_slice_t *p, const int8_t *w, int8_t *w_new) {
    const int32_t size = p->rows * p->taps * p->channels;
    for (int32_t e = 0; w_new != w && e < size; ++e) {
        w_new[e] = w[e];
    }
}

/* UPW-S3: the channel of the dense weight that the gradient's channel j belongs to. */
static inline int32_t gg_selected_channel(const int32_t *channels, int32_t j) {
    return channels != NULL ? channels[j] : j;
}

/* UPW-S1, UPW-S4 */
static inline float gg_step_factor(const gg_weight_slice_t *p, const float *q, const float *lr, int32_t row,
                                   int32_t channel) {
    return -(*lr * q[p->q_per_channel != 0 ? channel : row]);
}

/* UPW-S2, UPW-S5: nearest code, ties to even, in [-127, 127]; NaN gives 0. */
static inline int8_t gg_round_weight(float v) {
    const int32_t code = gg_round(v);
    return (int8_t)(code < -GG_W_MAX ? -GG_W_MAX : code > GG_W_MAX ? GG_W_MAX : code);
}

#endif
