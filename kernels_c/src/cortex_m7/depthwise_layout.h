/* Where a depthwise convolution's forward kernel keeps what in scratch; plain C, for kernel and planner (ABI-S5). */
#ifndef GOLDGRAD_CORTEX_M7_DEPTHWISE_LAYOUT_H
#define GOLDGRAD_CORTEX_M7_DEPTHWISE_LAYOUT_H

#include <stdint.h>

#include "goldgrad/depthwise_conv2d.h"

#define GG_M7_PLANE_BYTES 8192  /* of planes: more only where one row of outputs takes more */
#define GG_M7_GROUPS_BYTES 4096 /* of all that groups of channels need: more only where one takes more */

/* Sizes in elements, offsets in bytes; planes lie at 0. */
typedef struct {
    int32_t usable;        /* 0: not by this kernel */
    int32_t narrow;        /* blocks are of two rows of four outputs, and not of eight in a row */
    int32_t blocks;        /* in a row of blocks */
    int32_t row_bytes;     /* of a plane row of four channels */
    int32_t stripe, rows;  /* rows of outputs from one set of planes, and rows of these */
    int32_t words;         /* a row of the weight */
    int32_t groups;        /* of four channels at once */
    int32_t planes, count; /* of a group: bytes of its planes, and blocks of a channel */
    int32_t weights, next, codes, taps;
    int32_t bytes;
} gg_m7_depthwise_layout_t;

static inline gg_m7_depthwise_layout_t gg_m7_depthwise_layout(const gg_depthwise_conv2d_t *p) {
    const gg_window_t *const s = &p->window;
    const int32_t k = s->kernel_h;
    gg_m7_depthwise_layout_t at = {0};
    const int32_t square = k == s->kernel_w && s->stride_h == s->stride_w && s->dilation_h == 1 && s->dilation_w == 1;
    /* Each row of outputs meets the map, and the first column does. */
    const int32_t near = s->pad_left < k && s->pad_top < k && (s->out_h - 1) * s->stride_h - s->pad_top < s->in_h;
    if (square == 0 || near == 0 || (k != 3 && k != 5 && k != 7) || s->stride_h > 2 || p->channels < 4) {
        return at;
    }
    at.usable = 1;
    at.narrow = s->out_w <= 4;
    at.blocks = at.narrow != 0 ? 1 : (s->out_w + 7) / 8;
    const int32_t reach = ((at.narrow != 0 ? 4 : 8 * at.blocks) - 1) * s->stride_w + k;
    const int32_t filled = s->pad_left + s->in_w; /* the pixels right of what outputs reach are widened as well */
    at.row_bytes = ((reach > filled ? reach : filled) + 1) / 2 * 16;
    const int32_t high = 1 + at.narrow; /* rows of outputs in a block */
    int32_t most = (GG_M7_PLANE_BYTES / at.row_bytes - k) / s->stride_h + 1;
    most = most < high ? high : most / high * high;
    at.stripe = (s->out_h < most ? s->out_h + high - 1 : most) / high * high;
    at.rows = (at.stripe - 1) * s->stride_h + k;
    at.words = s->stride_w == 1 ? k - 1 : (k + 1) / 2;
    at.count = at.blocks * at.stripe / high;
    at.planes = at.rows * at.row_bytes;
    const int32_t group = at.planes + 16 * at.words * k + 64 * at.count;
    const int32_t groups = p->channels / 4;
    at.groups = group > GG_M7_GROUPS_BYTES ? 1 : GG_M7_GROUPS_BYTES / group;
    at.groups = at.groups < groups ? at.groups : groups;
    at.weights = at.groups * at.planes;
    at.next = at.weights + at.groups * 16 * at.words * k;
    at.codes = at.next + (k == 3 ? 4 * at.count : 12 * (at.count + 1)) + 32; /* two blocks are stored before it */
    at.taps = at.codes + at.groups * 64 * at.count;
    at.bytes = at.taps + (4 * k * k + 7) / 8 * 8;
    return at;
}

#endif
