#include "goldgrad/conv2d.h"

#include <arm_acle.h>
#include <stddef.h>

#include "../portable/rounding.h"
#include "../portable/taps.h"
#include "goldgrad/cortex_m7.h"

/* CONV-S1: x - x_zero under the window as pairs of int16; 0 where it leaves the map. */
static void gather(const gg_conv2d_t *p, const int8_t *x, gg_taps_t rows, gg_taps_t columns, int16_t *patch) {
    const gg_window_t *const s = &p->window;
    for (int32_t kh = 0; kh < s->kernel_h; ++kh) {
        for (int32_t kw = 0; kw < s->kernel_w; ++kw) {
            const bool met = rows.first <= kh && kh < rows.end && columns.first <= kw && kw < columns.end;
            const int32_t ih = rows.origin + kh * s->dilation_h;
            const int32_t iw = columns.origin + kw * s->dilation_w;
            const int8_t *const pixel = x + (met ? (ih * s->in_w + iw) * p->in_c : 0);
            for (int32_t i = 0; i < p->in_c; ++i) {
                *patch++ = (int16_t)(met ? pixel[i] - p->x_zero : 0);
            }
        }
    }
}

static int32_t dot(const int16_t *patch, const int8_t *w, int32_t count, int32_t acc) {
    for (int32_t i = 0; i < count; ++i) {
        acc += patch[i] * w[i];
    }
    return acc;
}

void gg_conv2d_forward(const gg_conv2d_t *p, const int8_t *x, const int8_t *w, const int32_t *b, const float *m,
                       const int8_t *trained, const int32_t *channels, int32_t kept, int8_t *y, uint8_t *mask,
                       void *scratch) {
    const gg_window_t *const s = &p->window;
    const int32_t taps = s->kernel_h * s->kernel_w;
    int16_t *const patch = scratch;
    for (int32_t oh = 0; oh < s->out_h; ++oh) {
        const gg_taps_t rows = gg_row_taps(s, oh);
        for (int32_t ow = 0; ow < s->out_w; ++ow) {
            uint8_t bits = 0;
            gather(p, x, rows, gg_column_taps(s, ow), patch);
            for (int32_t o = 0; o < p->out_c; ++o) {
                bool inside;
                int32_t acc = dot(patch, w + o * taps * p->in_c, taps * p->in_c, b[o]);
                for (int32_t j = 0; j < kept; ++j) { /* CONV-S7 */
                    for (int32_t k = 0; k < taps; ++k) {
                        const int32_t at = k * p->in_c + channels[j];
                        acc += patch[at] * (trained[(o * taps + k) * kept + j] - w[o * taps * p->in_c + at]);
                    }
                }
                *y++ = gg_requantize(acc, m[o], p->y_zero, p->lo, p->hi, &inside);
                mask = gg_put_bit(mask, &bits, o, p->out_c, inside);
            }
        }
    }
}

int32_t gg_conv2d_forward_scratch_bytes(const gg_conv2d_t *p) {
    return gg_m7_conv2d_forward_scratch_bytes(p);
}
