/*
 * Depthwise convolutions of 3 x 3, 5 x 5 and 7 x 7 taps at stride 1 or 2: four channels at a time become planes
 * (depthwise_int8.h), and a row of outputs comes from some rows of these.  Anything else is the portable kernel's.
 */
#include "goldgrad/depthwise_conv2d.h"

#include <stddef.h>

#include "../portable/taps.h"
#include "bytes.h"
#include "depthwise_int8.h"
#include "depthwise_layout.h"
#include "goldgrad/cortex_m7.h"
#include "magic.h"
#include "portable.h"

/* Functions of a shape: taps a row, stride, outputs a block. */
typedef struct {
    int32_t taps, stride, block;
    void (*run)(const gg_m7_depthwise_t *);
    void (*weights)(const int8_t *, int32_t, int16_t *);
} gg_shape_t;

static const gg_shape_t shapes[] = {
    {3, 1, 8, gg_m7_depthwise_3_1_8, gg_m7_depthwise_weights_3_1},
    {3, 1, 4, gg_m7_depthwise_3_1_4, gg_m7_depthwise_weights_3_1},
    {3, 2, 8, gg_m7_depthwise_3_2_8, gg_m7_depthwise_weights_3_2},
    {3, 2, 4, gg_m7_depthwise_3_2_4, gg_m7_depthwise_weights_3_2},
    {5, 1, 4, gg_m7_depthwise_5_1_4, gg_m7_depthwise_weights_5_1},
    {5, 2, 4, gg_m7_depthwise_5_2_4, gg_m7_depthwise_weights_5_2},
    {7, 1, 4, gg_m7_depthwise_7_1_4, gg_m7_depthwise_weights_7_1},
    {7, 2, 4, gg_m7_depthwise_7_2_4, gg_m7_depthwise_weights_7_2},
};

typedef void (*gg_merging_t)(const gg_m7_merge_t *);

/* What stays the same during a call; stripe is of the rows of outputs first_row .. first_row + rows - 1. */
typedef struct {
    const gg_depthwise_conv2d_t *p;
    const gg_shape_t *shape;
    gg_merging_t merging;
    gg_m7_depthwise_layout_t at;
    uint8_t *scratch;
    int32_t first_row, rows;
    int32_t top, met, end; /* the map's row of the first plane row, and the rows of the map that are planes */
} gg_stripe_t;

static bool is_proven(const gg_depthwise_conv2d_t *p, const int32_t *b, const float *m) {
    const float bound = gg_m7_bound(p->window.kernel_h * p->window.kernel_w, p->x_zero);
    bool proven = p->lo == -128 && p->hi == 127;
    for (int32_t c = 0; proven && c < p->channels; ++c) {
        proven = gg_m7_is_proven(b[c], m[c], bound);
    }
    return proven;
}

static void clear(void *words, int32_t bytes) {
    uint32_t *const word = words;
    for (int32_t i = 0; i < bytes / 4; ++i) {
        word[i] = 0;
        __asm__ volatile("");
    }
}

/* WIN-S2: zeros where planes are padding, once for all channels. */
static void pad(const gg_stripe_t *t) {
    const gg_window_t *const s = &t->p->window;
    const int32_t left = (s->pad_left + 1) / 2 * 16;
    const int32_t right = (s->pad_left + s->in_w) / 2 * 16;
    for (int32_t i = 0; i < t->at.rows; ++i) {
        uint8_t *const row = t->scratch + i * t->at.row_bytes;
        if (t->top + i < t->met || t->top + i >= t->end) {
            clear(row, t->at.row_bytes);
        } else {
            clear(row, left);
            clear(row + right, t->at.row_bytes - right);
        }
    }
}

/* Planes of the channels from first on. */
static void fill(const gg_stripe_t *t, const int8_t *x, int32_t first) {
    const gg_window_t *const s = &t->p->window;
    const int32_t leads = s->pad_left % 2;
    const int32_t row_x = s->in_w * t->p->channels;
    uint8_t *const row = t->scratch + (t->met - t->top) * t->at.row_bytes;
    gg_m7_planes_t planes = {
        .x = x + t->met * row_x + first,
        .step = t->p->channels,
        .to = (int16_t *)(void *)(row + s->pad_left / 2 * 16),
        .pairs = (s->in_w - leads) / 2,
        .less = ((uint32_t)-t->p->x_zero & 0xFFFFU) * 0x10001U,
        .row_x = row_x,
        .row_to = t->at.row_bytes,
        .rows = t->end - t->met,
        .leads = leads,
        .trails = (s->in_w - leads) % 2,
    };
    gg_m7_planes(&planes);
}

