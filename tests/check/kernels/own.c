/* Kernels that follow an interface of their own: own.toml says how they are called. */
#include <stdint.h>

/* Adds over pixels, channel by channel; scratch holds a column. */
void own_sum(float *out, const float *g, int16_t channels, int32_t pixels, float *column) {
    for (int c = 0; c < channels; ++c) {
        float sum = 0.0F;
        for (int p = 0; p < pixels; ++p) {
            column[p] = g[p * channels + c];
            sum += column[p];
        }
        out[c] = sum;
    }
}

/* 1 x 1 convolution, gradient of x; knows no start and no split weight. */
void own_pointwise(const int8_t *w, const float *g, float *dx, int pixels, int in_c, int out_c) {
    for (int p = 0; p < pixels; ++p) {
        for (int i = 0; i < in_c; ++i) {
            float sum = 0.0F;
            for (int o = 0; o < out_c; ++o) {
                sum = __builtin_fmaf(g[p * out_c + o], (float)w[o * in_c + i], sum);
            }
            dx[p * in_c + i] = sum;
        }
    }
}

/* One scale by value; correct for one channel alone. */
void own_scale(float m, const float *gy, const uint8_t *mask, float *g, int32_t pixels) {
    for (int32_t p = 0; p < pixels; ++p) {
        g[p] = (mask[p] & 1) != 0 ? gy[p] * m : 0.0F;
    }
}
