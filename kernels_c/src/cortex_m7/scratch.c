/* Scratch of the kernels for a Cortex-M7 (ABI-M1, ABI-S5).  Plain C: it is compiled for every machine. */
#include "goldgrad/cortex_m7.h"

#include "chains_f32.h"
#include "conv2d_layout.h"
#include "conv2d_vjp_layout.h"
#include "depthwise_layout.h"
#include "depthwise_vjp_layout.h"
#include "fully_connected_layout.h"

int32_t gg_m7_conv2d_forward_scratch_bytes(const gg_conv2d_t *p) {
    return gg_m7_conv2d_layout(p).bytes;
}

/* A convolution of one pixel. */
int32_t gg_m7_fully_connected_forward_scratch_bytes(const gg_fully_connected_t *p) {
    const gg_conv2d_t conv = gg_m7_fully_connected_as_conv2d(p);
    return gg_m7_conv2d_layout(&conv).bytes;
}

int32_t gg_m7_depthwise_conv2d_forward_scratch_bytes(const gg_depthwise_conv2d_t *p) {
    return gg_m7_depthwise_layout(p).bytes;
}

int32_t gg_m7_conv2d_vjp_x_scratch_bytes(const gg_conv2d_t *p) {
    return gg_m7_conv2d_vjp_x_layout(p).bytes;
}

int32_t gg_m7_conv2d_vjp_w_scratch_bytes(const gg_conv2d_t *p) {
    const gg_m7_panels_t size = gg_m7_conv2d_vjp_w_layout(p);
    return 4 * size.links * size.width;
}

int32_t gg_m7_fully_connected_vjp_x_scratch_bytes(const gg_fully_connected_t *p) {
    const gg_conv2d_t conv = gg_m7_fully_connected_as_conv2d(p);
    return gg_m7_conv2d_vjp_x_scratch_bytes(&conv);
}

/* The weights of as many channels as run at once, as float32. */
int32_t gg_m7_depthwise_conv2d_vjp_x_scratch_bytes(const gg_depthwise_conv2d_t *p) {
    const int32_t width = p->channels < GG_M7_TAPS_WIDTH ? p->channels : GG_M7_TAPS_WIDTH;
    return p->window.kernel_h * p->window.kernel_w * 4 * width;
}

/* What some rows of x and of g hold of four channels, as float32. */
int32_t gg_m7_depthwise_conv2d_vjp_w_scratch_bytes(const gg_depthwise_conv2d_t *p) {
    return gg_m7_depthwise_vjp_w_layout(p).bytes;
}
