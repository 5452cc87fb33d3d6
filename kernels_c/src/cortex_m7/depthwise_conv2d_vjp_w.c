#include <stdbool.h>
#include <stddef.h>

#include "../portable/taps.h"
#include "chains_f32.h"
#include "depthwise_vjp_layout.h"
#include "goldgrad/cortex_m7.h"
#include "goldgrad/depthwise_conv2d.h"
#include "portable.h"

enum { TILE = 4, FLOAT = 4 };

/* Up to four channels of the gradient: which, and where all of x and g that a band of rows meets lies as float32. */
typedef struct {
    int32_t first, width;
    int32_t x_row; /* the map's row that lies first */
    float *x;
    const float *g;
    int32_t g_pixel; /* floats from pixel to pixel */
} band_t;

/* Rows of x from b->x_row on, as many as there are; lanes without a channel hold 0. */
static void take_x(const gg_depthwise_conv2d_t *p, const int8_t *x, const band_t *b, int32_t rows) {
    const gg_window_t *const s = &p->window;
    const int32_t room = s->in_h - b->x_row;
    const int32_t pixels = (rows < room ? rows : room) * s->in_w;
    const int8_t *const from = x + b->x_row * s->in_w * p->channels + b->first;
    if (b->width == TILE) {
        const gg_m7_codes_t c = {
            .from = from, .from_row = p->channels, .fours = 1, .rows = pixels, .to = b->x, .less = -p->x_zero};
        gg_m7_floats(&c);
        return;
    }
    for (int32_t i = 0; i < pixels; ++i) {
        for (int32_t n = 0; n < TILE; ++n) {
            b->x[TILE * i + n] = n < b->width ? (float)(from[i * p->channels + n] - p->x_zero) : 0.0F;
        }
    }
}

/* DW-S6: channel c of x is channel selected[c] of g. */
static void take_g(const float *g, int32_t g_channels, const int32_t *selected, const band_t *b, int32_t pixels,
                   float *to) {
    for (int32_t i = 0; i < pixels; ++i) {
        for (int32_t n = 0; n < TILE; ++n) {
            const int32_t c = b->first + n;
            to[TILE * i + n] = n < b->width ? g[i * g_channels + (selected != NULL ? selected[c] : c)] : 0.0F;
        }
    }
}

/* Along an axis: the outputs whose tap k meets the map, among those before end. */
static gg_taps_t outputs_of(int32_t k, int32_t stride, int32_t pad, int32_t dilation, int32_t inputs, int32_t end) {
    const int32_t before = pad - k * dilation;
    const int32_t last = inputs - 1 + before;
    const int32_t behind = last < 0 ? 0 : last / stride + 1;
    return (gg_taps_t){-before, before > 0 ? (before + stride - 1) / stride : 0, behind < end ? behind : end};
}

/* DW-S5 for a tap and output rows oh .. end - 1: onto sum. */
static void onto(const gg_depthwise_conv2d_t *p, const band_t *b, int32_t tap, int32_t oh, int32_t end, float *sum) {
    const gg_window_t *const s = &p->window;
    const int32_t kh = tap / s->kernel_w;
    const int32_t kw = tap % s->kernel_w;
    gg_taps_t rows = outputs_of(kh, s->stride_h, s->pad_top, s->dilation_h, s->in_h, end);
    const gg_taps_t columns = outputs_of(kw, s->stride_w, s->pad_left, s->dilation_w, s->in_w, s->out_w);
    gg_m7_taps_t q = {.c = sum, .start = sum, .blocks = 1};
    rows.first = rows.first > oh ? rows.first : oh;
    q.rows = rows.end - rows.first;
    q.columns = columns.end - columns.first;
    if (q.rows > 0 && q.columns > 0) {
        const int32_t ih = rows.origin + rows.first * s->stride_h - b->x_row;
        const int32_t iw = columns.origin + columns.first * s->stride_w;
        q.g = b->g + b->g_pixel * ((rows.first - oh) * s->out_w + columns.first);
        q.w = b->x + TILE * (ih * s->in_w + iw);
        q.g_column = FLOAT * b->g_pixel;
        q.g_row = q.g_column * (s->out_w - q.columns);
        q.w_column = FLOAT * TILE * s->stride_w;
        q.w_row = FLOAT * TILE * (s->stride_h * s->in_w - q.columns * s->stride_w);
        gg_m7_taps(&q);
    }
}

/* DW-S5: four channels and a band of output rows at a time; what lies in scratch serves all taps. */
void gg_depthwise_conv2d_vjp_w(const gg_depthwise_conv2d_t *p, const float *g, int32_t g_channels, const int8_t *x,
                               const float *dw0, const int32_t *selected, float *dw, void *scratch) {
    const gg_window_t *const s = &p->window;
    const int32_t taps = s->kernel_h * s->kernel_w;
    const gg_m7_depthwise_vjp_w_t size = gg_m7_depthwise_vjp_w_layout(p);
    if (size.bytes == 0) {
        gg_portable_depthwise_conv2d_vjp_w(p, g, g_channels, x, dw0, selected, dw, NULL);
        return;
    }
    for (int32_t c = 0; c < p->channels; c += TILE) {
        band_t b = {.first = c, .x = scratch};
        b.width = p->channels - c < TILE ? p->channels - c : TILE;
        for (int32_t oh = 0; oh < s->out_h; oh += size.rows) {
            const int32_t end = oh + size.rows < s->out_h ? oh + size.rows : s->out_h;
            const int32_t top = oh * s->stride_h - s->pad_top;
            const float *const from = oh > 0 ? dw : dw0;
            const float *const grad = g + oh * s->out_w * g_channels;
            b.x_row = top > 0 ? top : 0;
            take_x(p, x, &b, size.x_rows);
            if (selected == NULL && b.width == TILE) {
                b.g = grad + c;
                b.g_pixel = g_channels;
            } else {
                float *const there = b.x + TILE * size.x_rows * s->in_w;
                take_g(grad, g_channels, selected, &b, (end - oh) * s->out_w, there);
                b.g = there;
                b.g_pixel = TILE;
            }
            for (int32_t tap = 0; tap < taps; ++tap) {
                float sum[TILE] = {0};
                for (int32_t n = 0; from != NULL && n < b.width; ++n) {
                    sum[n] = from[tap * p->channels + c + n];
                }
                onto(p, &b, tap, oh, end, sum);
                for (int32_t n = 0; n < b.width; ++n) {
                    dw[tap * p->channels + c + n] = sum[n];
                }
            }
        }
    }
}

int32_t gg_depthwise_conv2d_vjp_w_scratch_bytes(const gg_depthwise_conv2d_t *p) {
    return gg_m7_depthwise_conv2d_vjp_w_scratch_bytes(p);
}
