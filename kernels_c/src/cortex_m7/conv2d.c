/*
 * Convolutions as products of pixels and weights: what lies under an output's window is one pixel of kernel_h * kernel_w
 * * in_c channels.  A stripe of pixels is widened once, then each four outputs' weights, which meet all pixels of the
 * stripe (dot_int8.h).
 */
#include "goldgrad/conv2d.h"

#include <stddef.h>

#include "../portable/rounding.h"
#include "../portable/taps.h"
#include "bytes.h"
#include "conv2d_layout.h"
#include "dot_int8.h"
#include "goldgrad/cortex_m7.h"
#include "magic.h"

typedef void (*gg_dot_t)(gg_m7_dot_t *);

/* What stays the same during a call. */
typedef struct {
    const gg_conv2d_t *p;
    gg_m7_conv2d_layout_t at;
    int16_t *pixels, *rows;
    int32_t *sums;
    int8_t *narrow;   /* two patches or four rows, filled up with zeros */
    uint32_t less;    /* -x_zero, twice */
    float bound;      /* no sum without bias is larger */
    bool windows;     /* 3 x 3 x 3, widened as they lie, in words of an order of their own */
    bool whole_range; /* the clamp lets through whatever int8 can hold */
    gg_dot_t dot;
} gg_plan_t;

/* CONV-S1: what lies under the window of output (oh, ow), row_bytes from row to row, padding as x_zero. */
static void gather(const gg_plan_t *t, const int8_t *x, int32_t oh, int32_t ow, int32_t row_bytes, int8_t *patch) {
    const gg_window_t *const s = &t->p->window;
    const gg_taps_t rows = gg_row_taps(s, oh);
    const gg_taps_t columns = gg_column_taps(s, ow);
    const int32_t in_c = t->p->in_c;
    gg_m7_fill(patch, t->p->x_zero, t->windows ? 3 * row_bytes : t->at.depth);
    for (int32_t kh = rows.first; kh < rows.end; ++kh) {
        const int8_t *const row = x + (rows.origin + kh * s->dilation_h) * s->in_w * in_c;
        int8_t *const to = patch + kh * row_bytes;
        if (s->dilation_w == 1) {
            const int8_t *const from = row + (columns.origin + columns.first) * in_c;
            gg_m7_copy(to + columns.first * in_c, from, (columns.end - columns.first) * in_c);
        } else {
            for (int32_t kw = columns.first; kw < columns.end; ++kw) {
                gg_m7_copy(to + kw * in_c, row + (columns.origin + kw * s->dilation_w) * in_c, in_c);
            }
        }
    }
}

/* Pixels that are gathered one by one, in pairs; of an odd number the last is there twice. */
static void widen_patches(const gg_plan_t *t, gg_m7_pixels_t *pair, const int8_t *x, int32_t first, int32_t count) {
    const int32_t row_bytes = t->windows ? 12 : t->p->window.kernel_w * t->p->in_c;
    pair->pairs = 1;
    for (int32_t i = 0; i < count; i += 2) {
        for (int32_t j = 0; j < 2; ++j) {
            const int32_t pixel = first + (i + j < count ? i + j : i);
            int8_t *const patch = t->narrow + j * t->at.depth * 2;
            gather(t, x, pixel / t->p->window.out_w, pixel % t->p->window.out_w, row_bytes, patch);
            pair->from[j] = patch;
        }
        if (t->windows) {
            gg_m7_widen_windows(pair, row_bytes, t->less);
        } else {
            gg_m7_widen_pixels(pair, t->at.depth / 8, t->less);
        }
    }
}

/*
 * Windows that lie on the map in whole are widened as they lie, but for one at the map's end: 12 bytes are read of 9.
 * Stripes begin at an even pixel, so pairs never share one.
 */
static void widen_windows(const gg_plan_t *t, const int8_t *x, int32_t first, int32_t count) {
    const gg_window_t *const s = &t->p->window;
    const int32_t step = 3 * s->stride_w;
    const int32_t left = (s->pad_left + s->stride_w - 1) / s->stride_w; /* the first column in whole */
    gg_m7_pixels_t pairs = {{NULL, NULL}, t->pixels, 0, 2 * step};
    while (count > 0) {
        const int32_t oh = first / s->out_w;
        const int32_t ow = first % s->out_w;
        const gg_taps_t rows = gg_row_taps(s, oh);
        const int32_t room = s->in_w - 3 + s->pad_left - (rows.origin + 3 == s->in_h); /* the last column may begin here */
        const bool whole = rows.first == 0 && rows.end == 3 && ow >= left && room >= 0;
        const int32_t columns = room / s->stride_w + 1 < s->out_w ? room / s->stride_w + 1 : s->out_w;
        const int32_t here = ow + count <= columns ? count : columns - ow;
        if (whole && here >= 2) {
            pairs.from[0] = x + (rows.origin * s->in_w + ow * s->stride_w - s->pad_left) * 3;
            pairs.from[1] = pairs.from[0] + step;
            pairs.pairs = here / 2;
            gg_m7_widen_windows(&pairs, s->in_w * 3, t->less);
            first += here / 2 * 2;
            count -= here / 2 * 2;
        } else {
            widen_patches(t, &pairs, x, first, count < 2 ? count : 2);
            pairs.skip = 2 * step;
            first += 2;
            count -= 2;
        }
    }
}

