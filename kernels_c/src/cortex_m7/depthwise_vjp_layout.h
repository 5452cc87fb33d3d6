/* What the gradient of a depthwise convolution's weight keeps in scratch; plain C, for kernel and planner (ABI-S5). */
#ifndef GOLDGRAD_CORTEX_M7_DEPTHWISE_VJP_LAYOUT_H
#define GOLDGRAD_CORTEX_M7_DEPTHWISE_VJP_LAYOUT_H

#include <stdint.h>

#include "goldgrad/depthwise_conv2d.h"

/* So many rows of outputs, and all rows of x that they meet, of four channels; bytes 0: left to the portable. */
typedef struct {
    int32_t rows, x_rows, bytes;
} gg_m7_depthwise_vjp_w_t;

static inline gg_m7_depthwise_vjp_w_t gg_m7_depthwise_vjp_w_layout(const gg_depthwise_conv2d_t *p) {
    enum { FLOATS = 2048, TILE = 4 };
    const gg_window_t *const s = &p->window;
    gg_m7_depthwise_vjp_w_t l = {0, 0, 0};
    if (s->in_w <= FLOATS && s->stride_h <= FLOATS && s->dilation_h <= FLOATS && s->kernel_h <= FLOATS) {
        const int32_t reach = (s->kernel_h - 1) * s->dilation_h + 1 - s->stride_h;
        const int32_t more = reach > 0 ? reach : 0;
        const int32_t room = FLOATS / TILE / s->in_w - more; /* rows of x for those of outputs, and g after them */
        const int32_t most = room > 0 ? room * s->in_w / (s->stride_h * s->in_w + s->out_w) : 0;
        l.rows = most < s->out_h ? most : s->out_h;
        l.x_rows = l.rows * s->stride_h + more;
        l.bytes = l.rows > 0 ? 4 * TILE * (l.x_rows * s->in_w + l.rows * s->out_w) : 0;
    }
    return l;
}

#endif
