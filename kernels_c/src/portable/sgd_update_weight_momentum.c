#include "goldgrad/sgd_update_weight_momentum.h"

#include "weight_slice.h"

void gg_sgd_update_weight_momentum_update(const gg_weight_slice_t *p, const int8_t *w, const float *dw, const float *q,
                                          const float *lr, const float *velocity, const float *mu,
                                          const int32_t *channels, int8_t *w_new, float *velocity_new) {
    gg_copy_weight(p, w, w_new);
    for (int32_t row = 0; row < p->rows; ++row) {
        for (int32_t tap = 0; tap < p->taps; ++tap) {
            int8_t *const codes = w_new + (row * p->taps + tap) * p->channels;
            for (int32_t j = 0; j < p->selected; ++j) {
                const int32_t c = gg_selected_channel(channels, j);
                const float k = gg_step_factor(p, q, lr, row, c);
                const float v = gg_fma(*mu, *velocity++, *dw++); /* UPMO-S1 */
                *velocity_new++ = v;
                codes[c] = gg_round_weight(gg_fma(k, v, (float)codes[c])); /* UPMO-S2 */
            }
        }
    }
}
