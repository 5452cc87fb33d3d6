/* The gradient of a depthwise convolution's input (kernels_c/gen/depthwise_f32.py); for the kernels only. */
#ifndef GOLDGRAD_CORTEX_M7_DEPTHWISE_F32_H
#define GOLDGRAD_CORTEX_M7_DEPTHWISE_F32_H

#include <stddef.h>
#include <stdint.h>

/*
 * Four pixels of a row that lie a stride apart, two channels after the other; distances in bytes (NUM-N4):
 *
 *   c[p] = start[p], then over rows k, in each over taps j: c[p] = fma(g[k][first + p - j], w[k][j], c[p])
 *
 * for 0 <= p < 4, where taps that meet no output are left out: left of g[k][0], if the four are the first of their row,
 * and from g[k][4] on, if they are the last.  The pixels of c, start and g lie c_column, start_column and g_column
 * apart; row k of g lies k * g_row before g, that of w k * w_row behind w, and taps of w lie 16 * stride apart.  The
 * next two channels are 8 bytes further in g and c, start_step in start, and w_step and w_panel - w_step in w by turns.
 * rows, pairs >= 1.  c may be start, pixel by pixel; else it overlaps nothing.  What the struct says is used up.
 * The order of the fields is what kernels_c/gen/depthwise_f32.py knows.
 */
typedef struct {
    const float *g, *w;
    const float *start;
    float *c;
    int32_t g_column, g_row;
    int32_t w_row;
    int32_t c_column, start_column, start_step;
    int32_t w_step, w_panel;
    int32_t rows, pairs;
} gg_m7_quad_t;

/* Functions for four pixels in the middle of a row, at its end, at its beginning, and that are all of it; or NULL. */
typedef struct {
    int32_t stride, taps, first;
    void (*of[4])(gg_m7_quad_t *p);
} gg_m7_quad_row_t;

enum { GG_M7_QUAD_ROWS = 7 };

extern const gg_m7_quad_row_t gg_m7_quad_rows[GG_M7_QUAD_ROWS];

#endif
