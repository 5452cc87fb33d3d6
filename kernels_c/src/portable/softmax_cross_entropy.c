#include "goldgrad/softmax_cross_entropy.h"

#include <stddef.h>

#include "goldgrad/numerics.h"
#include "rounding.h"

static int32_t greatest(int32_t classes, const int8_t *q) {
    int32_t most = q[0];
    for (int32_t i = 1; i < classes; ++i) {
        if (q[i] > most) {
            most = q[i];
        }
    }
    return most;
}

/* SCE-S1: a logit less the largest. */
static float below(int8_t q, int32_t most, float s) {
    return (float)(q - most) * s;
}

/* SCE-S2: the exponentials, kept in e, and their sum. */
static float exponentials(int32_t classes, const int8_t *q, int32_t most, float s, float *e) {
    float total = 0.0F;
    for (int32_t i = 0; i < classes; ++i) {
        e[i] = gg_exp32(below(q[i], most, s));
        total += e[i];
    }
    return total;
}

void gg_softmax_cross_entropy_forward(int32_t classes, const int8_t *q, const int32_t *target, const float *s,
                                      float *loss, float *dq) {
    const int32_t most = greatest(classes, q);
    const float total = exponentials(classes, q, most, *s, dq);
    if (loss != NULL) {
        *loss = gg_log32(total) - below(q[*target], most, *s); /* SCE-S3 */
    }
    for (int32_t i = 0; i < classes; ++i) {
        dq[i] = (dq[i] / total - (i == *target ? 1.0F : 0.0F)) * *s; /* SCE-S5 */
    }
}

void gg_softmax_cross_entropy_from_probabilities(int32_t classes, const int8_t *q, const float *target, const float *s,
                                                 float *loss, float *dq) {
    const int32_t most = greatest(classes, q);
    const float total = exponentials(classes, q, most, *s, dq);
    if (loss != NULL) {
        const float log_total = gg_log32(total);
        *loss = 0.0F;
        for (int32_t i = 0; i < classes; ++i) {
            *loss = gg_fma(target[i], log_total - below(q[i], most, *s), *loss); /* SCE-S4 */
        }
    }
    for (int32_t i = 0; i < classes; ++i) {
        dq[i] = (dq[i] / total - target[i]) * *s; /* SCE-S5 */
    }
}
