/* Whether requantization by one addition is exact (magic.h). */
#include "magic.h"

bool gg_m7_are_proven(const int32_t *bias, const float *m, int32_t count, float bound) {
    float reach[4] = {0.0F, 0.0F, 0.0F, 0.0F};
    for (; count >= 4; count -= 4, bias += 4, m += 4) {
        /* Side by side: each waits for itself. */
        const float sums[4] = {(float)bias[0], (float)bias[1], (float)bias[2], (float)bias[3]};
        float here[4];
#pragma GCC unroll 4
        for (int32_t i = 0; i < 4; ++i) {
            here[i] = __builtin_fabsf(sums[i]) + bound;
        }
#pragma GCC unroll 4
        for (int32_t i = 0; i < 4; ++i) {
            here[i] *= m[i];
        }
#pragma GCC unroll 4
        for (int32_t i = 0; i < 4; ++i) {
            reach[i] = __builtin_fmaxf(reach[i], here[i]);
        }
    }
    for (; count > 0; --count, ++bias, ++m) {
        reach[0] = __builtin_fmaxf(reach[0], (__builtin_fabsf((float)*bias) + bound) * *m);
    }
    const float most = __builtin_fmaxf(__builtin_fmaxf(reach[0], reach[1]), __builtin_fmaxf(reach[2], reach[3]));
    return most < GG_M7_REACH;
}
