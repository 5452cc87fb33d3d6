#include <stddef.h>

#include "../portable/rounding.h"
#include "chains_f32.h"
#include "goldgrad/cortex_m7.h"
#include "goldgrad/depthwise_conv2d.h"
#include "portable.h"

enum { WIDTH = GG_M7_TAPS_WIDTH, BLOCK = 4 };

static const float zeros[BLOCK];

/*
 * Along one axis: the taps that meet an input, ascending; while the tap moves on by stride, the output moves back by
 * one.
 */
typedef struct {
    int32_t output, tap, count;
} meeting_t;

static meeting_t meet(int32_t input, int32_t pad, int32_t stride, int32_t kernel, int32_t outputs) {
    const int32_t at = input + pad;
    meeting_t m = {stride == 1 ? at : at / stride, 0, 0};
    if (m.output >= outputs) {
        m.output = outputs - 1;
    }
    m.tap = at - m.output * stride;
    if (m.tap < kernel) {
        const int32_t room = kernel - 1 - m.tap;
        m.count = (stride == 1 ? room : room / stride) + 1;
        if (m.count > m.output + 1) {
            m.count = m.output + 1;
        }
    }
    return m;
}

/* Codes as float32 in blocks of four channels, each [taps][4]; what is left over as [taps][left]. */
static void convert(const int8_t *w, int32_t taps, int32_t row, int32_t width, float *blocks) {
    const int32_t whole = width / BLOCK;
    const gg_m7_codes_t c = {.from = w, .from_row = row, .fours = whole, .rows = taps, .to = blocks};
    if (whole > 0) {
        gg_m7_floats(&c);
    }
    blocks += whole * BLOCK * taps;
    for (int32_t k = 0; width % BLOCK != 0 && k < taps; ++k) {
        for (int32_t n = whole * BLOCK; n < width; ++n) {
            *blocks++ = (float)w[k * row + n];
        }
    }
}

/* Where the weight of channel n and tap k is. */
static float *weight(float *blocks, int32_t taps, int32_t width, int32_t n, int32_t k) {
    const int32_t first = n / BLOCK * BLOCK;
    const int32_t wide = width - first < BLOCK ? width - first : BLOCK;
    return blocks + first * taps + k * wide + n % BLOCK;
}

/* The chain of one pixel of one channel, whose weights are w_tap apart. */
static float chain(const gg_depthwise_conv2d_t *p, const float *g, const float *w, int32_t rows, int32_t columns,
                   int32_t w_tap, float sum) {
    const gg_window_t *const s = &p->window;
    const int32_t w_column = s->stride_w * w_tap;
    const int32_t w_row = s->stride_h * s->kernel_w * w_tap - columns * w_column;
    const int32_t g_row = (s->out_w - columns) * p->channels;
    for (int32_t i = rows; i > 0; --i) {
        for (int32_t j = columns; j > 0; --j) {
            sum = gg_fma(*g, *w, sum);
            g -= p->channels;
            w += w_column;
        }
        g -= g_row;
        w += w_row;
    }
    return sum;
}

/* DW-S4 for channels first .. first + width - 1, whose weights are in blocks. */
static void channels(const gg_depthwise_conv2d_t *p, const float *g, const float *dx0, float *dx, int32_t first,
                     int32_t width, const float *blocks) {
    const gg_window_t *const s = &p->window;
    const int32_t taps = s->kernel_h * s->kernel_w;
    const int32_t whole = width / BLOCK;
    const int32_t left = width % BLOCK;
    const float *const rest = blocks + whole * BLOCK * taps;
    gg_m7_taps_t q = {.blocks = whole, .w_block = 4 * BLOCK * taps, .g_column = -4 * p->channels};
    q.w_column = 4 * BLOCK * s->stride_w;
    for (int32_t ih = 0; ih < s->in_h; ++ih) {
        const meeting_t rows = meet(ih, s->pad_top, s->stride_h, s->kernel_h, s->out_h);
        for (int32_t iw = 0; iw < s->in_w; ++iw) {
            const meeting_t columns = meet(iw, s->pad_left, s->stride_w, s->kernel_w, s->out_w);
            const int32_t pixel = (ih * s->in_w + iw) * p->channels + first;
            const float *const start = dx0 != NULL ? dx0 + pixel : NULL;
            const float *const from = g + (rows.output * s->out_w + columns.output) * p->channels + first;
            const int32_t tap = rows.tap * s->kernel_w + columns.tap;
            const int32_t count = rows.count > 0 ? columns.count : 0;
            if (count > 0 && whole > 0) {
                q.g = from;
                q.w = blocks + BLOCK * tap;
                q.c = dx + pixel;
                q.start = start != NULL ? start : zeros;
                q.start_step = start != NULL ? 4 * BLOCK : 0;
                q.rows = rows.count;
                q.columns = count;
                q.g_row = 4 * p->channels * (count - s->out_w);
                q.w_row = 4 * BLOCK * (s->stride_h * s->kernel_w - count * s->stride_w);
                gg_m7_taps(&q);
            }
            for (int32_t n = count > 0 ? whole * BLOCK : 0; n < width; ++n) {
                float sum = start != NULL ? start[n] : 0.0F;
                if (count > 0) {
                    sum = chain(p, from + n, rest + tap * left + n - whole * BLOCK, rows.count, count, left, sum);
                }
                dx[pixel + n] = sum;
            }
        }
    }
}

void gg_depthwise_conv2d_vjp_x(const gg_depthwise_conv2d_t *p, const float *g, const int8_t *w, const float *dx0,
                               const int8_t *trained, const int32_t *selected, int32_t kept, float *dx, void *scratch) {
    const gg_window_t *const s = &p->window;
    const int32_t taps = s->kernel_h * s->kernel_w;
    float *const blocks = scratch;
    int32_t j = 0;
    if (s->dilation_h != 1 || s->dilation_w != 1) {
        gg_portable_depthwise_conv2d_vjp_x(p, g, w, dx0, trained, selected, kept, dx, NULL);
        return;
    }
    for (int32_t first = 0; first < p->channels; first += WIDTH) {
        const int32_t width = p->channels - first < WIDTH ? p->channels - first : WIDTH;
        convert(w + first, taps, p->channels, width, blocks);
        for (; j < kept && selected[j] < first + width; ++j) { /* DW-S7 */
            for (int32_t k = 0; k < taps; ++k) {
                *weight(blocks, taps, width, selected[j] - first, k) = (float)trained[k * kept + j];
            }
        }
        channels(p, g, dx0, dx, first, width, blocks);
    }
}

int32_t gg_depthwise_conv2d_vjp_x_scratch_bytes(const gg_depthwise_conv2d_t *p) {
    return gg_m7_depthwise_conv2d_vjp_x_scratch_bytes(p);
}
