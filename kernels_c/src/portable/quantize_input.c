#include "goldgrad/quantize_input.h"

#include "rounding.h"

/* QIN-S1; QIN-A1: byte i is read before code i is written. */
void gg_quantize_input_from_uint8(int32_t elements, int32_t x_zero, int32_t y_zero, const uint8_t *x, const float *m,
                                  int8_t *y) {
    for (int32_t i = 0; i < elements; ++i) {
        bool inside;
        y[i] = gg_requantize(x[i] - x_zero, *m, y_zero, INT8_MIN, INT8_MAX, &inside);
    }
}

/* QIN-S2; QIN-A2: ascending, so code i lands on bytes that have been read. */
void gg_quantize_input_from_float32(int32_t elements, int32_t y_zero, const float *x, const float *m, int8_t *y) {
    for (int32_t i = 0; i < elements; ++i) {
        bool inside;
        y[i] = gg_clamp(gg_round(x[i] * *m), y_zero, INT8_MIN, INT8_MAX, &inside);
    }
}
