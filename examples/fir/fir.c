/* A function of somebody's firmware: y[n] = (sum of h[k] * x[n + k]) / 32768, saturated to 16 bits. */
#include <stdint.h>

void fir(const int16_t *x, const int16_t *h, int32_t taps, int16_t *y, int32_t count);

void fir(const int16_t *x, const int16_t *h, int32_t taps, int16_t *y, int32_t count) {
    for (int32_t n = 0; n < count; ++n) {
        int64_t sum = 0;
        for (int32_t k = 0; k < taps; ++k) {
            sum += (int64_t)h[k] * x[n + k];
        }
        const int64_t scaled = sum / 32768;
        y[n] = (int16_t)(scaled > INT16_MAX ? INT16_MAX : scaled < INT16_MIN ? INT16_MIN : scaled);
    }
}
