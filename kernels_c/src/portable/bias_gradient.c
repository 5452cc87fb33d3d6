#include "goldgrad/bias_gradient.h"

#include <stddef.h>

/* BIAS-S1 */
void gg_bias_gradient_forward(int32_t pixels, int32_t channels, const float *g, const float *db0, float *db) {
    for (int32_t c = 0; c < channels; ++c) {
        db[c] = db0 != NULL ? db0[c] : 0.0F;
    }
    for (int32_t p = 0; p < pixels; ++p) {
        for (int32_t c = 0; c < channels; ++c) {
            db[c] += *g++;
        }
    }
}