/* DW-S7: the taps of four channels side by side, those that train in their places. */
static const int8_t *gathered(const gg_stripe_t *t, const int8_t *w, const int8_t *trained, const int32_t *selected,
                              int32_t kept, int32_t first) {
    const int32_t taps = t->p->window.kernel_h * t->p->window.kernel_w;
    int8_t *const to = (int8_t *)t->scratch + t->at.taps;
    for (int32_t k = 0; k < taps; ++k) {
        gg_m7_copy(to + 4 * k, w + k * t->p->channels + first, 4);
    }
    for (int32_t j = 0; j < kept; ++j) {
        for (int32_t k = 0; selected[j] >= first && selected[j] < first + 4 && k < taps; ++k) {
            to[4 * k + selected[j] - first] = trained[k * kept + j];
        }
    }
    return to;
}

/* What the stripe's rows of outputs meet (WIN-S2); of three taps a row, zeros where that is no row of the map. */
static void meet(const gg_stripe_t *t) {
    const gg_window_t *const s = &t->p->window;
    gg_m7_met_t *met = (gg_m7_met_t *)(void *)(t->scratch + t->at.met);
    for (int32_t i = 0; i < t->rows; ++i, ++met) {
        gg_taps_t rows = {0, 0, 3};
        if (s->kernel_h != 3) {
            rows = gg_row_taps(s, t->first_row + i);
        }
        met->x = (i * s->stride_h + rows.first) * t->at.row_bytes;
        met->w = 4 * t->at.words * rows.first;
        met->w_end = 4 * t->at.words * rows.end;
    }
}

/* DW-S2, DW-S3, one by one: outputs pixel .. of the row at y, of channels first + skipped .. first + 3. */
static void finish(const gg_stripe_t *t, const int16_t *codes, int32_t pixel, int32_t first, int32_t skipped, int8_t *y,
                   uint8_t *mask) {
    const gg_depthwise_conv2d_t *const p = t->p;
    const int32_t odd = p->y_zero % 2 != 0;
    for (; pixel < p->window.out_w; ++pixel) {
        for (int32_t i = skipped; i < 4; ++i) {
            const int32_t c = first + i;
            const int32_t code = codes[i * t->rows * t->at.block * t->at.blocks + pixel] + odd - 128;
            y[pixel * p->channels + c] = (int8_t)(code < -128 ? -128 : code > 127 ? 127 : code);
            if (mask != NULL) {
                uint8_t *const byte = mask + pixel * gg_mask_bytes(p->channels) + c / 8;
                *byte = (uint8_t)(*byte | (uint32_t)(-128 <= code && code <= 127) << (uint32_t)(c % 8));
            }
        }
    }
}

/*
 * Four channels' codes of a stripe become outputs, at once where rows of blocks are rows of outputs.  Where skipped of
 * the channels were there before, their masks come one by one.
 */
static void merge(const gg_stripe_t *t, const int16_t *codes, int32_t first, int32_t skipped, int8_t *y,
                  uint8_t *mask) {
    const gg_depthwise_conv2d_t *const p = t->p;
    const int32_t out_w = p->window.out_w;
    const int32_t length = t->at.block * t->at.blocks;
    const bool at_once = length == out_w;
    const gg_merging_t merging = mask != NULL && skipped > 0 ? NULL : t->merging;
    gg_m7_merge_t merge;
    merge.step = p->channels;
    merge.pairs = at_once ? t->rows * out_w / 2 : out_w / 2;
    merge.mask_step = gg_mask_bytes(p->channels);
    merge.shift = first % 8;
    for (int32_t i = 0; i < t->rows; ++i) {
        const int16_t *const row = codes + i * length;
        merge.codes[0] = row;
        merge.codes[1] = row + t->rows * length;
        merge.codes[2] = row + 2 * t->rows * length;
        merge.codes[3] = row + 3 * t->rows * length;
        merge.y = y + first;
        merge.mask = mask != NULL ? mask + first / 8 : NULL;
        if (merging != NULL && merge.pairs > 0) {
            merging(&merge);
            if (at_once) {
                return;
            }
        }
        if (merging == NULL || out_w % 2 != 0) {
            finish(t, row, merging == NULL ? 0 : out_w - 1, first, skipped, y, mask);
        }
        y += out_w * p->channels;
        mask = mask != NULL ? mask + out_w * merge.mask_step : NULL;
    }
}

