/*
 * Convolutions as products of pixels and weights: what lies under an output's window is one pixel of kernel_h * kernel_w
 * * in_c channels.  A stripe of pixels is widened once, then each four outputs' weights, which meet all pixels of the
 * stripe (dot_int8.h).
 */
#include "goldgrad/conv2d.h"

#include <stddef.h>

#include "../portable/rounding.h"
#include "../portable/taps.h"
#include "conv2d_layout.h"
#include "dot_int8.h"
#include "goldgrad/cortex_m7.h"

/* What stays the same during a call. */
typedef struct {
    const gg_conv2d_t *p;
    gg_m7_conv2d_layout_t at;
    int16_t *pixels, *rows;
    int32_t *sums;
    int8_t *narrow;   /* two patches or four rows, filled up with zeros */
    uint32_t less;    /* -x_zero, twice */
    float bound;      /* no sum without bias is larger */
    bool whole_range; /* the clamp lets through whatever int8 can hold */
} gg_plan_t;

/* CONV-S1: what lies under the window of output (oh, ow), padding as x_zero. */
static void gather(const gg_plan_t *t, const int8_t *x, int32_t oh, int32_t ow, int8_t *patch) {
    const gg_window_t *const s = &t->p->window;
    const gg_taps_t rows = gg_row_taps(s, oh);
    const gg_taps_t columns = gg_column_taps(s, ow);
    const size_t depth = (size_t)t->p->in_c;
    __builtin_memset(patch, t->p->x_zero, (size_t)t->at.depth);
    for (int32_t kh = rows.first; kh < rows.end; ++kh) {
        const int8_t *const row = x + (rows.origin + kh * s->dilation_h) * s->in_w * t->p->in_c;
        for (int32_t kw = columns.first; kw < columns.end; ++kw) {
            const int32_t iw = columns.origin + kw * s->dilation_w;
            __builtin_memcpy(patch + (kh * s->kernel_w + kw) * t->p->in_c, row + iw * t->p->in_c, depth);
        }
    }
}

/* The pixels first .. first + count - 1, widened in pairs; of an odd number the last is there twice. */
static void widen_pixels(const gg_plan_t *t, const int8_t *x, int32_t first, int32_t count) {
    gg_m7_pixels_t pair = {{NULL, NULL}, t->pixels};
    for (int32_t i = 0; i < count; i += 2) {
        const int32_t both[2] = {first + i, i + 1 < count ? first + i + 1 : first + i};
        for (int32_t j = 0; j < 2; ++j) {
            pair.from[j] = x + both[j] * t->at.taps;
            if (t->at.narrow != 0) {
                int8_t *const patch = t->narrow + j * t->at.depth;
                gather(t, x, both[j] / t->p->window.out_w, both[j] % t->p->window.out_w, patch);
                pair.from[j] = patch;
            }
        }
        gg_m7_widen_pixels(&pair, t->at.depth / 8, t->less);
    }
}

/* Weights of outputs first .. first + 3; where there are fewer, the last again. */
static void widen_rows(const gg_plan_t *t, const int8_t *w, const int8_t *trained, const int32_t *channels,
                       int32_t kept, int32_t first) {
    gg_m7_rows_t four = {{NULL}, t->rows};
    int32_t outputs[4];
    for (int32_t i = 0; i < 4; ++i) {
        outputs[i] = first + i < t->p->out_c ? first + i : t->p->out_c - 1;
        four.from[i] = w + outputs[i] * t->at.taps;
        if (t->at.taps < t->at.depth) {
            int8_t *const row = t->narrow + i * t->at.depth;
            __builtin_memset(row + t->at.depth - 8, 0, 8);
            __builtin_memcpy(row, four.from[i], (size_t)t->at.taps);
            four.from[i] = row;
        }
    }
    gg_m7_widen_rows(&four, t->at.depth / 4);
    for (int32_t j = 0; j < kept; ++j) { /* CONV-S7 */
        for (int32_t k = channels[j], tap = 0; k < t->at.taps; k += t->p->in_c, ++tap) {
            int16_t *const pair = t->rows + (k / 4 * 2 + k % 2) * 8 + k / 2 % 2;
            for (int32_t i = 0; i < 4; ++i) {
                pair[2 * i] = trained[(outputs[i] * (t->at.taps / t->p->in_c) + tap) * kept + j];
            }
        }
    }
}

/* Whether no output's code can leave 16 bits, whatever the pixels are. */
static bool is_proven(const gg_plan_t *t, const int32_t *b, const float *m) {
    bool proven = t->whole_range;
    for (int32_t i = 0; i < 4; ++i) {
        const float bias = (float)b[i];
        proven = proven && ((bias < 0.0F ? -bias : bias) + t->bound) * m[i] < 32000.0F;
    }
    return proven;
}

