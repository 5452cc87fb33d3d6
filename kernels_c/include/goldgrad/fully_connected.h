/* Fully connected layer, int8 forward and float32 backward, one sample (specs/ops/fully_connected.md). */
#ifndef GOLDGRAD_FULLY_CONNECTED_H
#define GOLDGRAD_FULLY_CONNECTED_H

#include <stdint.h>

/*
 * FC-C4: x_zero, y_zero, lo and hi are codes in [-128, 127], lo <= hi.
 * in_c >= 1, out_c >= 1; in_c * out_c fits into int32_t.
 */
typedef struct {
    int32_t in_c, out_c;
    int32_t x_zero, y_zero;
    int32_t lo, hi;
} gg_fully_connected_t;

/*
 * y and its clamp mask (FC-S1, FC-S2, FC-S3).
 *
 *   x     int8    [in_c]
 *   w     int8    [out_c][in_c], every code in [-127, 127]
 *   b     int32   [out_c]
 *   m     float32 [out_c], positive and finite
 *   y     int8    [out_c]
 *   mask  uint8   [ceil(out_c / 8)] (MASK-S1), or NULL if nobody wants it
 *
 * FC-S7: a split weight is w with input channel channels[j] replaced by channel j of trained.
 *
 *   trained   int8  [out_c][kept], every code in [-127, 127], or NULL if w is whole
 *   channels  int32 [kept], or NULL if w is whole; kept is then 0
 *
 * FC-C1, FC-C2, FC-C3: shapes and types as above, one channel count for x and w.
 * FC-C7: 1 <= kept <= in_c; channels ascend strictly and lie in [0, in_c) (SAVE-C3).
 * FC-C6: no accumulator can leave int32 for this weight and b.
 * FC-A1: y and mask overlap no operand and not each other.
 * FC-F1: y, mask and scratch are all that is written; every bit of y and mask is.
 * ABI-M1: scratch has gg_fully_connected_forward_scratch_bytes(p) bytes, aligned to 8; its contents before do not
 * matter.
 */
void gg_fully_connected_forward(const gg_fully_connected_t *p, const int8_t *x, const int8_t *w, const int32_t *b,
                                const float *m, const int8_t *trained, const int32_t *channels, int32_t kept, int8_t *y,
                                uint8_t *mask, void *scratch);
int32_t gg_fully_connected_forward_scratch_bytes(const gg_fully_connected_t *p);

/*
 * Gradient of x (FC-S4): each element is a chain of fused multiply-adds from dx0 over output channels.
 *
 *   g    float32 [out_c], the gradient of the accumulator
 *   w    as above, split by trained and channels or whole (FC-S7, FC-C7)
 *   dx0  float32 [in_c], where the chain starts, or NULL for +0
 *   dx   float32 [in_c]
 *
 * FC-C5: shapes as above.  FC-A2: dx may be dx0; otherwise dx overlaps no operand.
 * FC-F1: dx and scratch are all that is written.
 */
void gg_fully_connected_vjp_x(const gg_fully_connected_t *p, const float *g, const int8_t *w, const float *dx0,
                              const int8_t *trained, const int32_t *channels, int32_t kept, float *dx, void *scratch);
int32_t gg_fully_connected_vjp_x_scratch_bytes(const gg_fully_connected_t *p);

/*
 * Gradient of w (FC-S5, FC-S6): each element is one fused multiply-add onto dw0; the next sample goes on from this
 * one's dw.  For a slice, in_c is the number of channels kept and x holds those channels only.
 *
 *   g    float32 [out_c], the gradient of the accumulator
 *   x    int8    [in_c]
 *   dw0  float32 [out_c][in_c], where the chain starts, or NULL for +0
 *   dw   float32 [out_c][in_c]
 *
 * FC-C5: shapes as above.  FC-A3: dw may be dw0; otherwise dw overlaps no operand.
 * FC-F1: dw and scratch are all that is written.
 */
void gg_fully_connected_vjp_w(const gg_fully_connected_t *p, const float *g, const int8_t *x, const float *dw0,
                              float *dw, void *scratch);
int32_t gg_fully_connected_vjp_w_scratch_bytes(const gg_fully_connected_t *p);

#endif
