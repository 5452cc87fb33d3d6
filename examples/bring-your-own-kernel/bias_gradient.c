/* The gradient of a bias: the sum of g over the pixels, channel by channel, continued from db0 where that is given. */
#include <stddef.h>

#include "goldgrad/bias_gradient.h"

void gg_bias_gradient_forward(int32_t pixels, int32_t channels, const float *g, const float *db0, float *db) {
    for (int32_t c = 0; c < channels; ++c) {
        float sum = 0.0F; /* the bug: a second user of the bias, or a second sample, starts from db0 */
        for (int32_t p = 0; p < pixels; ++p) {
            sum += g[p * channels + c];
        }
        db[c] = sum;
    }
    (void)db0;
}
