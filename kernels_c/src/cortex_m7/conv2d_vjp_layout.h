/* What the gradients of a convolution keep in scratch; plain C, for kernel and planner (ABI-S5). */
#ifndef GOLDGRAD_CORTEX_M7_CONV2D_VJP_LAYOUT_H
#define GOLDGRAD_CORTEX_M7_CONV2D_VJP_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "gemm_f32.h"
#include "goldgrad/conv2d.h"

static inline bool gg_m7_is_pointwise(const gg_window_t *s) {
    return s->kernel_h == 1 && s->kernel_w == 1 && s->in_h == s->out_h && s->in_w == s->out_w && s->pad_top == 0 &&
           s->pad_left == 0 && s->stride_h == 1 && s->stride_w == 1;
}

/*
 * Runs of so many output channels, with all their taps so many links, of so many columns in panels of panel; bytes 0:
 * left to the portable.  So many floats for codes lie before the panels if these are made of codes tile by tile.
 */
typedef struct {
    int32_t outputs, links, width, panel, floats, bytes;
} gg_m7_conv2d_vjp_x_t;

/* Six columns a panel where no column, row or link is left over; behind panels, what codes that are no link's become. */
static inline gg_m7_conv2d_vjp_x_t gg_m7_pointwise_vjp_x_layout(const gg_conv2d_t *p) {
    enum { TURN = 8, BEHIND = 4 };
    const int32_t pixels = p->window.in_h * p->window.in_w;
    const bool wide = p->in_c % GG_M7_WIDE == 0 && p->out_c % TURN == 0 && pixels % GG_M7_TILE == 0;
    const int32_t panel = wide ? GG_M7_WIDE : GG_M7_TILE;
    const gg_m7_panels_t size = gg_m7_panels(p->in_c, p->out_c, panel);
    const int32_t floats = pixels >= GG_M7_TILE ? GG_M7_CODES : 0;
    const int32_t needed = floats + size.links * size.width + (floats > 0 ? BEHIND : 0);
    return (gg_m7_conv2d_vjp_x_t){size.links, size.links, size.width, panel, floats, 4 * needed};
}

static inline gg_m7_conv2d_vjp_x_t gg_m7_conv2d_vjp_x_layout(const gg_conv2d_t *p) {
    enum { FLOATS = 2048, LINKS = 96, MOST = 160, SIDE = 31, TILE = 4 };
    const gg_window_t *const s = &p->window;
    gg_m7_conv2d_vjp_x_t l = {0, 0, 0, TILE, 0, 0};
    if (gg_m7_is_pointwise(s)) {
        return gg_m7_pointwise_vjp_x_layout(p);
    }
    if (s->kernel_h <= SIDE && s->kernel_w <= SIDE && s->kernel_h * s->kernel_w <= MOST) {
        const int32_t taps = s->kernel_h * s->kernel_w;
        const int32_t run = taps < LINKS ? LINKS / taps : 1;
        const int32_t needed = (p->in_c + TILE - 1) / TILE * TILE;
        l.outputs = run < p->out_c ? run : p->out_c;
        l.links = l.outputs * taps;
        l.width = (FLOATS / l.links - TILE) / TILE * TILE;
        l.width = l.width < needed ? l.width : needed;
        l.bytes = 4 * l.links * (l.width + TILE); /* four rows of g besides */
    }
    return l;
}

/* Links are pixels of the output: all, or those of a row. */
static inline gg_m7_panels_t gg_m7_conv2d_vjp_w_layout(const gg_conv2d_t *p) {
    const gg_window_t *const s = &p->window;
    return gg_m7_panels(p->in_c, gg_m7_is_pointwise(s) ? s->out_h * s->out_w : s->out_w, GG_M7_TILE);
}

#endif
