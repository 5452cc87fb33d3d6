/* Scratch of the kernels for a Cortex-M7 (ABI-M1, ABI-S5).  Plain C: it is compiled for every machine. */
#include "conv2d_layout.h"
#include "goldgrad/cortex_m7.h"

int32_t gg_m7_conv2d_forward_scratch_bytes(const gg_conv2d_t *p) {
    return gg_m7_conv2d_layout(p).bytes;
}
