/* The gradient of a fully connected layer's input is that of a convolution of one pixel; its weight's has no chains. */
#include "fully_connected_layout.h"
#include "goldgrad/cortex_m7.h"
#include "goldgrad/fully_connected.h"

/* FC-S4, FC-S7 */
void gg_fully_connected_vjp_x(const gg_fully_connected_t *p, const float *g, const int8_t *w, const float *dx0,
                              const int8_t *trained, const int32_t *channels, int32_t kept, float *dx, void *scratch) {
    const gg_conv2d_t conv = gg_m7_fully_connected_as_conv2d(p);
    gg_conv2d_vjp_x(&conv, g, w, dx0, trained, channels, kept, dx, scratch);
}

int32_t gg_fully_connected_vjp_x_scratch_bytes(const gg_fully_connected_t *p) {
    return gg_m7_fully_connected_vjp_x_scratch_bytes(p);
}