/* The pixels first .. first + count - 1. */
static void widen_pixels(const gg_plan_t *t, const int8_t *x, int32_t first, int32_t count) {
    if (t->windows) {
        widen_windows(t, x, first, count);
        return;
    }
    gg_m7_pixels_t pairs = {{x + first * t->at.taps, NULL}, t->pixels, count / 2, t->at.taps};
    if (t->at.gathered != 0) {
        pairs.skip = 0;
        widen_patches(t, &pairs, x, first, count);
        return;
    }
    pairs.from[1] = pairs.from[0] + t->at.taps;
    if (pairs.pairs > 0) {
        gg_m7_widen_pixels(&pairs, t->at.depth / 8, t->less);
    }
    if (count % 2 != 0) {
        pairs.from[0] = x + (first + count - 1) * t->at.taps;
        pairs.from[1] = pairs.from[0];
        pairs.pairs = 1;
        gg_m7_widen_pixels(&pairs, t->at.depth / 8, t->less);
    }
}

/* CONV-S7: the channels that train in their places among four widened rows. */
static void put_trained(const gg_plan_t *t, const int8_t *trained, const int32_t *channels, int32_t kept,
                        int32_t first) {
    const int32_t last = t->p->out_c - 1;
    const int32_t row = t->at.taps / t->p->in_c * kept;
    const int8_t *from[4];
    for (int32_t i = 0; i < 4; ++i) {
        from[i] = trained + (first + i < last ? first + i : last) * row;
    }
    for (int32_t tap = 0; tap < t->at.taps; tap += t->p->in_c) {
        for (int32_t j = 0; j < kept; ++j) {
            const uint32_t k = (uint32_t)(tap + channels[j]);
            int16_t *const pair = t->rows + ((k & ~3U) + (k & 1U) * 2U) * 4U + (k >> 1U & 1U);
            pair[0] = *from[0]++;
            pair[2] = *from[1]++;
            pair[4] = *from[2]++;
            pair[6] = *from[3]++;
        }
    }
}

/* Weights of outputs first .. first + 3, where there are fewer the last again, and rows are filled up with zeros. */
static void widen_any_rows(const gg_plan_t *t, const int8_t *w, int32_t first) {
    const int32_t taps = t->at.taps;
    const int32_t step = t->at.depth;
    for (int32_t i = 0; i < 4; ++i) {
        int8_t *const row = t->narrow + i * step;
        gg_m7_fill(row + step - 8, 0, 8);
        gg_m7_copy(row, w + (first + i < t->p->out_c ? first + i : t->p->out_c - 1) * taps, taps);
    }
    if (t->windows) {
        gg_m7_widen_window_rows(t->narrow, step, t->rows);
    } else {
        gg_m7_widen_rows(t->narrow, step, t->rows, t->at.depth / 8);
    }
}

static inline void widen_rows(const gg_plan_t *t, const int8_t *w, int32_t first) {
    const int32_t taps = t->at.taps;
    if (first + 4 > t->p->out_c || (taps < t->at.depth && !t->windows)) {
        widen_any_rows(t, w, first);
    } else if (t->windows) {
        gg_m7_widen_window_rows(w + first * taps, taps, t->rows);
    } else {
        gg_m7_widen_rows(w + first * taps, taps, t->rows, taps / 8);
    }
}

/* CONV-S2, CONV-S3: outputs o .. o + count - 1 of pixels first .. end - 1 of a stripe, from their sums, the general way. */
static void finish(const gg_plan_t *t, int32_t first, int32_t end, int32_t o, int32_t count, const float *m, int8_t *y,
                   uint8_t *mask) {
    const gg_conv2d_t *const p = t->p;
    const int32_t *sums = t->sums;
    for (int32_t pixel = first; pixel < end; ++pixel, sums += 4) {
        for (int32_t i = 0; i < count; ++i) {
            bool inside;
            const int32_t c = o + i;
            y[pixel * p->out_c + c] = gg_requantize(sums[i], m[c], p->y_zero, p->lo, p->hi, &inside);
            if (mask != NULL) {
                uint8_t *const byte = mask + pixel * gg_mask_bytes(p->out_c) + c / 8;
                *byte = (uint8_t)(*byte | (uint32_t)inside << (uint32_t)(c % 8));
            }
        }
    }
}

/* Outputs o .. o + 3 of pixels first .. end - 1 of a stripe, whatever they need; first is even. */
static void any_block(const gg_plan_t *t, gg_m7_dot_t *dot, int32_t first, int32_t end, int32_t o, const int32_t *b,
                      const float *m, int8_t *y, uint8_t *mask) {
    const int32_t count = t->p->out_c - o < 4 ? t->p->out_c - o : 4;
    int32_t bias[4];
    for (int32_t i = 0; i < 4; ++i) {
        bias[i] = b[o + (i < count ? i : count - 1)];
    }
    dot->bias = bias;
    dot->x = t->pixels + first * t->at.depth;
    dot->x_end = t->pixels + (end + 1) / 2 * 2 * t->at.depth;
    dot->y = (int8_t *)t->sums;
    gg_m7_dot_raw(dot);
    finish(t, first, end, o, count, m, y, mask);
}

