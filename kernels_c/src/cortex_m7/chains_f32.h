/* Chains of fused multiply-adds, many at a time, for kernels of a Cortex-M7 only. */
#ifndef GOLDGRAD_CORTEX_M7_CHAINS_F32_H
#define GOLDGRAD_CORTEX_M7_CHAINS_F32_H

#include <stdint.h>

enum { GG_M7_TAPS_WIDTH = 32 };

/*
 * How many links of the chains of how many columns lie in scratch at once, in panels of four columns.  The fewer runs a
 * chain is cut into, the less often its value waits in memory; but four rows of the other matrix, of as many links,
 * should stay in 4 KB of data cache.  Runs are alike, all but the last in whole turns of the core.
 */
typedef struct {
    int32_t links, width;
} gg_m7_panels_t;

static inline gg_m7_panels_t gg_m7_panels(int32_t columns, int32_t links) {
    enum { FLOATS = 2048, MOST = 64, TURN = 8 };
    const int32_t runs = (links + MOST - 1) / MOST;
    const int32_t run = ((links + runs - 1) / runs + TURN - 1) / TURN * TURN;
    const int32_t k = run < links ? run : links;
    const int32_t width = FLOATS / k / 4 * 4;
    const int32_t needed = (columns + 3) / 4 * 4;
    return (gg_m7_panels_t){k, width < needed ? width : needed};
}

/*
 * Tiles of 4 rows and 4 columns, one beside the other; distances in bytes, the rest in elements (NUM-N4):
 *
 *   c[m][n] = start[m][n], then for i = 0 .. k - 1 in order: c[m][n] = fma(a(m, i), b[n / 4][i][n % 4], c[m][n])
 *
 * for 0 <= m < 4 and 0 <= n < 4 * panels.  k >= 1, panels >= 1.  c may be start, row by row; else it overlaps nothing.
 * The order of the fields is what kernels_c/gen/chains_f32.py knows.
 */
typedef struct {
    const float *a; /* rows: a(m, i) = a[m * a_row][i];  columns: a(m, i) = a[i * a_row][m] */
    int32_t a_row;
    int32_t k;
    const float *b; /* panels, each [k][4] */
    int32_t panels;
    float *c;
    int32_t c_row;
    const float *start;
    int32_t start_row;
    int32_t start_step; /* from tile to tile: 16, or 0 if all start from the same 4 x 4, or row */
} gg_m7_gemm_t;

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

void gg_m7_gemm_rows(const gg_m7_gemm_t *p);
void gg_m7_gemm_columns(const gg_m7_gemm_t *p);

#endif
