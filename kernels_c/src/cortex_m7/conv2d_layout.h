/* Where a convolution's forward kernel keeps what in scratch; plain C, for kernel and planner (ABI-S5). */
#ifndef GOLDGRAD_CORTEX_M7_CONV2D_LAYOUT_H
#define GOLDGRAD_CORTEX_M7_CONV2D_LAYOUT_H

#include <stdint.h>

#include "goldgrad/conv2d.h"

#define GG_M7_STRIPE_BYTES 12288  /* of widened pixels: more only where two take more */
#define GG_M7_WIDENED_BYTES 15360 /* of these and four rows of the weight: the same */
#define GG_M7_SUMS 64             /* pixels whose sums are kept at once, where they go the general way */

/* Sizes in elements, offsets in bytes; four rows of the weight lie at 0. */
typedef struct {
    int32_t taps, depth; /* channels under a window, and filled up to a multiple of 8 */
    int32_t stripe;      /* pixels that are widened at once */
    int32_t pixels, sums, narrow;
    int32_t bytes;    /* narrow is 0 where the operands can be widened as they lie */
    int32_t gathered; /* pixels cannot */
    int32_t windows;  /* 3 x 3 pixels of 3 channels */
} gg_m7_conv2d_layout_t;

static inline gg_m7_conv2d_layout_t gg_m7_conv2d_layout(const gg_conv2d_t *p) {
    const gg_window_t *const s = &p->window;
    const int32_t taps = s->kernel_h * s->kernel_w * p->in_c;
    const int32_t depth = (taps + 7) / 8 * 8;
    const int32_t rest = GG_M7_WIDENED_BYTES - 8 * depth;
    const int32_t most = (rest < GG_M7_STRIPE_BYTES ? rest : GG_M7_STRIPE_BYTES) / (4 * depth) * 2;
    const int32_t pixels = s->out_h * s->out_w;
    const int32_t stripe = pixels < 2 || most < 2 ? 2 : pixels < most ? (pixels + 1) / 2 * 2 : most;
    const int32_t same = s->kernel_h == 1 && s->kernel_w == 1 && s->stride_h == 1 && s->stride_w == 1;
    const int32_t inside = s->pad_top == 0 && s->pad_left == 0 && s->out_h == s->in_h && s->out_w == s->in_w;
    gg_m7_conv2d_layout_t at = {.taps = taps, .depth = depth, .stripe = stripe};
    at.pixels = 8 * depth + 8;                    /* and a word that tells where rows end */
    at.sums = at.pixels + 2 * depth * stripe + 8; /* the loads of the next step go past the end */
    at.bytes = at.sums + 16 * (stripe < GG_M7_SUMS ? stripe : GG_M7_SUMS);
    at.gathered = same == 0 || inside == 0 || taps < depth;
    if (at.gathered != 0 || p->out_c % 4 != 0) {
        at.narrow = at.bytes;
        at.bytes += 4 * depth;
    }
    at.windows = s->kernel_h == 3 && s->kernel_w == 3 && p->in_c == 3 && s->dilation_h == 1 && s->dilation_w == 1;
    return at;
}

#endif
