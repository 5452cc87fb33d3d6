#include "goldgrad/sgd_update_weight_stochastic.h"

#include "weight_slice.h"

/* UPS-S3: a bijection of 32-bit words. */
static uint32_t mix(uint32_t x) {
    x += 0x9E3779B9U;
    x = (x ^ x >> 16) * 0x85EBCA6BU;
    x = (x ^ x >> 13) * 0xC2B2AE35U;
    return x ^ x >> 16;
}

/* UPS-S2, UPS-S5: the size of v is split exactly; its fraction, in units of 2^-32, is how many draws round away. */
static int8_t round_stochastically(float v, uint32_t draw) {
    const float most = (float)GG_W_MAX;
    const float size = v < 0.0F ? -v : v;
    if (!(size < most)) {
        return (int8_t)(v > 0.0F ? GG_W_MAX : v < 0.0F ? -GG_W_MAX : 0);
    }
    const int32_t whole = (int32_t)size;
    const uint32_t away = (uint32_t)((size - (float)whole) * 4294967296.0F);
    const int32_t code = whole + (draw < away ? 1 : 0);
    return (int8_t)(v < 0.0F ? -code : code);
}

void gg_sgd_update_weight_stochastic_update(const gg_weight_slice_t *p, const int8_t *w, const float *dw,
                                            const float *q, const float *lr, const int32_t *seed, const int32_t *step,
                                            const int32_t *channels, int32_t dense_channels, int8_t *w_new) {
    const int32_t *const inside = dense_channels == p->channels ? channels : NULL; /* UPS-S6: which train in w */
    const uint32_t key = mix((uint32_t)*step ^ mix((uint32_t)*seed));              /* UPS-S4 */
    gg_copy_weight(p, w, w_new);
    for (int32_t row = 0; row < p->rows; ++row) {
        for (int32_t tap = 0; tap < p->taps; ++tap) {
            int8_t *const at = w_new + (row * p->taps + tap) * p->channels;
            const int32_t e = (row * p->taps + tap) * dense_channels;
            for (int32_t j = 0; j < p->selected; ++j) {
                const int32_t c = gg_selected_channel(inside, j);
                const float k = gg_step_factor(p, q, lr, row, c);
                const float v = gg_fma(k, *dw++, (float)at[c]); /* UPS-S1 */
                at[c] = round_stochastically(v, mix((uint32_t)(e + gg_selected_channel(channels, j)) ^ key));
            }
        }
    }
}
