#include "goldgrad/max_pool2d.h"

#include <stddef.h>

#include "rounding.h"
#include "taps.h"

/* MAXP-S1, MAXP-S2: the first tap in raster order with the largest code; x points at the channel. */
static int8_t largest(const gg_max_pool2d_t *p, const int8_t *x, gg_taps_t rows, gg_taps_t columns, int32_t *tap) {
    const gg_window_t *const s = &p->window;
    int8_t most = INT8_MIN; /* no code is smaller: the first tap on the map keeps its place until one is larger */
    *tap = rows.first * s->kernel_w + columns.first;
    for (int32_t kh = rows.first; kh < rows.end; ++kh) {
        for (int32_t kw = columns.first; kw < columns.end; ++kw) {
            const int32_t ih = rows.origin + kh * s->dilation_h;
            const int32_t iw = columns.origin + kw * s->dilation_w;
            const int8_t code = x[(ih * s->in_w + iw) * p->channels];
            if (code > most) {
                most = code;
                *tap = kh * s->kernel_w + kw;
            }
        }
    }
    return most;
}

void gg_max_pool2d_forward(const gg_max_pool2d_t *p, const int8_t *x, int8_t *y, uint8_t *mask, uint8_t *index) {
    const gg_window_t *const s = &p->window;
    for (int32_t oh = 0; oh < s->out_h; ++oh) {
        const gg_taps_t rows = gg_row_taps(s, oh);
        for (int32_t ow = 0; ow < s->out_w; ++ow) {
            const gg_taps_t columns = gg_column_taps(s, ow);
            uint8_t bits = 0;
            for (int32_t c = 0; c < p->channels; ++c) {
                bool inside;
                int32_t tap;
                *y++ = gg_clamp(largest(p, x + c, rows, columns, &tap), 0, p->lo, p->hi, &inside); /* MAXP-S3 */
                mask = gg_put_bit(mask, &bits, c, p->channels, inside);
                if (index != NULL) {
                    *index++ = (uint8_t)tap;
                }
            }
        }
    }
}

/* MAXP-S4: outputs in raster order; MAXP-S5: an index that names no tap on the map adds nothing. */
void gg_max_pool2d_vjp_x(const gg_max_pool2d_t *p, const float *gy, const uint8_t *index, const uint8_t *mask,
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
            for (int32_t c = 0; c < p->channels; ++c) {
                const int32_t kh = index[c] / s->kernel_w;
                const int32_t kw = index[c] % s->kernel_w;
                const bool on_map = rows.first <= kh && kh < rows.end && columns.first <= kw && kw < columns.end;
                if (on_map && gg_get_bit(mask, c)) {
                    const int32_t ih = rows.origin + kh * s->dilation_h;
                    const int32_t iw = columns.origin + kw * s->dilation_w;
                    dx[(ih * s->in_w + iw) * p->channels + c] += gy[c];
                }
            }
            gy += p->channels;
            index += p->channels;
            mask += mask_bytes;
        }
    }
}
