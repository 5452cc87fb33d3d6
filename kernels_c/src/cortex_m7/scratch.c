/* Scratch of the kernels for a Cortex-M7 (ABI-M1, ABI-S5).  Plain C: it is compiled for every machine. */
#include "goldgrad/cortex_m7.h"

/* The pixels under one window, widened to int16, in whole words. */
int32_t gg_m7_conv2d_forward_scratch_bytes(const gg_conv2d_t *p) {
    const int32_t taps = p->window.kernel_h * p->window.kernel_w * p->in_c;
    return (taps + 1) / 2 * 4;
}
