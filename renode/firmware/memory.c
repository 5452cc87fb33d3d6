/*
 * The functions that compilers call on their own: there is no C library (BOARD-S6).  Compiled with -fno-builtin, or
 * each loop would become a call of itself.  A word at a time where both sides are aligned alike.
 *
 * clang calls them by the names of the run-time ABI for Arm (IHI 0043, 4.3.4): a name for each alignment that the caller
 * knows of, 1, 4 or 8 bytes; no result; memset's count before its value; memclr for a value of 0.
 */
#include <stddef.h>
#include <stdint.h>

#define WORD sizeof(uint32_t)

/* Words that stand for bytes of any type. */
typedef uint32_t __attribute__((may_alias)) gg_word_t;

void *memcpy(void *restrict to, const void *restrict from, size_t count);
void *memmove(void *to, const void *from, size_t count);
void *memset(void *to, int value, size_t count);
int memcmp(const void *left, const void *right, size_t count);
/* NOLINTBEGIN(bugprone-reserved-identifier): reserved for implementations, which this is. */
void __aeabi_memcpy(void *restrict to, const void *restrict from, size_t count);
void __aeabi_memcpy4(void *restrict to, const void *restrict from, size_t count);
void __aeabi_memcpy8(void *restrict to, const void *restrict from, size_t count);
void __aeabi_memmove(void *to, const void *from, size_t count);
void __aeabi_memmove4(void *to, const void *from, size_t count);
void __aeabi_memmove8(void *to, const void *from, size_t count);
void __aeabi_memset(void *to, size_t count, int value);
void __aeabi_memset4(void *to, size_t count, int value);
void __aeabi_memset8(void *to, size_t count, int value);
void __aeabi_memclr(void *to, size_t count);
void __aeabi_memclr4(void *to, size_t count);
void __aeabi_memclr8(void *to, size_t count);

static int aligned(const void *pointer) {
    return (uintptr_t)pointer % WORD == 0;
}

/* Upwards: right also where to lies below from and the two overlap. */
static void copy_up(uint8_t *to, const uint8_t *from, size_t count) {
    if (((uintptr_t)to - (uintptr_t)from) % WORD == 0) {
        for (; count > 0 && !aligned(to); --count) {
            *to++ = *from++;
        }
        for (; count >= 4 * WORD; count -= 4 * WORD, to += 4 * WORD, from += 4 * WORD) {
            gg_word_t *target = (gg_word_t *)(void *)to;
            const gg_word_t *source = (const gg_word_t *)(const void *)from;
            target[0] = source[0];
            target[1] = source[1];
            target[2] = source[2];
            target[3] = source[3];
        }
        for (; count >= WORD; count -= WORD, to += WORD, from += WORD) {
            *(gg_word_t *)(void *)to = *(const gg_word_t *)(const void *)from;
        }
    }
    for (; count > 0; --count) {
        *to++ = *from++;
    }
}

static void copy_down(uint8_t *to, const uint8_t *from, size_t count) {
    to += count;
    from += count;
    if (((uintptr_t)to - (uintptr_t)from) % WORD == 0) {
        for (; count > 0 && !aligned(to); --count) {
            *--to = *--from;
        }
        for (; count >= WORD; count -= WORD) {
            to -= WORD;
            from -= WORD;
            *(gg_word_t *)(void *)to = *(const gg_word_t *)(const void *)from;
        }
    }
    for (; count > 0; --count) {
        *--to = *--from;
    }
}

void *memcpy(void *restrict to, const void *restrict from, size_t count) {
    copy_up(to, from, count);
    return to;
}

void *memmove(void *to, const void *from, size_t count) {
    if ((uintptr_t)to <= (uintptr_t)from) {
        copy_up(to, from, count);
    } else {
        copy_down(to, from, count);
    }
    return to;
}

void *memset(void *to, int value, size_t count) {
    uint8_t *byte = to;
    const uint32_t word = (uint32_t)(uint8_t)value * 0x01010101U;
    for (; count > 0 && !aligned(byte); --count) {
        *byte++ = (uint8_t)value;
    }
    for (; count >= 4 * WORD; count -= 4 * WORD, byte += 4 * WORD) {
        gg_word_t *target = (gg_word_t *)(void *)byte;
        target[0] = word;
        target[1] = word;
        target[2] = word;
        target[3] = word;
    }
    for (; count > 0; --count) {
        *byte++ = (uint8_t)value;
    }
    return to;
}

int memcmp(const void *left, const void *right, size_t count) {
    const uint8_t *a = left;
    const uint8_t *b = right;
    for (; count > 0; --count, ++a, ++b) {
        if (*a != *b) {
            return *a < *b ? -1 : 1;
        }
    }
    return 0;
}

void __aeabi_memcpy(void *restrict to, const void *restrict from, size_t count) {
    memcpy(to, from, count);
}

void __aeabi_memcpy4(void *restrict to, const void *restrict from, size_t count) {
    memcpy(to, from, count);
}

void __aeabi_memcpy8(void *restrict to, const void *restrict from, size_t count) {
    memcpy(to, from, count);
}

void __aeabi_memmove(void *to, const void *from, size_t count) {
    memmove(to, from, count);
}

void __aeabi_memmove4(void *to, const void *from, size_t count) {
    memmove(to, from, count);
}

void __aeabi_memmove8(void *to, const void *from, size_t count) {
    memmove(to, from, count);
}

void __aeabi_memset(void *to, size_t count, int value) {
    memset(to, value, count);
}

void __aeabi_memset4(void *to, size_t count, int value) {
    memset(to, value, count);
}

void __aeabi_memset8(void *to, size_t count, int value) {
    memset(to, value, count);
}

void __aeabi_memclr(void *to, size_t count) {
    memset(to, 0, count);
}

void __aeabi_memclr4(void *to, size_t count) {
    memset(to, 0, count);
}

void __aeabi_memclr8(void *to, size_t count) {
    memset(to, 0, count);
}
/* NOLINTEND(bugprone-reserved-identifier) */
