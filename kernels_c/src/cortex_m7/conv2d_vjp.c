#include <stdbool.h>
#include <stddef.h>

#include "../portable/taps.h"
#include "chains_f32.h"
#include "conv2d_vjp_layout.h"
#include "goldgrad/conv2d.h"
#include "goldgrad/cortex_m7.h"
#include "portable.h"
#include "products_f32.h"

/*
 * Both gradients of a convolution are products of matrices of which one, codes, is converted to float32: some links of
 * every chain of some columns at a time lie in scratch, in panels of 4 columns, while all rows pass.  So a code of a
 * pointwise convolution is read from flash once, and scratch does not grow with the operator.
 */
enum { TILE = 4 };

/* A weight with a part that trains (CONV-S7): of its columns, those first .. end - 1 of the list are in a strip. */
typedef struct {
    const int8_t *w, *trained;
    const int32_t *channels;
    int32_t kept, first, end;
} weight_t;

static int32_t lesser(int32_t a, int32_t b) {
    return a < b ? a : b;
}

static void next_strip(weight_t *t, int32_t end) {
    t->first = t->end;
    while (t->end < t->kept && t->channels[t->end] < end) {
        ++t->end;
    }
}

/* CONV-S7: links i, i + 1, ... of the strip from column n on, which are rows from, from + 1, ... of the weight. */
static void replace(const weight_t *t, int32_t n, int32_t from, int32_t rows, int32_t i, int32_t k, float *panels) {
    for (int32_t j = t->first; j < t->end; ++j) {
        const int32_t at = t->channels[j] - n;
        float *const to = panels + at / TILE * TILE * k + at % TILE;
        for (int32_t row = 0; row < rows; ++row) {
            to[TILE * (i + row)] = (float)t->trained[(from + row) * t->kept + j];
        }
    }
}

/* Codes of the strip as CONV-S7 has them, in the order of panels, at the end of where they will be as float32. */
static void replaced(const weight_t *t, int32_t n, int32_t row, int32_t width, int32_t k, gg_m7_coded_t *c,
                     float *panels) {
    const int32_t panel = c->width;
    int8_t *const codes = (int8_t *)(panels + width * k) - width * k;
    int8_t *to = codes;
    for (int32_t j = 0; j < width; j += panel) {
        const int8_t *from = c->from + j;
#pragma GCC unroll 4
        for (int32_t i = 0; i < k; ++i, to += panel, from += c->row) {
            uint16_t two;
            uint32_t four;
            __builtin_memcpy(&two, from + panel - 2, sizeof two); /* of four, the last two once more */
            __builtin_memcpy(&four, from, sizeof four);
            __builtin_memcpy(to + panel - 2, &two, sizeof two);
            __builtin_memcpy(to, &four, sizeof four);
        }
    }
    for (int32_t j = t->first; j < t->end; ++j) {
        const int32_t at = t->channels[j] - n;
        const int8_t *from = t->trained + row * t->kept + j;
        to = codes + at / panel * panel * k + at % panel;
#pragma GCC unroll 4
        for (int32_t i = 0; i < k; ++i, to += panel, from += t->kept) {
            *to = *from;
        }
    }
    *c = (gg_m7_coded_t){codes, panel, panel * k, panel, c->floats};
}

/* CONV-S4: rows are pixels, columns input channels, links output channels. */
static void pointwise_vjp_x(const gg_conv2d_t *p, const float *g, weight_t t, const float *dx0, float *dx,
                            float *floats) {
    const gg_m7_conv2d_vjp_x_t size = gg_m7_conv2d_vjp_x_layout(p);
    float *const panels = floats + size.floats;
    gg_m7_matrix_t s = {g, dx0, dx, p->out_c, 1, p->window.in_h * p->window.in_w, p->in_c};
    if (size.floats > 0) {
        gg_m7_copy_code_floats(floats);
    }
    for (int32_t n = 0; n < p->in_c; n += size.width) {
        const int32_t width = lesser(size.width, p->in_c - n);
        next_strip(&t, n + width);
        for (int32_t o = 0; o < p->out_c; o += size.links) {
            const int32_t k = lesser(size.links, p->out_c - o);
            gg_m7_coded_t codes = {t.w + o * p->in_c + n, p->in_c, size.panel, size.panel, floats};
            s.a = g + o;
            s.start = o > 0 ? dx : dx0;
            if (size.floats > 0 && gg_m7_multiplies_codes(width, k, size.panel)) {
                if (t.first < t.end) {
                    replaced(&t, n, o, width, k, &codes, panels);
                }
                gg_m7_multiply_codes(&s, n, width, k, &codes, panels);
            } else {
                gg_m7_panels_of(codes.from, p->in_c, width, k, 0, panels);
                replace(&t, n, o, k, 0, k, panels);
                gg_m7_multiply(&s, n, width, k, panels);
            }
        }
    }
}

