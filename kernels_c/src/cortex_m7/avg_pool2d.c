/* Average pooling: four channels of a pixel are added at once, as int16, and these to int32 before they can overflow. */
#include "goldgrad/avg_pool2d.h"

#include <arm_acle.h>
#include <stddef.h>

#include "../portable/rounding.h"
#include "../portable/taps.h"

#define PIXELS 255 /* of -128 each are within int16 */

/* Sums of channels 0 and 2, 1 and 3, each as a halfword. */
typedef struct {
    int16x2_t even, odd;
} gg_sums_t;

static int32_t low(int16x2_t pair) {
    return (int16_t)((uint32_t)pair & 0xFFFFU);
}

static int32_t high(int16x2_t pair) {
    return (int16_t)((uint32_t)pair >> 16U);
}

/* AVGP-S1: sums of x of four channels over the taps that meet the map. */
static void accumulate(const gg_avg_pool2d_t *p, const int8_t *x, gg_taps_t rows, gg_taps_t columns, int32_t *acc) {
    const gg_window_t *const s = &p->window;
    gg_sums_t sums = {0, 0};
    int32_t left = PIXELS;
    for (int32_t kh = rows.first; kh < rows.end; ++kh) {
        const int8_t *const row = x + (rows.origin + kh * s->dilation_h) * s->in_w * p->channels;
        for (int32_t kw = columns.first; kw < columns.end; ++kw) {
            uint32_t four;
            __builtin_memcpy(&four, row + (columns.origin + kw * s->dilation_w) * p->channels, 4);
            sums.even = __sxtab16(sums.even, (int8x4_t)four);
            sums.odd = __sxtab16(sums.odd, (int8x4_t)(four >> 8U | four << 24U));
            if (--left == 0 || (kh + 1 == rows.end && kw + 1 == columns.end)) {
                acc[0] += low(sums.even);
                acc[1] += low(sums.odd);
                acc[2] += high(sums.even);
                acc[3] += high(sums.odd);
                sums = (gg_sums_t){0, 0};
                left = PIXELS;
            }
        }
    }
}

/* The same of one channel. */
static int32_t accumulate_one(const gg_avg_pool2d_t *p, const int8_t *x, gg_taps_t rows, gg_taps_t columns) {
    const gg_window_t *const s = &p->window;
    int32_t acc = 0;
    for (int32_t kh = rows.first; kh < rows.end; ++kh) {
        for (int32_t kw = columns.first; kw < columns.end; ++kw) {
            const int32_t ih = rows.origin + kh * s->dilation_h;
            acc += x[(ih * s->in_w + columns.origin + kw * s->dilation_w) * p->channels];
        }
    }
    return acc;
}

void gg_avg_pool2d_forward(const gg_avg_pool2d_t *p, const int8_t *x, const float *m, int8_t *y, uint8_t *mask) {
    const gg_window_t *const s = &p->window;
    for (int32_t oh = 0; oh < s->out_h; ++oh) {
        const gg_taps_t rows = gg_row_taps(s, oh);
        for (int32_t ow = 0; ow < s->out_w; ++ow) {
            const gg_taps_t columns = gg_column_taps(s, ow);
            const int32_t pixels = (rows.end - rows.first) * (columns.end - columns.first);
            const float share = *m / (float)pixels; /* AVGP-S2 */
            uint8_t bits = 0;
            for (int32_t first = 0; first < p->channels; first += 4) {
                const int32_t count = p->channels - first < 4 ? p->channels - first : 4;
                int32_t acc[4] = {0, 0, 0, 0};
                if (count == 4) {
                    accumulate(p, x + first, rows, columns, acc);
                }
                for (int32_t i = 0; i < count; ++i) {
                    bool inside;
                    const int32_t sum = count == 4 ? acc[i] : accumulate_one(p, x + first + i, rows, columns);
                    *y++ = gg_requantize(sum - pixels * p->x_zero, share, p->y_zero, p->lo, p->hi, &inside);
                    mask = gg_put_bit(mask, &bits, first + i, p->channels, inside);
                }
            }
        }
    }
}
