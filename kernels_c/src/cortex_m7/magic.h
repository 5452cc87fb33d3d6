/* Requantization by one addition (kernels_c/gen/dot_int8.py): when it is exact, and what is added; for kernels only. */
#ifndef GOLDGRAD_CORTEX_M7_MAGIC_H
#define GOLDGRAD_CORTEX_M7_MAGIC_H

#include <stdbool.h>
#include <stdint.h>

/*
 * What |acc * m| must stay below, so that the code is that sum's low 16 bits: with the zero point and 128 it stays
 * within int16 then, however the product was rounded.
 */
#define GG_M7_REACH 32000.0F

/* 1.5 * 2^23, where neighbouring floats are neighbouring integers, and the even part of the zero point + 128. */
static inline float gg_m7_magic(int32_t y_zero) {
    const int32_t even = (y_zero + 128) / 2 * 2;
    return 12582912.0F + (float)even;
}

/* The largest |sum| of count products without bias: weights are within 127 (CONV-C4, DW-C4), pixels int8. */
static inline float gg_m7_bound(int32_t count, int32_t x_zero) {
    const int32_t farthest = x_zero < 0 ? 127 - x_zero : x_zero + 128;
    return (float)count * 127.0F * (float)farthest;
}

/*
 * Whether no code of these channels can leave 16 bits, whatever the pixels are.  A trained bias moves, so this is asked at
 * every call; the roundings here are far smaller than what GG_M7_REACH leaves.
 */
bool gg_m7_are_proven(const int32_t *bias, const float *m, int32_t count, float bound);

#endif
