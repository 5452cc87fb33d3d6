/* An image to codes: a byte has few values, so each is quantized once; and mostly a code is the byte, shifted. */
#include "goldgrad/quantize_input.h"

#include "../portable/rounding.h"

#define SHIFT 128 /* from a byte to the code that has its bits, but for the first */

/* QIN-S1, QIN-A1: four bytes are read before their codes are written. */
static void shift(int32_t elements, const uint8_t *x, int8_t *y) {
    int32_t i = 0;
    for (; i + 4 <= elements; i += 4) {
        uint32_t four;
        __builtin_memcpy(&four, x + i, 4);
        four ^= 0x80808080U;
        __builtin_memcpy(y + i, &four, 4);
    }
    for (; i < elements; ++i) {
        y[i] = (int8_t)(x[i] - SHIFT);
    }
}

void gg_quantize_input_from_uint8(int32_t elements, int32_t x_zero, int32_t y_zero, const uint8_t *x, const float *m,
                                  int8_t *y) {
    int8_t codes[256];
    if (*m == 1.0F && x_zero - y_zero == SHIFT) {
        shift(elements, x, y);
        return;
    }
    for (int32_t byte = 0; byte < 256; ++byte) {
        bool inside;
        codes[byte] = gg_requantize(byte - x_zero, *m, y_zero, INT8_MIN, INT8_MAX, &inside);
    }
    int32_t i = 0;
    for (; i + 4 <= elements; i += 4) { /* QIN-A1, as in shift */
        uint32_t four;
        __builtin_memcpy(&four, x + i, 4);
        const uint32_t low = (uint8_t)codes[four & 0xFFU] | (uint32_t)(uint8_t)codes[four >> 8U & 0xFFU] << 8U;
        const uint32_t high = (uint8_t)codes[four >> 16U & 0xFFU] | (uint32_t)(uint8_t)codes[four >> 24U] << 8U;
        four = low | high << 16U;
        __builtin_memcpy(y + i, &four, 4);
    }
    for (; i < elements; ++i) {
        y[i] = codes[x[i]];
    }
}
