#include "goldgrad/depthwise_conv2d.h"

#include <stddef.h>

#include "rounding.h"
#include "taps.h"

/* DW-S1: acc + sum of (x - x_zero) * w over the taps that meet the map; x and w point at the channel, in w the next
 * tap is w_channels on. */
static int32_t accumulate(const gg_depthwise_conv2d_t *p, const int8_t *x, const int8_t *w, int32_t w_channels,
                          int32_t acc, gg_taps_t rows, gg_taps_t columns) {
    const gg_window_t *const s = &p->window;
    for (int32_t kh = rows.first; kh < rows.end; ++kh) {
        for (int32_t kw = columns.first; kw < columns.end; ++kw) {
            const int32_t ih = rows.origin + kh * s->dilation_h;
            const int32_t iw = columns.origin + kw * s->dilation_w;
            acc += (x[(ih * s->in_w + iw) * p->channels] - p->x_zero) * w[(kh * s->kernel_w + kw) * w_channels];
        }
    }
    return acc;
}

void gg_depthwise_conv2d_forward(const gg_depthwise_conv2d_t *p, const int8_t *x, const int8_t *w, const int32_t *b,
                                 const float *m, const int8_t *trained, const int32_t *selected, int32_t kept,
                                 int8_t *y, uint8_t *mask, void *scratch) {
    const gg_window_t *const s = &p->window;
    (void)scratch;
    for (int32_t oh = 0; oh < s->out_h; ++oh) {
        const gg_taps_t rows = gg_row_taps(s, oh);
        for (int32_t ow = 0; ow < s->out_w; ++ow) {
            const gg_taps_t columns = gg_column_taps(s, ow);
            uint8_t bits = 0;
            int32_t j = 0;
            for (int32_t c = 0; c < p->channels; ++c) {
                bool inside;
                const bool trains = j < kept && selected[j] == c; /* DW-S7 */
                const int32_t acc = trains ? accumulate(p, x + c, trained + j, kept, b[c], rows, columns)
                                           : accumulate(p, x + c, w + c, p->channels, b[c], rows, columns);
                j += trains;
                *y++ = gg_requantize(acc, m[c], p->y_zero, p->lo, p->hi, &inside);
                mask = gg_put_bit(mask, &bits, c, p->channels, inside);
            }
        }
    }
}

int32_t gg_depthwise_conv2d_forward_scratch_bytes(const gg_depthwise_conv2d_t *p) {
    (void)p;
    return 0;
}

/* DW-S4: kernel rows, then kernel columns; an input pixel meets tap k at output o if
 * o * stride = i + pad - k * dilation. */
void gg_depthwise_conv2d_vjp_x(const gg_depthwise_conv2d_t *p, const float *g, const int8_t *w, const float *dx0,
                               const int8_t *trained, const int32_t *selected, int32_t kept, float *dx, void *scratch) {
    const gg_window_t *const s = &p->window;
    (void)scratch;
    for (int32_t ih = 0; ih < s->in_h; ++ih) {
        for (int32_t iw = 0; iw < s->in_w; ++iw) {
            const int32_t pixel = (ih * s->in_w + iw) * p->channels;
            float *const out = dx + pixel;
            for (int32_t c = 0; c < p->channels; ++c) {
                out[c] = dx0 != NULL ? dx0[pixel + c] : 0.0F;
            }
            for (int32_t kh = 0; kh < s->kernel_h; ++kh) {
                const int32_t oh = gg_output_row(s, ih, kh);
                for (int32_t kw = 0; oh >= 0 && kw < s->kernel_w; ++kw) {
                    const int32_t ow = gg_output_column(s, iw, kw);
                    if (ow < 0) {
                        continue;
                    }
                    const float *const grad = g + (oh * s->out_w + ow) * p->channels;
                    const int32_t tap = kh * s->kernel_w + kw;
                    const int8_t *const weight = w + tap * p->channels;
                    int32_t c = 0;
                    for (int32_t j = 0; j < kept; ++j, ++c) { /* DW-S7: w's channels up to the next that trains */
                        for (; c < selected[j]; ++c) {
                            out[c] = gg_fma(grad[c], (float)weight[c], out[c]);
                        }
                        out[c] = gg_fma(grad[c], (float)trained[tap * kept + j], out[c]);
                    }
                    for (; c < p->channels; ++c) {
                        out[c] = gg_fma(grad[c], (float)weight[c], out[c]);
                    }
                }
            }
        }
    }
}

int32_t gg_depthwise_conv2d_vjp_x_scratch_bytes(const gg_depthwise_conv2d_t *p) {
    (void)p;
    return 0;
}

/* DW-S5: output rows, then output columns; DW-S6: channel c of x and dw is channel selected[c] of g. */
void gg_depthwise_conv2d_vjp_w(const gg_depthwise_conv2d_t *p, const float *g, int32_t g_channels, const int8_t *x,
                               const float *dw0, const int32_t *selected, float *dw, void *scratch) {
    const gg_window_t *const s = &p->window;
    (void)scratch;
    for (int32_t e = 0; e < s->kernel_h * s->kernel_w * p->channels; ++e) {
        dw[e] = dw0 != NULL ? dw0[e] : 0.0F;
    }
    for (int32_t oh = 0; oh < s->out_h; ++oh) {
        const gg_taps_t rows = gg_row_taps(s, oh);
        for (int32_t ow = 0; ow < s->out_w; ++ow) {
            const gg_taps_t columns = gg_column_taps(s, ow);
            const float *const grad = g + (oh * s->out_w + ow) * g_channels;
            for (int32_t kh = rows.first; kh < rows.end; ++kh) {
                for (int32_t kw = columns.first; kw < columns.end; ++kw) {
                    const int32_t ih = rows.origin + kh * s->dilation_h;
                    const int32_t iw = columns.origin + kw * s->dilation_w;
                    const int8_t *const pixel = x + (ih * s->in_w + iw) * p->channels;
                    float *const out = dw + (kh * s->kernel_w + kw) * p->channels;
                    for (int32_t c = 0; c < p->channels; ++c) {
                        const float grad_c = grad[selected != NULL ? selected[c] : c];
                        out[c] = gg_fma(grad_c, (float)(pixel[c] - p->x_zero), out[c]);
                    }
                }
            }
        }
    }
}

int32_t gg_depthwise_conv2d_vjp_w_scratch_bytes(const gg_depthwise_conv2d_t *p) {
    (void)p;
    return 0;
}
