#include "goldgrad/numerics.h"

#include "rounding.h"

typedef union {
    float value;
    uint32_t bits;
} gg_float_bits_t;

static inline uint32_t bits_of(float value) {
    const gg_float_bits_t word = {.value = value};
    return word.bits;
}

static inline float of_bits(uint32_t bits) {
    const gg_float_bits_t word = {.bits = bits};
    return word.value;
}

/* 2^n, -126 <= n <= 127. */
static inline float power_of_two(int32_t n) {
    return of_bits((uint32_t)(n + 127) << 23);
}

/* NUM-N10 */
float gg_exp32(float x) {
    const float least = -104.0F;
    const float most = 89.0F;
    const float v = x < least ? least : x > most ? most : x; /* NaN stays */
    const int32_t n = gg_round(v * 0x1.715476p+0F);
    const float r = gg_fma((float)n, 0x1.05c61p-29F, gg_fma((float)n, -0x1.62e43p-1F, v));
    float p = 0x1.685168p-10F;
    p = gg_fma(p, r, 0x1.123bdap-7F);
    p = gg_fma(p, r, 0x1.555b98p-5F);
    p = gg_fma(p, r, 0x1.55548ep-3F);
    p = gg_fma(p, r, 0x1.fffff8p-2F);
    p = gg_fma(p, r, 1.0F);
    p = gg_fma(p, r, 1.0F);
    const int32_t half = n / 2; /* -150 <= n <= 128: p * 2^half is exact, the second product rounds once */
    return p * power_of_two(half) * power_of_two(n - half);
}

/* NUM-N11 */
float gg_log32(float x) {
    if (!(x > 0.0F)) {
        return x == 0.0F ? -__builtin_inff() : __builtin_nanf("");
    }
    if (x == __builtin_inff()) {
        return x;
    }
    const int subnormal = x < 0x1p-126F;
    const uint32_t bits = bits_of(subnormal ? x * 0x1p+23F : x);
    /* The exponent e that leaves m = x / 2^e in [sqrt(1/2), sqrt(2)). */
    const uint32_t biased = (bits + (0x3F800000U - 0x3F3504F3U)) >> 23;
    const int32_t e = (int32_t)biased - 127;
    const float f = of_bits(bits - (biased << 23) + 0x3F800000U) - 1.0F;
    const float n = (float)(subnormal ? e - 23 : e);
    float q = -0x1.325abp-4F;
    q = gg_fma(q, f, 0x1.06b52p-3F);
    q = gg_fma(q, f, -0x1.0fa384p-3F);
    q = gg_fma(q, f, 0x1.22b8bep-3F);
    q = gg_fma(q, f, -0x1.5422bp-3F);
    q = gg_fma(q, f, 0x1.99a016p-3F);
    q = gg_fma(q, f, -0x1.000432p-2F);
    q = gg_fma(q, f, 0x1.555558p-2F);
    q = gg_fma(q, f, -0x1.fffff8p-2F);
    const float head = n * 0x1.62e4p-1F; /* exact */
    const float total = head + f;
    const float lost = f - (total - head); /* exact */
    return total + gg_fma(f * q, f, gg_fma(n, 0x1.7f7d1cp-20F, lost));
}

void gg_float32_n(int32_t n, const int32_t *x, float *out) {
    for (int32_t i = 0; i < n; ++i) {
        out[i] = (float)x[i];
    }
}

void gg_mul32_n(int32_t n, const float *a, const float *b, float *out) {
    for (int32_t i = 0; i < n; ++i) {
        out[i] = a[i] * b[i];
    }
}

void gg_add32_n(int32_t n, const float *a, const float *b, float *out) {
    for (int32_t i = 0; i < n; ++i) {
        out[i] = a[i] + b[i];
    }
}

void gg_sub32_n(int32_t n, const float *a, const float *b, float *out) {
    for (int32_t i = 0; i < n; ++i) {
        out[i] = a[i] - b[i];
    }
}

void gg_div32_n(int32_t n, const float *a, const float *b, float *out) {
    for (int32_t i = 0; i < n; ++i) {
        out[i] = a[i] / b[i];
    }
}

void gg_fma32_n(int32_t n, const float *a, const float *b, const float *c, float *out) {
    for (int32_t i = 0; i < n; ++i) {
        out[i] = gg_fma(a[i], b[i], c[i]);
    }
}

float gg_chain(int32_t n, const float *a, const float *b, float start) {
    float sum = start;
    for (int32_t i = 0; i < n; ++i) {
        sum = gg_fma(a[i], b[i], sum);
    }
    return sum;
}

void gg_rne_n(int32_t n, const float *x, int32_t *out) {
    for (int32_t i = 0; i < n; ++i) {
        out[i] = gg_round(x[i]);
    }
}

void gg_requantize_n(int32_t n, const int32_t *acc, const float *m, int32_t zero, int32_t lo, int32_t hi, int8_t *y,
                     uint8_t *inside) {
    for (int32_t i = 0; i < n; ++i) {
        bool through;
        y[i] = gg_requantize(acc[i], m[i], zero, lo, hi, &through);
        inside[i] = through;
    }
}

void gg_saturate_n(int32_t n, const int64_t *x, int32_t lo, int32_t hi, int32_t *out) {
    for (int32_t i = 0; i < n; ++i) {
        out[i] = (int32_t)(x[i] < lo ? lo : x[i] > hi ? hi : x[i]);
    }
}

void gg_exp32_n(int32_t n, const float *x, float *out) {
    for (int32_t i = 0; i < n; ++i) {
        out[i] = gg_exp32(x[i]);
    }
}

void gg_log32_n(int32_t n, const float *x, float *out) {
    for (int32_t i = 0; i < n; ++i) {
        out[i] = gg_log32(x[i]);
    }
}
