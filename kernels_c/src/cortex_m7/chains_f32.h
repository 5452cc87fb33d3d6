/* Chains of fused multiply-adds, many at a time, for kernels of a Cortex-M7 only. */
#ifndef GOLDGRAD_CORTEX_M7_CHAINS_F32_H
#define GOLDGRAD_CORTEX_M7_CHAINS_F32_H

#include <stdint.h>

enum { GG_M7_TAPS_WIDTH = 32 };

/*
 * The chains of a pixel of a depthwise convolution, four channels at a time; distances in bytes:
 *
 *   c[n] = start[n], then over rows, in each over columns: c[n] = fma(g[n], w[n], c[n])
 *
 * for 0 <= n < 4 * blocks.  g and w move by g_column and w_column after each tap, and by g_row and w_row besides after
 * each row; w of the next block lies w_block further, start start_step: 16, or 0 if all start from the same four.
 * blocks, rows, columns >= 1.  c may be start; else it overlaps nothing.
 */
typedef struct {
    const float *g, *w;
    float *c;
    const float *start;
    int32_t blocks, rows, columns;
    int32_t g_row, g_column;
    int32_t w_row, w_column, w_block;
    int32_t start_step;
} gg_m7_taps_t;

void gg_m7_taps(const gg_m7_taps_t *p);

/*
 * Codes as float32, in panels of four columns; distances in bytes.  The four j of row i is read at from + i * from_row +
 * 4 * j, which needs no alignment; less is added to each code, and it goes to to + j * (16 * rows + to_column) + 16 * i.
 *
 * fours, rows >= 1.
 */
typedef struct {
    const int8_t *from;
    int32_t from_row, fours, rows;
    float *to;
    int32_t to_column; /* what lies between two panels */
    int32_t less;
} gg_m7_codes_t;

void gg_m7_floats(const gg_m7_codes_t *p);

#endif
