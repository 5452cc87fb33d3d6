/* Short fills and copies, in place: no call that a board would have to bring (ABI-M4); for the kernels only. */
#ifndef GOLDGRAD_CORTEX_M7_BYTES_H
#define GOLDGRAD_CORTEX_M7_BYTES_H

#include <stdint.h>

/* The empty statement keeps compilers from calling memset, or __aeabi_memclr. */
static inline void gg_m7_fill(void *to, int32_t value, int32_t count) {
    int8_t *const byte = to;
    for (int32_t i = 0; i < count; ++i) {
        byte[i] = (int8_t)value;
        __asm__ volatile("");
    }
}

static inline void gg_m7_copy(void *to, const void *from, int32_t count) {
    int8_t *const target = to;
    const int8_t *const source = from;
    for (int32_t i = 0; i < count; ++i) {
        target[i] = source[i];
        __asm__ volatile("");
    }
}

#endif
