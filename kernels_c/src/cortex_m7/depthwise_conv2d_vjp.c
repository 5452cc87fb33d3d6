#include <stdbool.h>
#include <stddef.h>

#include "../portable/rounding.h"
#include "chains_f32.h"
#include "depthwise_f32.h"
#include "goldgrad/cortex_m7.h"
#include "goldgrad/depthwise_conv2d.h"
#include "portable.h"

enum { WIDTH = GG_M7_TAPS_WIDTH, BLOCK = 4, PAIR = 2, PIXELS = 4, RIGHT = 1, LEFT = 2, FLOAT = 4 };

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

/*
 * Pixels of a row that lie a stride apart, from column iw on: the functions for four of them, if there are.  They and
 * the outputs they meet must be equally many, so that the first four alone touch the left edge and the last the right.
 */
static const gg_m7_quad_row_t *quads_of(const gg_window_t *s, int32_t iw) {
    const int32_t at = iw + s->pad_left;
    const int32_t tap = at % s->stride_w;
    const int32_t taps = (s->kernel_w - tap + s->stride_w - 1) / s->stride_w;
    const bool alike = s->stride_h == s->stride_w && s->in_w == s->out_w * s->stride_w && s->out_w % PIXELS == 0;
    for (int32_t i = 0; alike && i < GG_M7_QUAD_ROWS; ++i) {
        const gg_m7_quad_row_t *const row = gg_m7_quad_rows + i;
        const bool whole = s->out_w == PIXELS ? row->of[LEFT + RIGHT] != NULL : row->of[LEFT] != NULL;
        const bool middle = s->out_w <= 2 * PIXELS || row->of[0] != NULL;
        if (row->stride == s->stride_w && row->taps == taps && row->first == at / s->stride_w && whole && middle) {
            return row;
        }
    }
    return NULL;
}

/* Whether four pixels at a time are all: in every row, from every column. */
static bool in_quads(const gg_window_t *s) {
    for (int32_t iw = 0; iw < s->stride_w; ++iw) {
        if (quads_of(s, iw) == NULL) {
            return false;
        }
    }
    for (int32_t ih = 0; ih < s->in_h; ++ih) {
        if (meet(ih, s->pad_top, s->stride_h, s->kernel_h, s->out_h).count == 0) {
            return false;
        }
    }
    return true;
}

/* DW-S4 for blocks of channels from first on, four pixels at a time. */
static void quads(const gg_depthwise_conv2d_t *p, const float *g, const float *dx0, float *dx, int32_t first,
                  int32_t whole, const float *blocks) {
    const gg_window_t *const s = &p->window;
    const int32_t column = FLOAT * p->channels;
    const int32_t tap = FLOAT * BLOCK;
    gg_m7_quad_t all = {.g_column = column, .g_row = s->out_w * column, .c_column = s->stride_w * column};
    all.w_row = s->stride_h * s->kernel_w * tap;
    all.w_panel = s->kernel_h * s->kernel_w * tap;
    all.w_step = FLOAT * PAIR;
    all.pairs = whole * BLOCK / PAIR;
    all.start_column = dx0 != NULL ? all.c_column : 0;
    all.start_step = dx0 != NULL ? FLOAT * PAIR : 0;
    for (int32_t iw = 0; iw < s->stride_w; ++iw) {
        const gg_m7_quad_row_t *const row = quads_of(s, iw);
        const int32_t w_column = (iw + s->pad_left) % s->stride_w;
        for (int32_t ih = 0; ih < s->in_h; ++ih) {
            const meeting_t rows = meet(ih, s->pad_top, s->stride_h, s->kernel_h, s->out_h);
            for (int32_t ow = 0; ow < s->out_w; ow += PIXELS) {
                const int32_t pixel = (ih * s->in_w + iw + ow * s->stride_w) * p->channels + first;
                gg_m7_quad_t q = all;
                q.g = g + (rows.output * s->out_w + ow) * p->channels + first;
                q.w = blocks + (rows.tap * s->kernel_w + w_column) * BLOCK;
                q.start = dx0 != NULL ? dx0 + pixel : zeros;
                q.c = dx + pixel;
                q.rows = rows.count;
                row->of[(ow == 0 ? LEFT : 0) + (ow + PIXELS == s->out_w ? RIGHT : 0)](&q);
            }
        }
    }
}

/* DW-S4 for channels first .. first + width - 1, whose weights are in blocks, pixel by pixel. */
static void channels(const gg_depthwise_conv2d_t *p, const float *g, const float *dx0, float *dx, int32_t first,
                     int32_t width, const float *blocks, bool whole_are_done) {
    const gg_window_t *const s = &p->window;
    const int32_t taps = s->kernel_h * s->kernel_w;
    const int32_t whole = width / BLOCK;
    const int32_t left = width % BLOCK;
    const float *const rest = blocks + whole * BLOCK * taps;
    gg_m7_taps_t q = {.blocks = whole, .w_block = FLOAT * BLOCK * taps, .g_column = -FLOAT * p->channels};
    q.w_column = FLOAT * BLOCK * s->stride_w;
    if (whole_are_done && left == 0) {
        return;
    }
    for (int32_t ih = 0; ih < s->in_h; ++ih) {
        const meeting_t rows = meet(ih, s->pad_top, s->stride_h, s->kernel_h, s->out_h);
        for (int32_t iw = 0; iw < s->in_w; ++iw) {
            const meeting_t columns = meet(iw, s->pad_left, s->stride_w, s->kernel_w, s->out_w);
            const int32_t pixel = (ih * s->in_w + iw) * p->channels + first;
            const float *const start = dx0 != NULL ? dx0 + pixel : NULL;
            const float *const from = g + (rows.output * s->out_w + columns.output) * p->channels + first;
            const int32_t tap = rows.tap * s->kernel_w + columns.tap;
            const int32_t count = rows.count > 0 ? columns.count : 0;
            if (count > 0 && whole > 0 && !whole_are_done) {
                q.g = from;
                q.w = blocks + BLOCK * tap;
                q.c = dx + pixel;
                q.start = start != NULL ? start : zeros;
                q.start_step = start != NULL ? FLOAT * BLOCK : 0;
                q.rows = rows.count;
                q.columns = count;
                q.g_row = FLOAT * p->channels * (count - s->out_w);
                q.w_row = FLOAT * BLOCK * (s->stride_h * s->kernel_w - count * s->stride_w);
                gg_m7_taps(&q);
            }
            for (int32_t n = whole_are_done || count > 0 ? whole * BLOCK : 0; n < width; ++n) {
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
    const bool fours = in_quads(s);
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
        if (fours && width >= BLOCK) {
            quads(p, g, dx0, dx, first, width / BLOCK, blocks);
        }
        channels(p, g, dx0, dx, first, width, blocks, fours);
    }
}

int32_t gg_depthwise_conv2d_vjp_x_scratch_bytes(const gg_depthwise_conv2d_t *p) {
    return gg_m7_depthwise_conv2d_vjp_x_scratch_bytes(p);
}