/* CONV-S2, CONV-S3: count outputs from the sums of a stripe, the general way. */
static void finish(const gg_plan_t *t, int32_t pixels, int32_t first, int32_t count, const float *m, int8_t *y,
                   uint8_t *mask) {
    const gg_conv2d_t *const p = t->p;
    for (int32_t pixel = 0; pixel < pixels; ++pixel) {
        for (int32_t i = 0; i < count; ++i) {
            bool inside;
            const int32_t o = first + i;
            y[pixel * p->out_c + o] = gg_requantize(t->sums[4 * pixel + i], m[o], p->y_zero, p->lo, p->hi, &inside);
            if (mask != NULL) {
                uint8_t *const byte = mask + pixel * gg_mask_bytes(p->out_c) + o / 8;
                *byte = (uint8_t)(*byte | (uint32_t)inside << (uint32_t)(o % 8));
            }
        }
    }
}

/* Outputs first .. first + 3 of a stripe. */
static void block(const gg_plan_t *t, int32_t pixels, int32_t first, const int32_t *b, const float *m, int8_t *y,
                  uint8_t *mask) {
    const gg_conv2d_t *const p = t->p;
    const int32_t count = p->out_c - first < 4 ? p->out_c - first : 4;
    const uint32_t offset = (uint32_t)(p->y_zero + 128);
    gg_m7_dot_t dot = {.w = t->rows, .w_end = t->rows + 8 * t->at.depth / 2 + 2, .x = t->pixels};
    for (int32_t i = 0; i < 4; ++i) {
        dot.bias[i] = b[first + (i < count ? i : count - 1)];
        dot.m[i] = m[first + (i < count ? i : count - 1)];
    }
    if (count < 4 || !is_proven(t, dot.bias, dot.m)) {
        dot.y = (int8_t *)t->sums;
        dot.y_end = (int8_t *)(t->sums + (pixels + 1) / 2 * 8);
        gg_m7_dot_raw(&dot);
        finish(t, pixels, first, count, m, y, mask);
        return;
    }
    dot.offset = offset << 16 | offset;
    dot.y = y + first;
    dot.y_step = p->out_c;
    dot.y_end = dot.y + pixels / 2 * 2 * p->out_c;
    dot.mask = mask != NULL ? mask + first / 8 : NULL;
    dot.mask_step = gg_mask_bytes(p->out_c);
    dot.shift = first % 8;
    void (*const run)(gg_m7_dot_t *) = mask != NULL ? gg_m7_dot_mask : gg_m7_dot;
    if (pixels > 1) {
        run(&dot);
    }
    if (pixels % 2 != 0) { /* the last one twice, to the same place */
        dot.x = t->pixels + (pixels - 1) * t->at.depth;
        dot.y_step = 0;
        dot.y_end = dot.y;
        dot.mask_step = 0;
        run(&dot);
    }
}

void gg_conv2d_forward(const gg_conv2d_t *p, const int8_t *x, const int8_t *w, const int32_t *b, const float *m,
                       const int8_t *trained, const int32_t *channels, int32_t kept, int8_t *y, uint8_t *mask,
                       void *scratch) {
    const gg_m7_conv2d_layout_t at = gg_m7_conv2d_layout(p);
    const int32_t pixels = p->window.out_h * p->window.out_w;
    const int32_t farthest = p->x_zero < 0 ? 127 - p->x_zero : p->x_zero + 128;
    const gg_plan_t t = {
        .p = p,
        .at = at,
        .rows = scratch,
        .pixels = (int16_t *)scratch + at.pixels / 2,
        .sums = (int32_t *)scratch + at.sums / 4,
        .narrow = (int8_t *)scratch + at.narrow,
        .less = ((uint32_t)-p->x_zero & 0xFFFFU) * 0x10001U,
        .bound = (float)at.taps * 127.0F * (float)farthest,
        .whole_range = p->lo == -128 && p->hi == 127,
    };
    if (mask != NULL) {
        __builtin_memset(mask, 0, (size_t)(pixels * gg_mask_bytes(p->out_c)));
    }
    for (int32_t first = 0; first < pixels; first += at.stripe) {
        const int32_t count = pixels - first < at.stripe ? pixels - first : at.stripe;
        uint8_t *const marks = mask != NULL ? mask + first * gg_mask_bytes(p->out_c) : NULL;
        widen_pixels(&t, x, first, count);
        for (int32_t o = 0; o < p->out_c; o += 4) {
            widen_rows(&t, w, trained, channels, kept, o);
            block(&t, count, o, b, m, y + first * p->out_c, marks);
        }
    }
}

int32_t gg_conv2d_forward_scratch_bytes(const gg_conv2d_t *p) {
    return gg_m7_conv2d_forward_scratch_bytes(p);
}
