#include "goldgrad/conv2d.h"

#include <stddef.h>

#include "rounding.h"
#include "split_weight.h"
#include "taps.h"

/* CONV-S1, CONV-S7: acc + sum of (x - x_zero) * w over the taps that meet the map; a row of w is a tap of an output
 * channel. */
static int32_t accumulate(const gg_conv2d_t *p, const int8_t *x, const gg_split_weight_t *w, int32_t o, int32_t acc,
                          gg_taps_t rows, gg_taps_t columns) {
    const gg_window_t *const s = &p->window;
    for (int32_t kh = rows.first; kh < rows.end; ++kh) {
        for (int32_t kw = columns.first; kw < columns.end; ++kw) {
            const int32_t ih = rows.origin + kh * s->dilation_h;
            const int32_t iw = columns.origin + kw * s->dilation_w;
            const int8_t *const pixel = x + (ih * s->in_w + iw) * p->in_c;
            acc = gg_row_dot(w, (o * s->kernel_h + kh) * s->kernel_w + kw, pixel, p->x_zero, acc);
        }
    }
    return acc;
}

void gg_conv2d_forward(const gg_conv2d_t *p, const int8_t *x, const int8_t *w, const int32_t *b, const float *m,
                       const int8_t *trained, const int32_t *channels, int32_t kept, int8_t *y, uint8_t *mask,
                       void *scratch) {
    const gg_window_t *const s = &p->window;
    const gg_split_weight_t weight = {w, trained, channels, p->in_c, kept};
    (void)scratch;
    for (int32_t oh = 0; oh < s->out_h; ++oh) {
        const gg_taps_t rows = gg_row_taps(s, oh);
        for (int32_t ow = 0; ow < s->out_w; ++ow) {
            const gg_taps_t columns = gg_column_taps(s, ow);
            uint8_t bits = 0;
            for (int32_t o = 0; o < p->out_c; ++o) {
                bool inside;
                const int32_t acc = accumulate(p, x, &weight, o, b[o], rows, columns);
                *y++ = gg_requantize(acc, m[o], p->y_zero, p->lo, p->hi, &inside);
                mask = gg_put_bit(mask, &bits, o, p->out_c, inside);
            }
        }
    }
}

int32_t gg_conv2d_forward_scratch_bytes(const gg_conv2d_t *p) {
    (void)p;
    return 0;
}

/* CONV-S4: output channels, then kernel rows, then kernel columns; an input pixel meets tap k at output o if
 * o * stride = i + pad - k * dilation. */
void gg_conv2d_vjp_x(const gg_conv2d_t *p, const float *g, const int8_t *w, const float *dx0, const int8_t *trained,
                     const int32_t *channels, int32_t kept, float *dx, void *scratch) {
    const gg_window_t *const s = &p->window;
    const gg_split_weight_t weight = {w, trained, channels, p->in_c, kept};
    (void)scratch;
    for (int32_t ih = 0; ih < s->in_h; ++ih) {
        for (int32_t iw = 0; iw < s->in_w; ++iw) {
            float *const out = dx + (ih * s->in_w + iw) * p->in_c;
            for (int32_t i = 0; i < p->in_c; ++i) {
                out[i] = dx0 != NULL ? dx0[(ih * s->in_w + iw) * p->in_c + i] : 0.0F;
            }
            if (s->kernel_h == 1 && s->kernel_w == 1) { /* one tap, the same for all output channels */
                const int32_t oh = gg_output_row(s, ih, 0);
                const int32_t ow = gg_output_column(s, iw, 0);
                for (int32_t o = 0; oh >= 0 && ow >= 0 && o < p->out_c; ++o) {
                    gg_row_fma(&weight, o, g[(oh * s->out_w + ow) * p->out_c + o], out);
                }
                continue;
            }
            for (int32_t o = 0; o < p->out_c; ++o) {
                for (int32_t kh = 0; kh < s->kernel_h; ++kh) {
                    const int32_t oh = gg_output_row(s, ih, kh);
                    for (int32_t kw = 0; oh >= 0 && kw < s->kernel_w; ++kw) {
                        const int32_t ow = gg_output_column(s, iw, kw);
                        if (ow >= 0) {
                            const float grad = g[(oh * s->out_w + ow) * p->out_c + o];
                            gg_row_fma(&weight, (o * s->kernel_h + kh) * s->kernel_w + kw, grad, out);
                        }
                    }
                }
            }
        }
    }
}

int32_t gg_conv2d_vjp_x_scratch_bytes(const gg_conv2d_t *p) {
    (void)p;
    return 0;
}

/* CONV-S5: output rows, then output columns. */
void gg_conv2d_vjp_w(const gg_conv2d_t *p, const float *g, const int8_t *x, const float *dw0, float *dw,
                     void *scratch) {
    const gg_window_t *const s = &p->window;
    const int32_t filter = s->kernel_h * s->kernel_w * p->in_c;
    (void)scratch;
    for (int32_t e = 0; e < p->out_c * filter; ++e) {
        dw[e] = dw0 != NULL ? dw0[e] : 0.0F;
    }
    for (int32_t oh = 0; oh < s->out_h; ++oh) {
        const gg_taps_t rows = gg_row_taps(s, oh);
        for (int32_t ow = 0; ow < s->out_w; ++ow) {
            const gg_taps_t columns = gg_column_taps(s, ow);
            for (int32_t o = 0; o < p->out_c; ++o) {
                const float grad = g[(oh * s->out_w + ow) * p->out_c + o];
                for (int32_t kh = rows.first; kh < rows.end; ++kh) {
                    for (int32_t kw = columns.first; kw < columns.end; ++kw) {
                        const int32_t ih = rows.origin + kh * s->dilation_h;
                        const int32_t iw = columns.origin + kw * s->dilation_w;
                        const int8_t *const pixel = x + (ih * s->in_w + iw) * p->in_c;
                        float *const out = dw + o * filter + (kh * s->kernel_w + kw) * p->in_c;
                        for (int32_t i = 0; i < p->in_c; ++i) {
                            out[i] = gg_fma(grad, (float)(pixel[i] - p->x_zero), out[i]);
                        }
                    }
                }
            }
        }
    }
}

int32_t gg_conv2d_vjp_w_scratch_bytes(const gg_conv2d_t *p) {
    (void)p;
    return 0;
}