void gg_depthwise_conv2d_forward(const gg_depthwise_conv2d_t *p, const int8_t *x, const int8_t *w, const int32_t *b,
                                 const float *m, const int8_t *trained, const int32_t *selected, int32_t kept,
                                 int8_t *y, uint8_t *mask, void *scratch) {
    const gg_window_t *const s = &p->window;
    gg_stripe_t t = {.p = p, .shape = shapes, .at = gg_m7_depthwise_layout(p), .scratch = scratch};
    if (t.at.block == 0 || !is_proven(p, b, m)) {
        gg_portable_depthwise_conv2d_forward(p, x, w, b, m, trained, selected, kept, y, mask, NULL);
        return;
    }
    while (t.shape->taps != s->kernel_h || t.shape->stride != s->stride_h || t.shape->block != t.at.block) {
        ++t.shape;
    }
    if (p->y_zero % 2 == 0) {
        t.merging = mask != NULL ? gg_m7_merge_mask : gg_m7_merge;
    } else {
        t.merging = mask != NULL ? gg_m7_merge_mask_odd : gg_m7_merge_odd;
    }
    if (mask != NULL) {
        gg_m7_fill(mask, 0, s->out_h * s->out_w * gg_mask_bytes(p->channels));
    }
    gg_m7_depthwise_t four = {
        .row_bytes = t.at.row_bytes,
        .w_bytes = 4 * t.at.words * s->kernel_h,
        .blocks = t.at.blocks,
        .x = scratch,
        .w = (const int16_t *)(void *)(t.scratch + t.at.weights),
        .rows = (const gg_m7_met_t *)(void *)(t.scratch + t.at.met),
        .codes = (int16_t *)(void *)(t.scratch + t.at.codes) - t.at.block,
        .magic = gg_m7_magic(p->y_zero),
    };
    for (t.first_row = 0; t.first_row < s->out_h; t.first_row += t.at.stripe) {
        t.rows = s->out_h - t.first_row < t.at.stripe ? s->out_h - t.first_row : t.at.stripe;
        t.top = t.first_row * s->stride_h - s->pad_top;
        t.met = t.top < 0 ? 0 : t.top;
        t.end = t.top + (t.rows - 1) * s->stride_h + s->kernel_h;
        t.end = t.end < s->in_h ? t.end : s->in_h;
        four.rows_end = four.rows + t.rows;
        meet(&t);
        pad(&t);
        for (int32_t c = 0; c < p->channels; c += 4) {
            const int32_t first = c + 4 <= p->channels ? c : p->channels - 4;
            fill(&t, x, first);
            const int8_t *taps = w + first;
            int32_t step = p->channels;
            if (kept > 0) {
                taps = gathered(&t, w, trained, selected, kept, first);
                step = 4;
            }
            t.shape->weights(taps, step, (int16_t *)(void *)(t.scratch + t.at.weights));
            for (int32_t i = 0; i < 4; ++i) {
                four.bias[i] = b[first + i];
                four.m[i] = m[first + i];
            }
            t.shape->run(&four);
            merge(&t, four.codes + t.at.block, first, c - first, y + t.first_row * s->out_w * p->channels,
                  mask != NULL ? mask + t.first_row * s->out_w * gg_mask_bytes(p->channels) : NULL);
        }
    }
}

int32_t gg_depthwise_conv2d_forward_scratch_bytes(const gg_depthwise_conv2d_t *p) {
    return gg_m7_depthwise_conv2d_forward_scratch_bytes(p);
}
