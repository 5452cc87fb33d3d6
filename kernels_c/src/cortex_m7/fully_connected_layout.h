/* A fully connected layer as the convolution of one pixel that it is; plain C, for kernel and planner (ABI-S5). */
#ifndef GOLDGRAD_CORTEX_M7_FULLY_CONNECTED_LAYOUT_H
#define GOLDGRAD_CORTEX_M7_FULLY_CONNECTED_LAYOUT_H

#include "goldgrad/conv2d.h"
#include "goldgrad/fully_connected.h"

static inline gg_conv2d_t gg_m7_fully_connected_as_conv2d(const gg_fully_connected_t *p) {
    const gg_window_t window = {1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1};
    return (gg_conv2d_t){window, p->in_c, p->out_c, p->x_zero, p->y_zero, p->lo, p->hi};
}

#endif
