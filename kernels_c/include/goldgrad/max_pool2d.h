/* Maximum pooling, int8 forward and float32 backward, one sample (specs/ops/max_pool2d.md). */
#ifndef GOLDGRAD_MAX_POOL2D_H
#define GOLDGRAD_MAX_POOL2D_H

#include <stdint.h>

#include "goldgrad/window.h"

/*
 * MAXP-C2: lo and hi are codes in [-128, 127], lo <= hi.
 * MAXP-C3: kernel_h * kernel_w <= 256.  MAXP-C4: every output meets at least one pixel.
 */
typedef struct {
    gg_window_t window;
    int32_t channels;
    int32_t lo, hi;
} gg_max_pool2d_t;

/*
 * y, its clamp mask, and which tap holds the largest code (MAXP-S1, MAXP-S2, MAXP-S3).
 *
 *   x      int8  [in_h][in_w][channels]
 *   y      int8  [out_h][out_w][channels]
 *   mask   uint8 [out_h][out_w][ceil(channels / 8)] (MASK-S1), or NULL if nobody wants it
 *   index  uint8 [out_h][out_w][channels], tap kh * kernel_w + kw, or NULL if nobody wants it
 *
 * MAXP-C1: shapes and types as above.
 * MAXP-A1: y, mask and index overlap no operand and not each other.
 * MAXP-F1: y, mask and index are all that is written; every bit of them is.
 */
void gg_max_pool2d_forward(const gg_max_pool2d_t *p, const int8_t *x, int8_t *y, uint8_t *mask, uint8_t *index);

/*
 * Gradient of x (MAXP-S4, MAXP-S5): each element is a sum from dx0 over the outputs whose index names the pixel and
 * whose mask bit is 1, in raster order, one rounding an addition.  lo and hi take no part.
 *
 *   gy     float32 [out_h][out_w][channels], the gradient of y
 *   index  uint8   [out_h][out_w][channels]; any byte is legal, one that names no tap on the map adds nothing
 *   mask   uint8   [out_h][out_w][ceil(channels / 8)], as forward gave it; padding bits do not matter
 *   dx0    float32 [in_h][in_w][channels], where the sum starts, or NULL for +0
 *   dx     float32 [in_h][in_w][channels]
 *
 * MAXP-C5: shapes as above.  MAXP-A2: dx may be dx0; otherwise dx overlaps no operand.
 * MAXP-F1: dx is all that is written.
 */
void gg_max_pool2d_vjp_x(const gg_max_pool2d_t *p, const float *gy, const uint8_t *index, const uint8_t *mask,
                         const float *dx0, float *dx);

#endif
