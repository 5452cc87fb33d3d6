/*
 * A fully connected layer is a convolution of one pixel, whose weights are met but once: four rows at a time are widened
 * as they are multiplied (dot_int8.h).  One of which channels train is the convolution's kernel's.
 */
#include "goldgrad/fully_connected.h"

#include <stddef.h>

#include "../portable/rounding.h"
#include "../portable/taps.h"
#include "bytes.h"
#include "dot_int8.h"
#include "fully_connected_layout.h"
#include "goldgrad/cortex_m7.h"

/* The pixel and four rows from row first on, where there are fewer the last again, filled up with what adds nothing. */
static void gather(const gg_fully_connected_t *p, const int8_t *x, const int8_t *w, int32_t first, int8_t *to,
                   gg_m7_rows_t *rows) {
    const int32_t depth = (p->in_c + 7) / 8 * 8;
    gg_m7_fill(to, p->x_zero, depth);
    gg_m7_copy(to, x, p->in_c);
    rows->x = to;
    rows->w = to + depth;
    rows->step = depth;
    for (int32_t i = 0; i < 4; ++i) {
        const int32_t row = first + i < p->out_c ? first + i : p->out_c - 1;
        to += depth;
        gg_m7_copy(to, w + row * p->in_c, p->in_c); /* behind it the pixel's x - x_zero is 0 */
    }
    rows->x_end = rows->x + depth;
}

/* FC-S1, FC-S2, FC-S3, FC-S7 */
void gg_fully_connected_forward(const gg_fully_connected_t *p, const int8_t *x, const int8_t *w, const int32_t *b,
                                const float *m, const int8_t *trained, const int32_t *channels, int32_t kept, int8_t *y,
                                uint8_t *mask, void *scratch) {
    if (kept > 0) {
        const gg_conv2d_t conv = gg_m7_fully_connected_as_conv2d(p);
        gg_conv2d_forward(&conv, x, w, b, m, trained, channels, kept, y, mask, scratch);
        return;
    }
    const bool as_they_lie = p->in_c % 8 == 0 && p->out_c >= 4;
    gg_m7_rows_t rows = {x, x + p->in_c, w, p->in_c, ((uint32_t)-p->x_zero & 0xFFFFU) * 0x10001U, {0}};
    if (mask != NULL) {
        gg_m7_fill(mask, 0, gg_mask_bytes(p->out_c));
    }
    for (int32_t c = 0; c < p->out_c;) {
        const int32_t end = c + 4 < p->out_c ? c + 4 : p->out_c;
        const int32_t first = as_they_lie ? end - 4 : c; /* the last four may have been there in part */
        if (as_they_lie) {
            rows.w = w + first * p->in_c;
        } else {
            gather(p, x, w, first, scratch, &rows);
        }
        for (int32_t i = 0; i < 4; ++i) {
            rows.sums[i] = b[first + i < p->out_c ? first + i : p->out_c - 1];
        }
        gg_m7_dot_rows(&rows);
        for (; c < end; ++c) {
            bool inside;
            y[c] = gg_requantize(rows.sums[c - first], m[c], p->y_zero, p->lo, p->hi, &inside);
            if (mask != NULL) {
                mask[c / 8] = (uint8_t)(mask[c / 8] | (uint32_t)inside << (uint32_t)(c % 8));
            }
        }
    }
}

int32_t gg_fully_connected_forward_scratch_bytes(const gg_fully_connected_t *p) {
    return gg_m7_fully_connected_forward_scratch_bytes(p);
}
