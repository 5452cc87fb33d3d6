#include "goldgrad/sgd_update_bias.h"

#include "rounding.h"

void gg_sgd_update_bias_update(int32_t channels, const int32_t *b, const float *db, const float *q,
                               const int32_t *limit, const float *lr, int32_t *b_new) {
    const int64_t most = *limit;
    for (int32_t c = 0; c < channels; ++c) {
        const float k = -(*lr * q[c]);                           /* UPB-S1 */
        const int64_t sum = (int64_t)b[c] + gg_round(k * db[c]); /* UPB-S2 */
        const int64_t next = sum < -most - 1 ? -most - 1 : sum > most ? most : sum;
        b_new[c] = q[c] == 0.0F ? b[c] : (int32_t)next; /* UPB-S3 */
    }
}
