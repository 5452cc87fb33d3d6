/* Depthwise convolution of groups of four channels (kernels_c/gen/depthwise_int8.py); for the kernels only. */
#ifndef GOLDGRAD_CORTEX_M7_DEPTHWISE_INT8_H
#define GOLDGRAD_CORTEX_M7_DEPTHWISE_INT8_H

#include <stddef.h>
#include <stdint.h>

#define GG_M7_DEPTHWISE_END 1 /* no multiple of 4 */

/*
 * A block of 5 or 7 taps a row, in bytes: from x to the first row that it meets, from a channel's w to the taps of that
 * row and past those of the last.  What comes after the last block has END for x.
 */
typedef struct {
    int32_t x, w, w_end;
} gg_m7_met_t;

/*
 * Blocks of eight outputs of count channels, a multiple of 4: in one row (_wide), or four in each of two rows (_narrow).
 *
 *   x       words of two pixels, four channels in turn; row_bytes lie between rows, planes between groups of channels.
 *           Of three taps a row: where the first block's first row is
 *   w       gg_m7_depthwise_weights; w_bytes lie between channels
 *   codes   int16, two blocks that mean nothing, then a channel's blocks after another's; not clamped
 *   magic   gg_m7_magic, which must be proven for the channels
 *   next    of three taps a row: int32, bytes from a block's third row to the next block's first, END after the last.
 *           Of more: gg_m7_met_t, one or more
 *   b, m    of the channels
 */
typedef struct {
    const int16_t *x;
    int32_t row_bytes;
    const int16_t *w;
    int32_t w_bytes;
    int16_t *codes;
    float magic;
    const void *next;
    int32_t planes, count;
    const int32_t *b;
    const float *m;
} gg_m7_depthwise_t;

#if __SIZEOF_POINTER__ == 4
_Static_assert(offsetof(gg_m7_depthwise_t, m) == 40, "depthwise_int8.py knows where it is");
#endif

/* gg_m7_depthwise_<taps a row>_<stride>_<block> */
void gg_m7_depthwise_3_1_wide(const gg_m7_depthwise_t *p);
void gg_m7_depthwise_3_1_narrow(const gg_m7_depthwise_t *p);
void gg_m7_depthwise_3_2_wide(const gg_m7_depthwise_t *p);
void gg_m7_depthwise_3_2_narrow(const gg_m7_depthwise_t *p);
void gg_m7_depthwise_5_1_wide(const gg_m7_depthwise_t *p);
void gg_m7_depthwise_5_1_narrow(const gg_m7_depthwise_t *p);
void gg_m7_depthwise_5_2_wide(const gg_m7_depthwise_t *p);
void gg_m7_depthwise_5_2_narrow(const gg_m7_depthwise_t *p);
void gg_m7_depthwise_7_1_wide(const gg_m7_depthwise_t *p);
void gg_m7_depthwise_7_1_narrow(const gg_m7_depthwise_t *p);
void gg_m7_depthwise_7_2_wide(const gg_m7_depthwise_t *p);
void gg_m7_depthwise_7_2_narrow(const gg_m7_depthwise_t *p);

/* Words of a weight: of groups of four channels that lie side by side, step bytes between taps.  _<taps a row>_<stride> */
void gg_m7_depthwise_weights_3_1(const int8_t *w, int32_t step, int16_t *to, int32_t groups);
void gg_m7_depthwise_weights_3_2(const int8_t *w, int32_t step, int16_t *to, int32_t groups);
void gg_m7_depthwise_weights_5_1(const int8_t *w, int32_t step, int16_t *to, int32_t groups);
void gg_m7_depthwise_weights_5_2(const int8_t *w, int32_t step, int16_t *to, int32_t groups);
void gg_m7_depthwise_weights_7_1(const int8_t *w, int32_t step, int16_t *to, int32_t groups);
void gg_m7_depthwise_weights_7_2(const int8_t *w, int32_t step, int16_t *to, int32_t groups);

/*
 * Rows of groups of four channels that lie side by side: step bytes between pixels, the last of a row and the next one's
 * first among them.  Words go to to: of leads, a first pixel that is padding, and one; of single, two pixels; of doubles,
 * twice two, so often; of trails, a pixel and padding.  gap bytes lie from a row's words to the next one's, behind more
 * bytes after the last row of a group.  groups count down.
 *
 * whole: there are leads, single and trails, which are made at once: last bytes lie from a row's first pixel to its last,
 * last_to from its first word to its last, and trails is 0, so that x_gap and gap move on for it.
 */
typedef struct {
    const int8_t *x;
    int32_t step;
    int16_t *to;
    uint32_t less; /* -x_zero, twice */
    uint32_t pad;  /* x_zero, four times */
    int32_t whole, leads, single, doubles, trails, last, last_to, gap, x_gap, rows, behind, groups;
} gg_m7_planes_t;

void gg_m7_planes(gg_m7_planes_t *p);

/*
 * The codes of groups of four channels, channel bytes from one to the next, become outputs, two pixels at a time; step
 * bytes lie between pixels.  Of several groups all codes of a channel are taken.  _odd: where the zero point is odd
 */
typedef struct {
    const int16_t *codes;
    int32_t channel;
    int8_t *y;
    int32_t step, pairs, groups;
} gg_m7_merge_t;

void gg_m7_merge(const gg_m7_merge_t *p);
void gg_m7_merge_odd(const gg_m7_merge_t *p);

/*
 * The same of one group for masks, which start out as 0: the byte of the channels; step bytes lie between pixels.  bits is
 * 0x02010201 for the lower half of a byte, 0x20102010 for the upper
 */
typedef struct {
    const int16_t *codes;
    int32_t channel;
    uint8_t *mask;
    int32_t step, pairs;
    uint32_t bits;
} gg_m7_mark_t;

void gg_m7_mark(const gg_m7_mark_t *p);
void gg_m7_mark_odd(const gg_m7_mark_t *p);

#endif
