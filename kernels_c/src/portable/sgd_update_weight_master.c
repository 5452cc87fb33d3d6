#include "goldgrad/sgd_update_weight_master.h"

#include "weight_slice.h"

/* UPM-S1, UPM-S3 */
static float clamp_master(float v) {
    const float most = (float)GG_W_MAX;
    if (v >= -most && v <= most) {
        return v;
    }
    return v > most ? most : v < -most ? -most : 0.0F;
}

void gg_sgd_update_weight_master_update(const gg_weight_slice_t *p, const int8_t *w, const float *dw, const float *q,
                                        const float *lr, const float *master, const int32_t *channels, int8_t *w_new,
                                        float *master_new) {
    gg_copy_weight(p, w, w_new);
    for (int32_t row = 0; row < p->rows; ++row) {
        for (int32_t tap = 0; tap < p->taps; ++tap) {
            int8_t *const codes = w_new + (row * p->taps + tap) * p->channels;
            for (int32_t j = 0; j < p->selected; ++j) {
                const int32_t c = gg_selected_channel(channels, j);
                const float k = gg_step_factor(p, q, lr, row, c);
                const float v = clamp_master(gg_fma(k, *dw++, *master++));
                *master_new++ = v;
                codes[c] = gg_round_weight(v); /* UPM-S2 */
            }
        }
    }
}
