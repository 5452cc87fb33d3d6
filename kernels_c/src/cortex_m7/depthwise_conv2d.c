/*
 * Depthwise convolutions of 3 x 3, 5 x 5 and 7 x 7 taps at stride 1 or 2: four channels at a time become planes
 * (depthwise_int8.h), and blocks of outputs come from some rows of these.  Anything else is the portable kernel's.
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

/* Functions of taps a row and stride. */
typedef struct {
    void (*wide)(const gg_m7_depthwise_t *);
    void (*narrow)(const gg_m7_depthwise_t *);
    void (*weights)(const int8_t *, int32_t, int16_t *, int32_t);
} gg_shape_t;

static const gg_shape_t shapes[3][2] = {
    {{gg_m7_depthwise_3_1_wide, gg_m7_depthwise_3_1_narrow, gg_m7_depthwise_weights_3_1},
     {gg_m7_depthwise_3_2_wide, gg_m7_depthwise_3_2_narrow, gg_m7_depthwise_weights_3_2}},
    {{gg_m7_depthwise_5_1_wide, gg_m7_depthwise_5_1_narrow, gg_m7_depthwise_weights_5_1},
     {gg_m7_depthwise_5_2_wide, gg_m7_depthwise_5_2_narrow, gg_m7_depthwise_weights_5_2}},
    {{gg_m7_depthwise_7_1_wide, gg_m7_depthwise_7_1_narrow, gg_m7_depthwise_weights_7_1},
     {gg_m7_depthwise_7_2_wide, gg_m7_depthwise_7_2_narrow, gg_m7_depthwise_weights_7_2}},
};

/* What stays the same during a call, and the stripe of the rows of outputs first_row .. first_row + rows - 1. */
typedef struct {
    const gg_depthwise_conv2d_t *p;
    gg_m7_depthwise_layout_t at;
    uint8_t *scratch;
    int32_t first_row, rows;
    int32_t top, met, end; /* the map's row of the first plane row, and the rows of the map that are planes */
    int32_t channel;       /* codes of one, in bytes */
} gg_stripe_t;

