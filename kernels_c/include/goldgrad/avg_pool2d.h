/* Average pooling, int8 forward and float32 backward, one sample (specs/ops/avg_pool2d.md). */
#ifndef GOLDGRAD_AVG_POOL2D_H
#define GOLDGRAD_AVG_POOL2D_H

#include <stdint.h>

#include "goldgrad/window.h"

/*
 * AVGP-C3: x_zero, y_zero, lo and hi are codes in [-128, 127], lo <= hi.
 * AVGP-C4: kernel_h * kernel_w <= 2^23.  AVGP-C5: every output meets at least one pixel.
 */
typedef struct {
    gg_window_t window;
    int32_t channels;
    int32_t x_zero, y_zero;
    int32_t lo, hi;
} gg_avg_pool2d_t;

/*
 * y and its clamp mask (AVGP-S1, AVGP-S2, AVGP-S3, AVGP-S4).
 *
 *   x     int8    [in_h][in_w][channels]
 *   m     float32 [1], positive and finite
 *   y     int8    [out_h][out_w][channels]
 *   mask  uint8   [out_h][out_w][ceil(channels / 8)] (MASK-S1), or NULL if nobody wants it
 *
 * AVGP-C1, AVGP-C2: shapes and types as above.
 * AVGP-A1: y and mask overlap no operand and not each other.
 * AVGP-F1: y and mask are all that is written; every bit of them is.
 */
void gg_avg_pool2d_forward(const gg_avg_pool2d_t *p, const int8_t *x, const float *m, int8_t *y, uint8_t *mask);

/*
 * Gradient of x (AVGP-S5): each element is a chain of fused multiply-adds from dx0 over the outputs that hold the
 * pixel and whose mask bit is 1, in raster order.  x_zero, y_zero, lo and hi take no part.
 *
 *   gy    float32 [out_h][out_w][channels], the gradient of y
 *   mask  uint8   [out_h][out_w][ceil(channels / 8)], as forward gave it; padding bits do not matter
 *   m     as above
 *   dx0   float32 [in_h][in_w][channels], where the chain starts, or NULL for +0
 *   dx    float32 [in_h][in_w][channels]
 *
 * AVGP-C6: shapes as above.  AVGP-A2: dx may be dx0; otherwise dx overlaps no operand.
 * AVGP-F1: dx is all that is written.
 */
void gg_avg_pool2d_vjp_x(const gg_avg_pool2d_t *p, const float *gy, const uint8_t *mask, const float *m,
                         const float *dx0, float *dx);

#endif
