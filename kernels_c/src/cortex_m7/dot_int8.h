/* Products of pixels and weights, both widened to int16 (kernels_c/gen/dot_int8.py); for the kernels only. */
#ifndef GOLDGRAD_CORTEX_M7_DOT_INT8_H
#define GOLDGRAD_CORTEX_M7_DOT_INT8_H

#include <stddef.h>
#include <stdint.h>

#define GG_M7_DOT_END 0x80008000U /* no two weights are this */

/*
 * Groups of four outputs, one after another, for pairs of pixels; bias, m, y, mask and bits are those of the first, and
 * move on.  Channels are filled up with zeros to a multiple of 8.
 *
 *   bias, m   of the four outputs
 *   w         words of the four outputs in turn; _raw: and GG_M7_DOT_END
 *   x         words of two pixels in turn, pair after pair; x_two past the second pair, x_end past the last.  The 8
 *             bytes there are read, and mean nothing.  Two pairs or more; _raw: one or more, and no x_two
 *   y         int8, of the first pixel's first output, a word a pixel; y_step bytes lie between pixels.  _raw: int32 [8]
 *             a pair
 *   magic     gg_m7_magic of the outputs' zero point; _odd: where that is odd
 *   mask      the byte of the outputs, which starts out as 0; mask_step bytes lie between pixels; bits is 0x08040201 for
 *             its lower half, 0x80402010 for its upper
 *   rows      the weight of four outputs and of those that follow, depth bytes each, or NULL where w is widened already
 *   groups    how many, 1 where rows is NULL; counts down; not for _raw
 *   turns     gg_m7_dot_turns of depth / 8; NULL where that is 1 and there is no mask
 *
 * All but _raw want lo = -128, hi = 127, and |acc * m| + |zero point| < 32,000 of every output.
 */
typedef struct {
    const int32_t *bias;
    const float *m;
    const int16_t *w, *x, *x_two, *x_end;
    int8_t *y;
    int32_t y_step;
    float magic;
    uint8_t *mask;
    int32_t mask_step;
    uint32_t bits;
    const int8_t *rows;
    int32_t groups, depth;
    const void *turns;
} gg_m7_dot_t;

#if __SIZEOF_POINTER__ == 4
_Static_assert(offsetof(gg_m7_dot_t, w) == 8 && offsetof(gg_m7_dot_t, turns) == 60, "dot_int8.py knows where they are");
#endif

void gg_m7_dot(gg_m7_dot_t *p);
void gg_m7_dot_odd(gg_m7_dot_t *p);
void gg_m7_dot_mask(gg_m7_dot_t *p);
void gg_m7_dot_mask_odd(gg_m7_dot_t *p);
void gg_m7_dot_raw(gg_m7_dot_t *p);

/* What a block does behind its first turn, by its turns of eight channels: for these functions alone. */
const void *gg_m7_dot_turns(int32_t turns);

/*
 * Four rows of a weight by one pixel, neither of them widened: channels from x to x_end, a multiple of 8, step bytes from
 * row to row, less is -x_zero, twice.  sums begin as biases.
 */
typedef struct {
    const int8_t *x, *x_end, *w;
    int32_t step;
    uint32_t less;
    int32_t sums[4];
} gg_m7_rows_t;

#if __SIZEOF_POINTER__ == 4
_Static_assert(offsetof(gg_m7_rows_t, sums) == 20, "dot_int8.py knows where they are");
#endif

void gg_m7_dot_rows(gg_m7_rows_t *p);

/*
 * Pairs of pixels that are widened: where both are read, where their words go next, how many pairs, and how many bytes
 * lie from behind a pixel to the next pair's (_windows: from its start).  to moves on.
 */
typedef struct {
    const int8_t *from[2];
    int16_t *to;
    int32_t pairs, skip;
} gg_m7_pixels_t;

/* The words hold channels 0 and 2, 1 and 3, 4 and 6, and so on. */
void gg_m7_widen_pixels(gg_m7_pixels_t *p, int32_t groups, uint32_t less);

/* Windows of 3 x 3 x 3, row bytes between rows: 5 words a row, and one that means nothing; reads 3 bytes past a row. */
void gg_m7_widen_windows(gg_m7_pixels_t *p, int32_t row, uint32_t less);

/* Four rows of a weight, step bytes from one to the next. */
void gg_m7_widen_rows(const int8_t *w, int32_t step, int16_t *to, int32_t groups);

/* Rows of 3 x 3 x 3 in the words of gg_m7_widen_windows, and one that is zero. */
void gg_m7_widen_window_rows(const int8_t *w, int32_t step, int16_t *to);

#endif
