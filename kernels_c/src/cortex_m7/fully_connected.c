/* A fully connected layer is a convolution of one pixel. */
#include "goldgrad/fully_connected.h"

#include "fully_connected_layout.h"
#include "goldgrad/cortex_m7.h"

/* FC-S1, FC-S2, FC-S3, FC-S7 */
void gg_fully_connected_forward(const gg_fully_connected_t *p, const int8_t *x, const int8_t *w, const int32_t *b,
                                const float *m, const int8_t *trained, const int32_t *channels, int32_t kept, int8_t *y,
                                uint8_t *mask, void *scratch) {
    const gg_conv2d_t conv = gg_m7_fully_connected_as_conv2d(p);
    gg_conv2d_forward(&conv, x, w, b, m, trained, channels, kept, y, mask, scratch);
}

int32_t gg_fully_connected_forward_scratch_bytes(const gg_fully_connected_t *p) {
    return gg_m7_fully_connected_forward_scratch_bytes(p);
}