/* Along an axis: a bit for every tap that meets input i. */
static uint32_t taps_of(const gg_window_t *s, int32_t i, bool in_rows) {
    const int32_t kernel = in_rows ? s->kernel_h : s->kernel_w;
    uint32_t taps = 0;
    for (int32_t k = 0; k < kernel; ++k) {
        const int32_t output = in_rows ? gg_output_row(s, i, k) : gg_output_column(s, i, k);
        taps |= (uint32_t)(output >= 0) << (uint32_t)k;
    }
    return taps;
}

static bool is_first(const gg_window_t *s, int32_t i, uint32_t taps, bool in_rows) {
    for (int32_t before = 0; before < i; ++before) {
        if (taps_of(s, before, in_rows) == taps) {
            return false;
        }
    }
    return true;
}

static int32_t count_of(uint32_t taps) {
    int32_t count = 0;
    for (; taps != 0; taps &= taps - 1) {
        ++count;
    }
    return count;
}

static bool has(uint32_t taps, int32_t k) {
    return (taps >> (uint32_t)k & 1U) != 0;
}

/* Pixels that meet the same taps share their weights: which, of how many links of how many output channels. */
typedef struct {
    uint32_t rows, columns;
    int32_t ih, iw;
    int32_t outputs, links;
} like_t;

/* Output channels from o on, in each the taps, as panels. */
static void weights_of(const gg_conv2d_t *p, const weight_t *t, const like_t *l, int32_t o, int32_t n, int32_t width,
                       float *panels) {
    const gg_window_t *const s = &p->window;
    const int32_t taps = s->kernel_h * s->kernel_w;
    if (l->links == l->outputs * taps) {
        gg_m7_panels_of(t->w + o * taps * p->in_c + n, p->in_c, width, l->links, 0, panels);
        replace(t, n, o * taps, l->links, 0, l->links, panels);
        return;
    }
    for (int32_t i = 0, row = o * taps; i < l->links; ++row) {
        const int32_t tap = row % taps;
        if (has(l->rows, tap / s->kernel_w) && has(l->columns, tap % s->kernel_w)) {
            for (int32_t c = 0; c < width; ++c) {
                panels[c / TILE * TILE * l->links + TILE * i + c % TILE] = (float)t->w[row * p->in_c + n + c];
            }
            replace(t, n, row, 1, i, l->links, panels);
            ++i;
        }
    }
}

/* The gradients that one pixel meets, output channels from o on, in each the taps. */
static void gradients_of(const gg_conv2d_t *p, const float *g, const like_t *l, int32_t o, int32_t ih, int32_t iw,
                         float *a) {
    const gg_window_t *const s = &p->window;
    const int32_t count = l->links / l->outputs;
    for (int32_t kh = 0; kh < s->kernel_h; ++kh) {
        for (int32_t kw = 0; has(l->rows, kh) && kw < s->kernel_w; ++kw) {
            if (has(l->columns, kw)) {
                const int32_t pixel = gg_output_row(s, ih, kh) * s->out_w + gg_output_column(s, iw, kw);
                const float *const from = g + pixel * p->out_c + o;
                for (int32_t i = 0; i < l->outputs; ++i) {
                    a[i * count] = from[i];
                }
                ++a;
            }
        }
    }
}

/* CONV-S4 for pixels that meet the same taps and columns from n on: up to four of a row, a stride apart, at a time. */
static void like_vjp_x(const gg_conv2d_t *p, const float *g, const weight_t *t, const float *dx0, float *dx,
                       const like_t *l, int32_t o, int32_t n, int32_t width, float *panels) {
    const gg_window_t *const s = &p->window;
    float *const a = panels + (width + TILE - 1) / TILE * TILE * l->links;
    const float *const start = o > 0 ? dx : dx0;
    const int32_t step = l->links > 0 ? s->stride_w : 1;
    if (l->links > 0) {
        weights_of(p, t, l, o, n, width, panels);
    }
    for (int32_t ih = l->ih; ih < s->in_h; ++ih) {
        const int32_t end = taps_of(s, ih, true) == l->rows ? s->in_w : 0;
        for (int32_t iw = l->iw, count; iw < end; iw += (count > 0 ? count : 1) * step) {
            const int32_t pixel = (ih * s->in_w + iw) * p->in_c;
            count = 0;
            while (count < TILE && iw + count * step < s->in_w && taps_of(s, iw + count * step, false) == l->columns) {
                gradients_of(p, g, l, o, ih, iw + count * step, a + count * l->links);
                ++count;
            }
            const gg_m7_matrix_t m = {
                a, start != NULL ? start + pixel : NULL, dx + pixel, l->links, 1, count, step * p->in_c};
            gg_m7_multiply(&m, n, width, l->links, panels);
        }
    }
}

