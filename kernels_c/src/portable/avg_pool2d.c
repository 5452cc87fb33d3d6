#include "goldgrad/avg_pool2d.h"

#include <stddef.h>

#include "rounding.h"
#include "taps.h"

/* AVGP-S2: the share of each pixel in an output; the taps that meet the map are a rectangle of the kernel. */
static float multiplier(float m, gg_taps_t rows, gg_taps_t columns) {
    return m / (float)((rows.end - rows.first) * (columns.end - columns.first));
}

/* AVGP-S1: sum of x - x_zero over the taps that meet the map; x points at the channel. */
static int32_t accumulate(const gg_avg_pool2d_t *p, const int8_t *x, gg_taps_t rows, gg_taps_t columns) {
    const gg_window_t *const s = &p->window;
    int32_t acc = 0;
    for (int32_t kh = rows.first; kh < rows.end; ++kh) {
        for (int32_t kw = columns.first; kw < columns.end; ++kw) {
            const int32_t ih = rows.origin + kh * s->dilation_h;
            const int32_t iw = columns.origin + kw * s->dilation_w;
            acc += x[(ih * s->in_w + iw) * p->channels] - p->x_zero;
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
            const float share = multiplier(*m, rows, columns);
            uint8_t bits = 0;
            for (int32_t c = 0; c < p->channels; ++c) {
                bool inside;
                const int32_t acc = accumulate(p, x + c, rows, columns);
                *y++ = gg_requantize(acc, share, p->y_zero, p->lo, p->hi, &inside);
                mask = gg_put_bit(mask, &bits, c, p->channels, inside);
            }
        }
    }
}

/* AVGP-S5: outputs in raster order, each spread over the pixels of its window. */
void gg_avg_pool2d_vjp_x(const gg_avg_pool2d_t *p, const float *gy, const uint8_t *mask, const float *m,
                         const float *dx0, float *dx) {
    const gg_window_t *const s = &p->window;
    const int32_t mask_bytes = gg_mask_bytes(p->channels);
    for (int32_t e = 0; e < s->in_h * s->in_w * p->channels; ++e) {
        dx[e] = dx0 != NULL ? dx0[e] : 0.0F;
    }
    for (int32_t oh = 0; oh < s->out_h; ++oh) {
        const gg_taps_t rows = gg_row_taps(s, oh);
        for (int32_t ow = 0; ow < s->out_w; ++ow) {
            const gg_taps_t columns = gg_column_taps(s, ow);
            const float share = multiplier(*m, rows, columns);
            for (int32_t kh = rows.first; kh < rows.end; ++kh) {
                for (int32_t kw = columns.first; kw < columns.end; ++kw) {
                    const int32_t ih = rows.origin + kh * s->dilation_h;
                    const int32_t iw = columns.origin + kw * s->dilation_w;
                    float *const out = dx + (ih * s->in_w + iw) * p->channels;
                    for (int32_t c = 0; c < p->channels; ++c) {
                        if (gg_get_bit(mask, c)) {
                            out[c] = gg_fma(gy[c], share, out[c]);
                        }
                    }
                }
            }
            gy += p->channels;
            mask += mask_bytes;
        }
    }
}