/* Groups of four outputs from o on of pairs of pixels, by the way that is fast; rows is NULL where they are widened. */
static void fast_blocks(const gg_plan_t *t, gg_m7_dot_t *dot, int32_t pixels, const int8_t *rows, int32_t groups,
                        int32_t o, const int32_t *b, const float *m, int8_t *y, uint8_t *mask) {
    dot->bias = b + o;
    dot->m = m + o;
    dot->x = t->pixels;
    dot->x_end = t->pixels + pixels / 2 * 2 * t->at.depth;
    dot->y = y + o;
    dot->mask = mask != NULL ? mask + o / 8 : NULL;
    dot->bits = o % 8 == 0 ? 0x08040201U : 0x80402010U;
    dot->rows = rows;
    dot->groups = groups;
    t->dot(dot);
}

/* Whether all whole groups of four outputs can go that way, as far as they decide. */
static bool are_fast(const gg_plan_t *t, const int32_t *b, const float *m) {
    bool fast = t->whole_range;
    for (int32_t o = 0; fast && o + 4 <= t->p->out_c; o += 4) {
        fast = gg_m7_are_proven(b + o, m + o, t->bound);
    }
    return fast;
}

void gg_conv2d_forward(const gg_conv2d_t *p, const int8_t *x, const int8_t *w, const int32_t *b, const float *m,
                       const int8_t *trained, const int32_t *channels, int32_t kept, int8_t *y, uint8_t *mask,
                       void *scratch) {
    const gg_m7_conv2d_layout_t at = gg_m7_conv2d_layout(p);
    const int32_t pixels = p->window.out_h * p->window.out_w;
    const int32_t whole = p->out_c / 4 * 4;
    const gg_dot_t even = mask != NULL ? gg_m7_dot_mask : gg_m7_dot;
    const gg_dot_t odd = mask != NULL ? gg_m7_dot_mask_odd : gg_m7_dot_odd;
    const gg_plan_t t = {
        .p = p,
        .at = at,
        .rows = scratch,
        .pixels = (int16_t *)scratch + at.pixels / 2,
        .sums = (int32_t *)scratch + at.sums / 4,
        .narrow = (int8_t *)scratch + at.narrow,
        .less = ((uint32_t)-p->x_zero & 0xFFFFU) * 0x10001U,
        .bound = gg_m7_bound(at.taps, p->x_zero),
        .windows = at.windows != 0 && kept == 0,
        .whole_range = p->lo == -128 && p->hi == 127,
        .dot = p->y_zero % 2 == 0 ? even : odd,
    };
    gg_m7_dot_t dot;
    dot.w = t.rows;
    *(uint32_t *)(void *)(t.rows + 4 * at.depth) = GG_M7_DOT_END;
    dot.x_two = t.pixels + 4 * at.depth;
    dot.y_step = p->out_c;
    dot.magic = gg_m7_magic(p->y_zero);
    dot.mask_step = gg_mask_bytes(p->out_c);
    dot.depth = at.depth;
    dot.turns = at.depth > 8 || mask != NULL ? gg_m7_dot_turns(at.depth / 8) : NULL;
    if (mask != NULL) {
        gg_m7_fill(mask, 0, pixels * dot.mask_step);
    }
    const bool fast = are_fast(&t, b, m);
    const bool as_they_lie = at.taps == at.depth && kept == 0; /* rows can be widened one after another */
    for (int32_t first = 0; first < pixels; first += at.stripe) {
        const int32_t count = pixels - first < at.stripe ? pixels - first : at.stripe;
        int8_t *const codes = y + first * p->out_c;
        uint8_t *const marks = mask != NULL ? mask + first * dot.mask_step : NULL;
        const bool enough = count >= 4; /* pixels */
        int32_t o = 0;
        widen_pixels(&t, x, first, count);
        if (fast && as_they_lie && enough && count % 2 == 0 && whole > 0) {
            fast_blocks(&t, &dot, count, w, whole / 4, 0, b, m, codes, marks);
            o = whole;
        }
        for (; o < p->out_c; o += 4) {
            widen_rows(&t, w, o);
            if (kept > 0) {
                put_trained(&t, trained, channels, kept, o);
            }
            int32_t done = 0;
            if (enough && o < whole && (fast || (t.whole_range && gg_m7_are_proven(b + o, m + o, t.bound)))) {
                fast_blocks(&t, &dot, count, NULL, 1, o, b, m, codes, marks);
                done = count / 2 * 2;
            }
            if (done < count) {
                any_block(&t, &dot, done, count, o, b, m, codes, marks);
            }
        }
    }
}

int32_t gg_conv2d_forward_scratch_bytes(const gg_conv2d_t *p) {
    return gg_m7_conv2d_forward_scratch_bytes(p);
}
