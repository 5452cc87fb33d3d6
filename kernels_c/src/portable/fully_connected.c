#include "goldgrad/fully_connected.h"

#include <stddef.h>

#include "rounding.h"
#include "split_weight.h"
#include "taps.h"

void gg_fully_connected_forward(const gg_fully_connected_t *p, const int8_t *x, const int8_t *w, const int32_t *b,
                                const float *m, const int8_t *trained, const int32_t *channels, int32_t kept, int8_t *y,
                                uint8_t *mask, void *scratch) {
    const gg_split_weight_t weight = {w, trained, channels, p->in_c, kept};
    uint8_t bits = 0;
    (void)scratch;
    for (int32_t o = 0; o < p->out_c; ++o) {
        bool inside;
        const int32_t acc = gg_row_dot(&weight, o, x, p->x_zero, b[o]);    /* FC-S1, FC-S7 */
        y[o] = gg_requantize(acc, m[o], p->y_zero, p->lo, p->hi, &inside); /* FC-S2 */
        mask = gg_put_bit(mask, &bits, o, p->out_c, inside);               /* FC-S3 */
    }
}

int32_t gg_fully_connected_forward_scratch_bytes(const gg_fully_connected_t *p) {
    (void)p;
    return 0;
}

/* FC-S4: output channels in ascending order. */
void gg_fully_connected_vjp_x(const gg_fully_connected_t *p, const float *g, const int8_t *w, const float *dx0,
                              const int8_t *trained, const int32_t *channels, int32_t kept, float *dx, void *scratch) {
    const gg_split_weight_t weight = {w, trained, channels, p->in_c, kept};
    (void)scratch;
    for (int32_t i = 0; i < p->in_c; ++i) {
        dx[i] = dx0 != NULL ? dx0[i] : 0.0F;
    }
    for (int32_t o = 0; o < p->out_c; ++o) {
        gg_row_fma(&weight, o, g[o], dx);
    }
}

int32_t gg_fully_connected_vjp_x_scratch_bytes(const gg_fully_connected_t *p) {
    (void)p;
    return 0;
}

/* FC-S5: this sample's link of each chain. */
void gg_fully_connected_vjp_w(const gg_fully_connected_t *p, const float *g, const int8_t *x, const float *dw0,
                              float *dw, void *scratch) {
    (void)scratch;
    for (int32_t o = 0; o < p->out_c; ++o) {
        for (int32_t i = 0; i < p->in_c; ++i) {
            const float start = dw0 != NULL ? *dw0++ : 0.0F;
            *dw++ = gg_fma(g[o], (float)(x[i] - p->x_zero), start);
        }
    }
}

int32_t gg_fully_connected_vjp_w_scratch_bytes(const gg_fully_connected_t *p) {
    (void)p;
    return 0;
}
