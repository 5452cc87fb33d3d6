#include "goldgrad/bias_step.h"

#include "rounding.h"
#include "taps.h"

/* STEP-S1, channel after channel: the gradient of a bias is never in memory. */
void gg_bias_step_update(int32_t pixels, int32_t channels, const float *gy, const uint8_t *mask, const float *m,
                         const int32_t *b, const float *q, const int32_t *limit, const float *lr, int32_t *b_new,
                         float *g) {
    const int64_t most = *limit;
    for (int32_t c = 0; c < channels; ++c) {
        const uint8_t *bits = mask;
        float db = 0.0F;
        for (int32_t at = c; at < pixels * channels; at += channels) {
            g[at] = gg_get_bit(bits, c) ? gy[at] * m[c] : 0.0F; /* SCALE-S1, SCALE-S2 */
            db += g[at];                                        /* BIAS-S1 */
            bits += gg_mask_bytes(channels);
        }
        const float k = -(*lr * q[c]);                        /* UPB-S1 */
        const int64_t sum = (int64_t)b[c] + gg_round(k * db); /* UPB-S2 */
        const int64_t next = sum < -most - 1 ? -most - 1 : sum > most ? most : sum;
        b_new[c] = q[c] == 0.0F ? b[c] : (int32_t)next; /* UPB-S3 */
    }
}
