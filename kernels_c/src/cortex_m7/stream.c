#include "goldgrad/stream.h"

/* So many words of each row by way of the FPU, which has registers to spare; rows and words are aligned. */
#define STRIP(name, list)                                                                                              \
    static void name(int32_t count, int32_t from_row, const char *from, int32_t to_row, char *to) {                    \
        __asm__ volatile("1:\n"                                                                                        \
                         "vldmia %[from], {" list "}\n"                                                                \
                         "add %[from], %[from_row]\n"                                                                  \
                         "subs %[count], #1\n"                                                                         \
                         "vstmia %[to], {" list "}\n"                                                                  \
                         "add %[to], %[to_row]\n"                                                                      \
                         "bne 1b\n"                                                                                    \
                         : [count] "+r"(count), [from] "+r"(from), [to] "+r"(to)                                       \
                         : [from_row] "r"(from_row), [to_row] "r"(to_row)                                              \
                         : "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "cc", "memory");                            \
    }

STRIP(eight, "s0-s7")
STRIP(four, "s0-s3")
STRIP(two, "s0-s1")
STRIP(one, "s0")

/* Bytes of each row one by one, from any address. */
static void bytes(int32_t count, int32_t width, int32_t from_row, const char *from, int32_t to_row, char *to) {
    for (int32_t i = 0; i < count; ++i) {
        for (int32_t n = 0; n < width; ++n) {
            to[n] = from[n];
        }
        from += from_row;
        to += to_row;
    }
}

/* Words of each row, which LDR and STR move from and to any address. */
static void words(int32_t count, int32_t width, int32_t from_row, const char *from, int32_t to_row, char *to) {
    for (int32_t i = 0; i < count; ++i) {
        for (int32_t n = 0; n < width; n += 4) {
            uint32_t word;
            __builtin_memcpy(&word, from + n, sizeof word);
            __builtin_memcpy(to + n, &word, sizeof word);
        }
        from += from_row;
        to += to_row;
    }
}

/* STREAM-M3, for rows of bytes. */
static void copy(int32_t count, int32_t width, int32_t from_row, const char *from, int32_t to_row, char *to) {
    const uint32_t places = (uint32_t)(uintptr_t)from | (uint32_t)(uintptr_t)to | (uint32_t)from_row | (uint32_t)to_row;
    const int32_t whole = width / 4 * 4;
    int32_t n = 0;
    if (places % 4 == 0) {
        for (; n + 32 <= whole; n += 32) {
            eight(count, from_row, from + n, to_row, to + n);
        }
        for (; n + 16 <= whole; n += 16) {
            four(count, from_row, from + n, to_row, to + n);
        }
        if (n + 8 <= whole) {
            two(count, from_row, from + n, to_row, to + n);
            n += 8;
        }
        if (n + 4 <= whole) {
            one(count, from_row, from + n, to_row, to + n);
        }
    } else if (whole > 0) {
        words(count, whole, from_row, from, to_row, to);
    }
    if (whole < width) {
        bytes(count, width - whole, from_row, from + whole, to_row, to + whole);
    }
}

void gg_stream_copy_int8(int32_t count, int32_t width, int32_t from_stride, const int8_t *from, int32_t to_stride,
                         int8_t *to) {
    copy(count, width, from_stride, (const char *)from, to_stride, (char *)to);
}

void gg_stream_copy_float(int32_t count, int32_t width, int32_t from_stride, const float *from, int32_t to_stride,
                          float *to) {
    copy(count, 4 * width, 4 * from_stride, (const char *)from, 4 * to_stride, (char *)to);
}
