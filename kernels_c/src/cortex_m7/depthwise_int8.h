/* Depthwise convolution of four channels (kernels_c/gen/depthwise_int8.py); for the kernels only. */
#ifndef GOLDGRAD_CORTEX_M7_DEPTHWISE_INT8_H
#define GOLDGRAD_CORTEX_M7_DEPTHWISE_INT8_H

#include <stddef.h>
#include <stdint.h>

/* What a row of outputs meets, in bytes: from x to its first row; from a channel's w to the first and past the last. */
typedef struct {
    int32_t x, w, w_end;
} gg_m7_met_t;

/*
 * Rows of outputs of four channels, blocks of outputs each.
 *
 *   x       words of two pixels, four channels in turn, from the first pixel of the first output on; row_bytes lie
 *           between rows
 *   w       gg_m7_depthwise_weights; w_bytes lie between channels
 *   codes   int16, a block that means nothing, then a channel's rows after another's, each row of blocks of outputs; not
 *           clamped
 *   magic   gg_m7_magic, which must be proven for the four channels
 *   rows    one or more, to rows_end.  Of three taps a row, all three rows are met
 */
typedef struct {
    const int16_t *x;
    int32_t row_bytes;
    const int16_t *w;
    int32_t w_bytes, blocks;
    int16_t *codes;
    float magic;
    const gg_m7_met_t *rows, *rows_end;
    int32_t bias[4];
    float m[4];
} gg_m7_depthwise_t;

#if __SIZEOF_POINTER__ == 4
_Static_assert(offsetof(gg_m7_depthwise_t, m) == 52, "depthwise_int8.py knows where it is");
#endif

/* gg_m7_depthwise_<taps a row>_<stride>_<outputs a block> */
void gg_m7_depthwise_3_1_8(const gg_m7_depthwise_t *p);
void gg_m7_depthwise_3_1_4(const gg_m7_depthwise_t *p);
void gg_m7_depthwise_3_2_8(const gg_m7_depthwise_t *p);
void gg_m7_depthwise_3_2_4(const gg_m7_depthwise_t *p);
void gg_m7_depthwise_5_1_4(const gg_m7_depthwise_t *p);
void gg_m7_depthwise_5_2_4(const gg_m7_depthwise_t *p);
void gg_m7_depthwise_7_1_4(const gg_m7_depthwise_t *p);
void gg_m7_depthwise_7_2_4(const gg_m7_depthwise_t *p);

/* Words of a weight: of four channels that lie side by side, step bytes between taps.  _<taps a row>_<stride> */
void gg_m7_depthwise_weights_3_1(const int8_t *w, int32_t step, int16_t *to);
void gg_m7_depthwise_weights_3_2(const int8_t *w, int32_t step, int16_t *to);
void gg_m7_depthwise_weights_5_1(const int8_t *w, int32_t step, int16_t *to);
void gg_m7_depthwise_weights_5_2(const int8_t *w, int32_t step, int16_t *to);
void gg_m7_depthwise_weights_7_1(const int8_t *w, int32_t step, int16_t *to);
void gg_m7_depthwise_weights_7_2(const int8_t *w, int32_t step, int16_t *to);

/*
 * Rows of four channels that lie side by side: step bytes between pixels, row_x between rows; words go to to, row_to
 * bytes between rows.  leads: the first word's first pixel is padding; trails: the last one's second.  x, to and rows
 * move on.
 */
typedef struct {
    const int8_t *x;
    int32_t step;
    int16_t *to;
    int32_t pairs;
    uint32_t less; /* -x_zero, twice */
    int32_t row_x, row_to, rows;
    int32_t leads, trails;
} gg_m7_planes_t;

void gg_m7_planes(gg_m7_planes_t *p);

/*
 * Four channels' codes become outputs, two pixels at a time; of masks, which start out as 0, the byte of the channels
 * and which half of it.  _odd: where the zero point is odd
 */
typedef struct {
    const int16_t *codes[4];
    int8_t *y;
    int32_t step, pairs;
    uint8_t *mask;
    int32_t mask_step, shift;
} gg_m7_merge_t;

void gg_m7_merge(const gg_m7_merge_t *p);
void gg_m7_merge_odd(const gg_m7_merge_t *p);
void gg_m7_merge_mask(const gg_m7_merge_t *p);
void gg_m7_merge_mask_odd(const gg_m7_merge_t *p);

#endif