/* What gg_m7_are_proven says of all channels. */
static bool is_proven(const gg_depthwise_conv2d_t *p, const int32_t *b, const float *m) {
    const float bound = gg_m7_bound(p->window.kernel_h * p->window.kernel_w, p->x_zero);
    bool proven = p->lo == -128 && p->hi == 127;
    for (int32_t c = 0; proven && c < p->channels; c += 4) {
        const int32_t first = c + 4 <= p->channels ? c : p->channels - 4;
        proven = gg_m7_are_proven(b + first, m + first, bound);
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

/* WIN-S2: zeros where planes are padding and gg_m7_planes writes nothing, once for all groups. */
static void pad(const gg_stripe_t *t) {
    const gg_window_t *const s = &t->p->window;
    const int32_t row_bytes = t->at.row_bytes;
    const int32_t left = s->pad_left / 2 * 16;
    const int32_t right = (s->pad_left + s->in_w + 1) / 2 * 16;
    const int32_t above = t->met - t->top;
    const int32_t below = t->top + t->at.rows - t->end;
    uint8_t *planes = t->scratch;
    for (int32_t group = 0; group < t->at.groups; ++group, planes += t->at.planes) {
        clear(planes, above * row_bytes);
        clear(planes + t->at.planes - below * row_bytes, below * row_bytes);
        for (int32_t i = above; (left > 0 || right < row_bytes) && i < t->at.rows - below; ++i) {
            clear(planes + i * row_bytes, left);
            clear(planes + i * row_bytes + right, row_bytes - right);
        }
    }
}

/* Planes of a stripe, of groups of the channels at x. */
static void fill(const gg_stripe_t *t, const int8_t *x, int32_t groups) {
    const gg_window_t *const s = &t->p->window;
    const int32_t leads = s->pad_left % 2;
    const int32_t pairs = (s->in_w - leads) / 2;
    const int32_t trails = (s->in_w - leads) % 2;
    const int32_t whole = leads * (pairs % 2) * trails;
    const int32_t behind_row = t->at.row_bytes - (leads + (s->in_w - leads + 1) / 2) * 16;
    uint8_t *const row = t->scratch + (t->met - t->top) * t->at.row_bytes;
    gg_m7_planes_t planes = {
        .x = x + t->met * s->in_w * t->p->channels,
        .step = t->p->channels,
        .to = (int16_t *)(void *)(row + s->pad_left / 2 * 16),
        .less = ((uint32_t)-t->p->x_zero & 0xFFFFU) * 0x10001U,
        .pad = ((uint32_t)t->p->x_zero & 0xFFU) * 0x01010101U,
        .whole = whole,
        .leads = leads,
        .single = pairs % 2,
        .doubles = pairs / 2,
        .trails = trails - whole,
        .last = (s->in_w - 1) * t->p->channels,
        .last_to = (pairs + 1) * 16,
        .gap = whole != 0 ? behind_row + 16 : behind_row,
        .x_gap = whole != 0 ? t->p->channels : 0,
        .rows = t->end - t->met,
        .behind = t->at.planes - (t->end - t->met) * t->at.row_bytes,
        .groups = groups,
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

/* The way from block to block of three taps a row, all rows of which are met; zeros are where the map is not. */
static void meet_three(const gg_stripe_t *t) {
    const int32_t step = 8 * 8 * t->p->window.stride_w;
    const int32_t down = (1 + t->at.narrow) * t->p->window.stride_h * t->at.row_bytes;
    int32_t *next = (int32_t *)(void *)(t->scratch + t->at.next);
    for (int32_t row = 0; row < t->rows; row += 1 + t->at.narrow) {
        for (int32_t i = 1; i < t->at.blocks; ++i) {
            *next++ = step - 2 * t->at.row_bytes;
        }
        *next++ = down - (t->at.blocks - 1) * step - 2 * t->at.row_bytes;
    }
    next[-1] = GG_M7_DEPTHWISE_END;
}

/* What the stripe's blocks meet (WIN-S2); of two rows, what one of them does. */
static void meet(const gg_stripe_t *t) {
    const gg_window_t *const s = &t->p->window;
    gg_m7_met_t *met = (gg_m7_met_t *)(void *)(t->scratch + t->at.next);
    for (int32_t row = 0; row < t->rows; row += 1 + t->at.narrow) {
        gg_taps_t rows = gg_row_taps(s, t->first_row + row);
        if (t->at.narrow != 0 && row + 1 < t->rows) {
            const gg_taps_t below = gg_row_taps(s, t->first_row + row + 1);
            rows.first = below.first < rows.first ? below.first : rows.first;
            rows.end = below.end > rows.end ? below.end : rows.end;
        }
        for (int32_t i = 0; i < t->at.blocks; ++i, ++met) {
            met->x = (row * s->stride_h + rows.first) * t->at.row_bytes + i * 64 * s->stride_w;
            met->w = 4 * t->at.words * rows.first;
            met->w_end = 4 * t->at.words * rows.end;
        }
    }
    met->x = GG_M7_DEPTHWISE_END;
}

/* DW-S2, DW-S3, one by one: outputs pixel .. of the row at y, of channels first + skipped .. first + 3. */
static void finish(const gg_stripe_t *t, const int16_t *codes, int32_t pixel, int32_t first, int32_t skipped, int8_t *y,
                   uint8_t *mask) {
    const gg_depthwise_conv2d_t *const p = t->p;
    const int32_t odd = p->y_zero % 2 != 0;
    for (; pixel < p->window.out_w; ++pixel) {
        for (int32_t i = skipped; i < 4; ++i) {
            const int32_t c = first + i;
            const int32_t code = codes[i * (t->channel / 2) + pixel] + odd - 128;
            y[pixel * p->channels + c] = (int8_t)(code < -128 ? -128 : code > 127 ? 127 : code);
            if (mask != NULL) {
                uint8_t *const byte = mask + pixel * gg_mask_bytes(p->channels) + c / 8;
                *byte = (uint8_t)(*byte | (uint32_t)(-128 <= code && code <= 127) << (uint32_t)(c % 8));
            }
        }
    }
}

/* Pairs of pixels of groups of channels, from codes to outputs and masks. */
static void merge_pairs(const gg_stripe_t *t, const int16_t *codes, int32_t pairs, int32_t groups, int32_t first,
                        int8_t *y, uint8_t *mask) {
    const bool odd = t->p->y_zero % 2 != 0;
    const gg_m7_merge_t merge = {codes, t->channel, y + first, t->p->channels, pairs, groups};
    gg_m7_mark_t mark = {codes, t->channel, mask, gg_mask_bytes(t->p->channels), pairs, 0};
    for (int32_t i = 0; mask != NULL && i < groups; ++i) {
        const int32_t c = first + 4 * i;
        mark.mask = mask + c / 8;
        mark.bits = c % 8 == 0 ? 0x02010201U : 0x20102010U;
        (odd ? gg_m7_mark_odd : gg_m7_mark)(&mark);
        mark.codes += 2 * t->channel;
    }
    (odd ? gg_m7_merge_odd : gg_m7_merge)(&merge);
}

/*
 * Codes of a stripe become outputs, at once where rows of blocks are rows of outputs.  Where skipped of the channels were
 * there before, their masks come one by one.
 */
static void merge(const gg_stripe_t *t, const int16_t *codes, int32_t groups, int32_t first, int32_t skipped, int8_t *y,
                  uint8_t *mask) {
    const gg_depthwise_conv2d_t *const p = t->p;
    const int32_t out_w = p->window.out_w;
    const int32_t length = t->at.narrow != 0 ? 4 : 8 * t->at.blocks;
    const bool by_pairs = mask == NULL || skipped == 0;
    if (by_pairs && length == out_w && t->rows * out_w * 2 == t->channel) {
        merge_pairs(t, codes, t->rows * out_w / 2, groups, first, y, mask);
        return;
    }
    for (int32_t group = 0; group < groups; ++group) {
        const int16_t *row = codes + group * 2 * t->channel;
        const int32_t c = first + 4 * group;
        for (int32_t i = 0; i < t->rows; ++i) {
            int8_t *const row_y = y + i * out_w * p->channels;
            uint8_t *const row_mask = mask != NULL ? mask + i * out_w * gg_mask_bytes(p->channels) : NULL;
            const int32_t pairs = by_pairs ? out_w / 2 : 0;
            if (pairs > 0) {
                merge_pairs(t, row, pairs, 1, c, row_y, row_mask);
            }
            finish(t, row, 2 * pairs, c, skipped, row_y, row_mask);
            row += length;
        }
    }
}

/* Where a stripe lies, and what its blocks meet. */
static void begin(gg_stripe_t *t) {
    const gg_window_t *const s = &t->p->window;
    const int32_t rest = s->out_h - t->first_row;
    t->rows = rest < t->at.stripe ? rest : t->at.stripe;
    t->top = t->first_row * s->stride_h - s->pad_top;
    t->met = t->top < 0 ? 0 : t->top;
    t->end = t->top + (t->rows - 1) * s->stride_h + s->kernel_h;
    t->end = t->end < s->in_h ? t->end : s->in_h;
    t->channel = 16 * t->at.blocks * (t->at.narrow != 0 ? (t->rows + 1) / 2 : t->rows);
    if (s->kernel_h == 3) {
        meet_three(t);
    } else {
        meet(t);
    }
    pad(t);
}

void gg_depthwise_conv2d_forward(const gg_depthwise_conv2d_t *p, const int8_t *x, const int8_t *w, const int32_t *b,
                                 const float *m, const int8_t *trained, const int32_t *selected, int32_t kept,
                                 int8_t *y, uint8_t *mask, void *scratch) {
    const gg_window_t *const s = &p->window;
    gg_stripe_t t = {.p = p, .at = gg_m7_depthwise_layout(p), .scratch = scratch};
    if (t.at.usable == 0 || !is_proven(p, b, m)) {
        gg_portable_depthwise_conv2d_forward(p, x, w, b, m, trained, selected, kept, y, mask, NULL);
        return;
    }
    const gg_shape_t *const shape = &shapes[s->kernel_h / 2 - 1][s->stride_h - 1];
    void (*const run)(const gg_m7_depthwise_t *) = t.at.narrow != 0 ? shape->narrow : shape->wide;
    if (mask != NULL) {
        gg_m7_fill(mask, 0, s->out_h * s->out_w * gg_mask_bytes(p->channels));
    }
    int16_t *const codes = (int16_t *)(void *)(t.scratch + t.at.codes);
    int16_t *const taps = (int16_t *)(void *)(t.scratch + t.at.weights);
    gg_m7_depthwise_t four = {
        .x = scratch,
        .row_bytes = t.at.row_bytes,
        .w = taps,
        .w_bytes = 4 * t.at.words * s->kernel_h,
        .codes = codes - 16,
        .magic = gg_m7_magic(p->y_zero),
        .next = t.scratch + t.at.next,
        .planes = t.at.planes,
    };
    for (t.first_row = 0; t.first_row < s->out_h; t.first_row += t.at.stripe) {
        begin(&t);
        int32_t groups = t.at.groups;
        for (int32_t c = 0; c < p->channels; c += 4 * groups) {
            const int32_t left = (p->channels - c) / 4;
            groups = left == 0 ? 1 : left < groups ? left : groups;
            const int32_t first = left == 0 ? p->channels - 4 : c;
            fill(&t, x + first, groups);
            if (kept == 0) {
                shape->weights(w + first, p->channels, taps, groups);
            }
            for (int32_t i = 0; kept > 0 && i < groups; ++i) {
                const int8_t *const four_taps = gathered(&t, w, trained, selected, kept, first + 4 * i);
                shape->weights(four_taps, 4, taps + i * 2 * four.w_bytes, 1);
            }
            four.count = 4 * groups;
            four.b = b + first;
            four.m = m + first;
            run(&four);
            merge(&t, codes, groups, first, c - first, y + t.first_row * s->out_w * p->channels,
                  mask != NULL ? mask + t.first_row * s->out_w * gg_mask_bytes(p->channels) : NULL);
        }
    }
}

int32_t gg_depthwise_conv2d_forward_scratch_bytes(const gg_depthwise_conv2d_t *p) {
    return gg_m7_depthwise_conv2d_forward_scratch_bytes(p);
}
