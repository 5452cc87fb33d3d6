/* Two-dimensional convolution, int8 forward and float32 backward, one sample (specs/ops/conv2d.md). */
#ifndef GOLDGRAD_CONV2D_H
#define GOLDGRAD_CONV2D_H

#include <stdint.h>

#include "goldgrad/window.h"

/*
 * CONV-C4: x_zero, y_zero, lo and hi are codes in [-128, 127], lo <= hi.
 */
typedef struct {
    gg_window_t window;
    int32_t in_c, out_c;
    int32_t x_zero, y_zero;
    int32_t lo, hi;
} gg_conv2d_t;

/*
 * y and its clamp mask (CONV-S1, CONV-S2, CONV-S3).
 *
 *   x     int8    [in_h][in_w][in_c]
 *   w     int8    [out_c][kernel_h][kernel_w][in_c], every code in [-127, 127]
 *   b     int32   [out_c]
 *   m     float32 [out_c], positive and finite
 *   y     int8    [out_h][out_w][out_c]
 *   mask  uint8   [out_h][out_w][ceil(out_c / 8)] (MASK-S1), or NULL if nobody wants it
 *
 * CONV-S7: a split weight is w with input channel channels[j] replaced by channel j of trained.
 *
 *   trained   int8  [out_c][kernel_h][kernel_w][kept], every code in [-127, 127], or NULL if w is whole
 *   channels  int32 [kept], or NULL if w is whole; kept is then 0
 *
 * CONV-C1, CONV-C2, CONV-C3: shapes and types as above, one channel count for x and w.
 * CONV-C7: 1 <= kept <= in_c; channels ascend strictly and lie in [0, in_c) (SAVE-C3).
 * CONV-C6: no accumulator can leave int32 for this weight and b.
 * CONV-A1: y and mask overlap no operand and not each other.
 * CONV-F1: y, mask and scratch are all that is written; every bit of y and mask is.
 * ABI-M1: scratch has gg_conv2d_forward_scratch_bytes(p) bytes, aligned to 8; its contents before do not matter.
 */
void gg_conv2d_forward(const gg_conv2d_t *p, const int8_t *x, const int8_t *w, const int32_t *b, const float *m,
                       const int8_t *trained, const int32_t *channels, int32_t kept, int8_t *y, uint8_t *mask,
                       void *scratch);
int32_t gg_conv2d_forward_scratch_bytes(const gg_conv2d_t *p);

/*
 * Gradient of x (CONV-S4): each element is a chain of fused multiply-adds from dx0 over output channels and,
 * in each, over the taps in raster order.
 *
 *   g    float32 [out_h][out_w][out_c], the gradient of the accumulator
 *   w    as above, split by trained and channels or whole (CONV-S7, CONV-C7)
 *   dx0  float32 [in_h][in_w][in_c], where the chain starts, or NULL for +0
 *   dx   float32 [in_h][in_w][in_c]
 *
 * CONV-C5: shapes as above.  CONV-A2: dx may be dx0; otherwise dx overlaps no operand.
 * CONV-F1: dx and scratch are all that is written.
 */
void gg_conv2d_vjp_x(const gg_conv2d_t *p, const float *g, const int8_t *w, const float *dx0, const int8_t *trained,
                     const int32_t *channels, int32_t kept, float *dx, void *scratch);
int32_t gg_conv2d_vjp_x_scratch_bytes(const gg_conv2d_t *p);

/*
 * Gradient of w (CONV-S5, CONV-S6): each element is a chain of fused multiply-adds from dw0 over the output
 * pixels in raster order.  For a slice, in_c is the number of channels kept and x holds those channels only.
 *
 *   g    float32 [out_h][out_w][out_c], the gradient of the accumulator
 *   x    int8    [in_h][in_w][in_c]
 *   dw0  float32 [out_c][kernel_h][kernel_w][in_c], where the chain starts, or NULL for +0
 *   dw   float32 [out_c][kernel_h][kernel_w][in_c]
 *
 * CONV-C5: shapes as above.  CONV-A3: dw may be dw0; otherwise dw overlaps no operand.
 * CONV-F1: dw and scratch are all that is written.
 */
void gg_conv2d_vjp_w(const gg_conv2d_t *p, const float *g, const int8_t *x, const float *dw0, float *dw, void *scratch);
int32_t gg_conv2d_vjp_w_scratch_bytes(const gg_conv2d_t *p);

#endif
