/* Products of float32 matrices, tile by tile, for kernels of a Cortex-M7 only. */
#ifndef GOLDGRAD_CORTEX_M7_GEMM_F32_H
#define GOLDGRAD_CORTEX_M7_GEMM_F32_H

#include <stdint.h>

/* Rows of a tile, and its columns, which are as wide as a panel: four or six. */
enum { GG_M7_TILE = 4, GG_M7_WIDE = 6, GG_M7_CODES = 256 };

/*
 * How many links of the chains of how many columns lie in scratch at once, in panels.  The fewer runs a chain is cut
 * into, the less often its value waits in memory; but four rows of the other matrix, of as many links, should stay in
 * 4 KB of data cache.  Runs are alike, all but the last in whole turns of the core.
 */
typedef struct {
    int32_t links, width;
} gg_m7_panels_t;

static inline gg_m7_panels_t gg_m7_panels(int32_t columns, int32_t links, int32_t panel) {
    enum { FLOATS = 2048, MOST = 64, TURN = 8 };
    const int32_t runs = (links + MOST - 1) / MOST;
    const int32_t run = ((links + runs - 1) / runs + TURN - 1) / TURN * TURN;
    const int32_t k = run < links ? run : links;
    const int32_t needed = (columns + panel - 1) / panel;
    const int32_t most = FLOATS / k / panel;
    const int32_t strips = (needed + most - 1) / most;
    return (gg_m7_panels_t){k, (needed + strips - 1) / strips * panel};
}

/*
 * Tiles of 4 rows and w = 4 or 6 columns, one beside the other, then those of the next four rows; distances in bytes,
 * the rest in elements (NUM-N4):
 *
 *   c[m][n] = start[m][n], then for i = 0 .. k - 1 in order: c[m][n] = fma(a(m, i), b[n / w][i][n % w], c[m][n])
 *
 * for 0 <= m < 4 * tiles and 0 <= n < w * panels.  k, panels, tiles >= 1.  c may be start, row by row; else it overlaps
 * nothing.  The struct is changed.  The order of its fields is what kernels_c/gen/gemm_f32.py knows.
 */
typedef struct {
    const float *a; /* rows: a(m, i) = a[m * a_row][i];  columns: a(m, i) = a[i * a_row][m] */
    int32_t a_row;
    int32_t k;
    int32_t c_row;
    int32_t start_row;
    int32_t start_step; /* from tile to tile: 4 * w, or 0 if all start from the same row */
    const float *b;     /* panels, each [k][w] */
    int32_t panels;
    float *c;
    const float *start;
    int32_t left; /* the core's own */
    const int8_t *codes;
    int32_t codes_panel, codes_row;
    const float *table;
    int32_t tiles;
} gg_m7_gemm_t;

void gg_m7_gemm_rows(gg_m7_gemm_t *p);
void gg_m7_gemm_rows_6(gg_m7_gemm_t *p); /* k is a multiple of 8 */
void gg_m7_gemm_columns(gg_m7_gemm_t *p);

/*
 * As rows, of one tile's height; b is made: b[j][i][n] is what table has for the low eight bits of
 * codes[j * codes_panel + i * codes_row + n].  k is a multiple of 8.  Four floats behind b are written as well.  codes
 * may be the last bytes of b, in its order.
 */
void gg_m7_gemm_codes(gg_m7_gemm_t *p);
void gg_m7_gemm_codes_6(gg_m7_gemm_t *p);

/* What codes are as float32, by their low eight bits, to where nothing replaces it in a cache. */
void gg_m7_copy_code_floats(float *to);

#endif
