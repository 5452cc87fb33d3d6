/* A weight whose trained input channels stand beside it (CONV-S7, FC-S7), row by row; for the kernels only. */
#ifndef GOLDGRAD_PORTABLE_SPLIT_WEIGHT_H
#define GOLDGRAD_PORTABLE_SPLIT_WEIGHT_H

#include <stdint.h>

#include "rounding.h"

/* w has rows of in_c input channels, trained has rows of kept; trained and channels are NULL where kept is 0. */
typedef struct {
    const int8_t *w, *trained;
    const int32_t *channels;
    int32_t in_c, kept;
} gg_split_weight_t;

/* acc + sum of (x - x_zero) * w over a row: input channels in ascending order, w's up to the next one that trains. */
static inline int32_t gg_row_dot(const gg_split_weight_t *s, int32_t row, const int8_t *x, int32_t x_zero,
                                 int32_t acc) {
    const int8_t *const w = s->w + row * s->in_c;
    int32_t i = 0;
    for (int32_t j = 0; j < s->kept; ++j, ++i) {
        for (; i < s->channels[j]; ++i) {
            acc += (x[i] - x_zero) * w[i];
        }
        acc += (x[i] - x_zero) * s->trained[row * s->kept + j];
    }
    for (; i < s->in_c; ++i) {
        acc += (x[i] - x_zero) * w[i];
    }
    return acc;
}

/* dx = fma(g, w, dx) for each input channel of a row. */
static inline void gg_row_fma(const gg_split_weight_t *s, int32_t row, float g, float *dx) {
    const int8_t *const w = s->w + row * s->in_c;
    int32_t i = 0;
    for (int32_t j = 0; j < s->kept; ++j, ++i) {
        for (; i < s->channels[j]; ++i) {
            dx[i] = gg_fma(g, (float)w[i], dx[i]);
        }
        dx[i] = gg_fma(g, (float)s->trained[row * s->kept + j], dx[i]);
    }
    for (; i < s->in_c; ++i) {
        dx[i] = gg_fma(g, (float)w[i], dx[i]);
    }
}

#endif
