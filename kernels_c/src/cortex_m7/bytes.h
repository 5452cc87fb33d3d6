/* Short fills and copies, in place: no call that a board would have to bring (ABI-M4); for the kernels only. */
#ifndef GOLDGRAD_CORTEX_M7_BYTES_H
#define GOLDGRAD_CORTEX_M7_BYTES_H

#include <stdint.h>

/*
 * Words, then bytes: LDR and STR take any address.  The empty statements keep compilers from calling memset or memcpy,
 * or __aeabi_memclr.
 */
static inline void gg_m7_fill(void *to, int32_t value, int32_t count) {
    int8_t *byte = to;
    const uint32_t word = ((uint32_t)value & 0xFFU) * 0x01010101U;
    for (; count >= 4; count -= 4, byte += 4) {
        __builtin_memcpy(byte, &word, sizeof word);
        __asm__ volatile("");
    }
    for (; count > 0; --count) {
        *byte++ = (int8_t)value;
        __asm__ volatile("");
    }
}

static inline void gg_m7_copy(void *to, const void *from, int32_t count) {
    int8_t *target = to;
    const int8_t *source = from;
    for (; count >= 4; count -= 4, target += 4, source += 4) {
        uint32_t word;
        __builtin_memcpy(&word, source, sizeof word);
        __builtin_memcpy(target, &word, sizeof word);
        __asm__ volatile("");
    }
    for (; count > 0; --count) {
        *target++ = *source++;
        __asm__ volatile("");
    }
}

#endif