static void windows_vjp_x(const gg_conv2d_t *p, const float *g, weight_t t, const float *dx0, float *dx,
                          float *panels) {
    const gg_window_t *const s = &p->window;
    const gg_m7_conv2d_vjp_x_t size = gg_m7_conv2d_vjp_x_layout(p);
    for (int32_t n = 0; n < p->in_c; n += size.width) {
        const int32_t width = lesser(size.width, p->in_c - n);
        next_strip(&t, n + width);
        for (int32_t ih = 0; ih < s->in_h; ++ih) {
            const uint32_t rows = taps_of(s, ih, true);
            for (int32_t iw = 0; is_first(s, ih, rows, true) && iw < s->in_w; ++iw) {
                const uint32_t columns = taps_of(s, iw, false);
                for (int32_t o = 0; is_first(s, iw, columns, false) && o < p->out_c; o += size.outputs) {
                    like_t l = {rows, columns, ih, iw, lesser(size.outputs, p->out_c - o), 0};
                    l.links = l.outputs * count_of(rows) * count_of(columns);
                    like_vjp_x(p, g, &t, dx0, dx, &l, o, n, width, panels);
                }
            }
        }
    }
}

void gg_conv2d_vjp_x(const gg_conv2d_t *p, const float *g, const int8_t *w, const float *dx0, const int8_t *trained,
                     const int32_t *channels, int32_t kept, float *dx, void *scratch) {
    const weight_t t = {w, trained, channels, kept, 0, 0};
    if (gg_m7_is_pointwise(&p->window)) {
        pointwise_vjp_x(p, g, t, dx0, dx, scratch);
    } else if (gg_m7_conv2d_vjp_x_layout(p).bytes > 0) {
        windows_vjp_x(p, g, t, dx0, dx, scratch);
    } else {
        gg_portable_conv2d_vjp_x(p, g, w, dx0, trained, channels, kept, dx, NULL);
    }
}

int32_t gg_conv2d_vjp_x_scratch_bytes(const gg_conv2d_t *p) {
    return gg_m7_conv2d_vjp_x_scratch_bytes(p);
}

/* Along an axis: the outputs whose tap k meets the map. */
static gg_taps_t outputs_of(int32_t k, int32_t stride, int32_t pad, int32_t dilation, int32_t inputs, int32_t outputs) {
    const int32_t before = pad - k * dilation;
    const int32_t last = inputs - 1 + before;
    return (gg_taps_t){-before, before > 0 ? (before + stride - 1) / stride : 0,
                       last < 0 ? 0 : lesser(outputs, last / stride + 1)};
}

/* CONV-S5 for a tap: rows are output channels, columns input channels, links pixels, those of a row at a time. */
static void tap_vjp_w(const gg_conv2d_t *p, const float *g, const int8_t *x, gg_m7_matrix_t s, gg_taps_t rows,
                      gg_taps_t columns, float *panels) {
    const gg_window_t *const v = &p->window;
    const gg_m7_panels_t size = gg_m7_conv2d_vjp_w_layout(p);
    const float *const first = s.start;
    const bool meets = rows.first < rows.end && columns.first < columns.end;
    for (int32_t n = 0; n < p->in_c; n += size.width) {
        const int32_t width = lesser(size.width, p->in_c - n);
        s.start = first;
        if (!meets) {
            gg_m7_multiply(&s, n, width, 0, panels);
        }
        for (int32_t oh = rows.first; meets && oh < rows.end; ++oh) {
            const int8_t *const row = x + (rows.origin + oh * v->stride_h) * v->in_w * p->in_c + n;
            for (int32_t ow = columns.first; ow < columns.end; ow += size.links) {
                const int32_t k = lesser(size.links, columns.end - ow);
                const int8_t *const from = row + (columns.origin + ow * v->stride_w) * p->in_c;
                gg_m7_panels_of(from, v->stride_w * p->in_c, width, k, p->x_zero, panels);
                s.a = g + (oh * v->out_w + ow) * p->out_c;
                gg_m7_multiply(&s, n, width, k, panels);
                s.start = s.c;
            }
        }
    }
}

void gg_conv2d_vjp_w(const gg_conv2d_t *p, const float *g, const int8_t *x, const float *dw0, float *dw,
                     void *scratch) {
    const gg_window_t *const s = &p->window;
    const int32_t taps = s->kernel_h * s->kernel_w;
    gg_m7_matrix_t m = {g, dw0, dw, 1, p->out_c, p->out_c, taps * p->in_c};
    if (gg_m7_is_pointwise(s)) { /* pixels are one row */
        const int32_t pixels = s->in_h * s->in_w;
        const gg_taps_t rows = {0, 0, 1};
        const gg_taps_t columns = {0, 0, pixels};
        tap_vjp_w(p, g, x, m, rows, columns, scratch);
        return;
    }
    for (int32_t tap = 0; tap < taps; ++tap) {
        const int32_t kh = tap / s->kernel_w;
        const int32_t kw = tap % s->kernel_w;
        const gg_taps_t rows = outputs_of(kh, s->stride_h, s->pad_top, s->dilation_h, s->in_h, s->out_h);
        const gg_taps_t columns = outputs_of(kw, s->stride_w, s->pad_left, s->dilation_w, s->in_w, s->out_w);
        m.start = dw0 != NULL ? dw0 + tap * p->in_c : NULL;
        m.c = dw + tap * p->in_c;
        tap_vjp_w(p, g, x, m, rows, columns, scratch);
    }
}

int32_t gg_conv2d_vjp_w_scratch_bytes(const gg_conv2d_t *p) {
    return gg_m7_conv2d_vjp_w_scratch_bytes(p);
}
