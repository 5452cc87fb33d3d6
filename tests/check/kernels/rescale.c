/* A fully connected layer that rescales as ROUNDING says: none of it is goldgrad's rule. */
#include "goldgrad/fully_connected.h"

#include <math.h>
#include <stddef.h>

#define DOUBLE 1
#define SINGLE 2
#define TRUNCATE 3
#define UP 4

static int64_t rescaled(int32_t acc, float m) {
    int e = 0;
    const int64_t factor = (int64_t)(frexp((double)m, &e) * 2147483648.0);
#if ROUNDING == DOUBLE
    if (e < -31) {
        return 0;
    }
    const int64_t left = (int64_t)acc * ((int64_t)1 << (e > 0 ? e : 0));
    const int64_t high = (left * factor + ((int64_t)1 << 30)) >> 31;
    const int right = e < 0 ? -e : 0;
    const int64_t half = right > 0 ? (int64_t)1 << (right - 1) : 0;
    return high < 0 ? -((-high + half) >> right) : (high + half) >> right;
#elif ROUNDING == SINGLE
    if (e < -31) {
        return 0;
    }
    return ((((int64_t)acc * factor) >> (30 - e)) + 1) >> 1;
#elif ROUNDING == TRUNCATE
    (void)factor;
    const float product = (float)acc * m;
    return product >= 2147483648.0F ? INT32_MAX : product <= -2147483648.0F ? INT32_MIN : (int64_t)product;
#else
    (void)factor;
    return (int64_t)ceilf((float)acc * m);
#endif
}

void gg_fully_connected_forward(const gg_fully_connected_t *p, const int8_t *x, const int8_t *w, const int32_t *b,
                                const float *m, const int8_t *trained, const int32_t *channels, int32_t kept, int8_t *y,
                                uint8_t *mask, void *scratch) {
    (void)scratch;
    for (int32_t o = 0; o < p->out_c; ++o) {
        int32_t acc = b[o];
        int32_t j = 0;
        for (int32_t i = 0; i < p->in_c; ++i) {
            const int trains = j < kept && channels[j] == i;
            acc += (x[i] - p->x_zero) * (trains ? trained[o * kept + j] : w[o * p->in_c + i]);
            j += trains;
        }
        const int64_t code = rescaled(acc, m[o]) + p->y_zero;
        y[o] = (int8_t)(code < p->lo ? p->lo : code > p->hi ? p->hi : code);
        if (mask != NULL) {
            mask[o / 8] = (uint8_t)(o % 8 == 0 ? 0 : mask[o / 8]);
            mask[o / 8] = (uint8_t)(mask[o / 8] | (uint32_t)(p->lo <= code && code <= p->hi) << (uint32_t)(o % 8));
        }
    }
}

int32_t gg_fully_connected_forward_scratch_bytes(const gg_fully_connected_t *p) {
    (void)p;
    return 0;
}
