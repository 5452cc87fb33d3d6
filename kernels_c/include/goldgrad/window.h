/* The sliding window that convolutions and pools share (specs/ops/window.md). */
#ifndef GOLDGRAD_WINDOW_H
#define GOLDGRAD_WINDOW_H

#include <stdint.h>

/*
 * WIN-S1: out_h = (in_h + pad_top + pad_bottom - (kernel_h - 1) * dilation_h - 1) / stride_h + 1, and so for columns.
 * Bottom and right padding follow from the other sizes, so they are not stored.
 * WIN-C1, WIN-C2, WIN-C3: sizes, strides and dilations >= 1, paddings >= 0, out_h and out_w >= 1;
 * WIN-C4: strides, dilations and the padded map (in_h + pad_top + pad_bottom rows, and so for columns) fit into
 * int32_t, and so does the number of elements of each array.
 * WIN-S2: tap k of output o lies at input o * stride - pad + k * dilation and takes part where that is on the map.
 * WIN-S3: an output may meet no pixel at all; a pool forbids it, a convolution gives its bias there.
 */
typedef struct {
    int32_t in_h, in_w;
    int32_t out_h, out_w;
    int32_t kernel_h, kernel_w;
    int32_t stride_h, stride_w;
    int32_t pad_top, pad_left;
    int32_t dilation_h, dilation_w;
} gg_window_t;

#endif
