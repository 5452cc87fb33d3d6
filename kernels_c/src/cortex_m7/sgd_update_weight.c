#include "goldgrad/sgd_update_weight.h"

#include "../portable/weight_slice.h"
#include "chains_f32.h"

/* UPW-S2, UPW-S5 for codes that share a factor and lie side by side. */
static void row(int32_t count, float k, const float *dw, int8_t *codes) {
    const int32_t fours = count / 4;
    if (fours > 0) {
        gg_m7_steps(fours, dw, codes, &k);
    }
    for (int32_t i = 4 * fours; i < count; ++i) {
        codes[i] = gg_round_weight(gg_fma(k, dw[i], (float)codes[i]));
    }
}

void gg_sgd_update_weight_update(const gg_weight_slice_t *p, const int8_t *w, const float *dw, const float *q,
                                 const float *lr, const int32_t *channels, int8_t *w_new) {
    gg_copy_weight(p, w, w_new);
    for (int32_t r = 0; r < p->rows; ++r) {
        for (int32_t tap = 0; tap < p->taps; ++tap) {
            int8_t *const codes = w_new + (r * p->taps + tap) * p->channels;
            if (channels == NULL && p->q_per_channel == 0) {
                row(p->channels, gg_step_factor(p, q, lr, r, 0), dw, codes);
                dw += p->channels;
                continue;
            }
            for (int32_t j = 0; j < p->selected; ++j) {
                const int32_t c = gg_selected_channel(channels, j);
                const float k = gg_step_factor(p, q, lr, r, c);
                codes[c] = gg_round_weight(gg_fma(k, *dw++, (float)codes[c]));
            }
        }
    }
}
