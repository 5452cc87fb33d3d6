/* Depthwise convolution, int8 forward and float32 backward, one sample (specs/ops/depthwise_conv2d.md). */
#ifndef GOLDGRAD_DEPTHWISE_CONV2D_H
#define GOLDGRAD_DEPTHWISE_CONV2D_H

#include <stdint.h>

#include "goldgrad/window.h"

/*
 * DW-C4: x_zero, y_zero, lo and hi are codes in [-128, 127], lo <= hi.
 */
typedef struct {
    gg_window_t window;
    int32_t channels;
    int32_t x_zero, y_zero;
    int32_t lo, hi;
} gg_depthwise_conv2d_t;

/*
 * y and its clamp mask (DW-S1, DW-S2, DW-S3).
 *
 *   x     int8    [in_h][in_w][channels]
 *   w     int8    [kernel_h][kernel_w][channels], every code in [-127, 127]
 *   b     int32   [channels]
 *   m     float32 [channels], positive and finite
 *   y     int8    [out_h][out_w][channels]
 *   mask  uint8   [out_h][out_w][ceil(channels / 8)] (MASK-S1), or NULL if nobody wants it
 *
 * DW-S7: a split weight is w with channel selected[j] replaced by channel j of trained.
 *
 *   trained   int8  [kernel_h][kernel_w][kept], every code in [-127, 127], or NULL if w is whole
 *   selected  int32 [kept], or NULL if w is whole; kept is then 0
 *
 * DW-C1, DW-C2, DW-C3: shapes and types as above, one channel count for x and w.
 * DW-C8: 1 <= kept <= channels; selected ascends strictly and lies in [0, channels) (SAVE-C3).
 * DW-C6: no accumulator can leave int32 for this weight and b.
 * DW-A1: y and mask overlap no operand and not each other.
 * DW-F1: y, mask and scratch are all that is written; every bit of y and mask is.
 * ABI-M1: scratch has gg_depthwise_conv2d_forward_scratch_bytes(p) bytes, aligned to 8; its contents before do not
 * matter.
 */
void gg_depthwise_conv2d_forward(const gg_depthwise_conv2d_t *p, const int8_t *x, const int8_t *w, const int32_t *b,
                                 const float *m, const int8_t *trained, const int32_t *selected, int32_t kept,
                                 int8_t *y, uint8_t *mask, void *scratch);
int32_t gg_depthwise_conv2d_forward_scratch_bytes(const gg_depthwise_conv2d_t *p);

/*
 * Gradient of x (DW-S4): each element is a chain of fused multiply-adds from dx0 over the taps in raster order.
 *
 *   g    float32 [out_h][out_w][channels], the gradient of the accumulator
 *   w    as above, split by trained and selected or whole (DW-S7, DW-C8)
 *   dx0  float32 [in_h][in_w][channels], where the chain starts, or NULL for +0
 *   dx   float32 [in_h][in_w][channels]
 *
 * DW-C5: shapes as above.  DW-A2: dx may be dx0; otherwise dx overlaps no operand.
 * DW-F1: dx and scratch are all that is written.
 */
void gg_depthwise_conv2d_vjp_x(const gg_depthwise_conv2d_t *p, const float *g, const int8_t *w, const float *dx0,
                               const int8_t *trained, const int32_t *selected, int32_t kept, float *dx, void *scratch);
int32_t gg_depthwise_conv2d_vjp_x_scratch_bytes(const gg_depthwise_conv2d_t *p);

/*
 * Gradient of w (DW-S5, DW-S6): each element is a chain of fused multiply-adds from dw0 over the output pixels in
 * raster order.  For a slice, selected lists the p->channels channels that x, dw0 and dw hold, and g_channels is how
 * many g has; otherwise selected is NULL and g_channels is p->channels.
 *
 *   g         float32 [out_h][out_w][g_channels], the gradient of the accumulator
 *   x         int8    [in_h][in_w][channels]
 *   dw0       float32 [kernel_h][kernel_w][channels], where the chain starts, or NULL for +0
 *   selected  int32   [channels], or NULL for all
 *   dw        float32 [kernel_h][kernel_w][channels]
 *
 * DW-C5: shapes as above.  DW-C7: selected ascends strictly from 0 or more to less than g_channels (SAVE-C3).
 * DW-A3: dw may be dw0; otherwise dw overlaps no operand.
 * DW-F1: dw and scratch are all that is written.
 */
void gg_depthwise_conv2d_vjp_w(const gg_depthwise_conv2d_t *p, const float *g, int32_t g_channels, const int8_t *x,
                               const float *dw0, const int32_t *selected, float *dw, void *scratch);
int32_t gg_depthwise_conv2d_vjp_w_scratch_bytes(const gg_depthwise_conv2d_t *p);

#endif
