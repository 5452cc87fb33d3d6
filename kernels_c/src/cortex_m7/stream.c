#include "goldgrad/stream.h"

/*
 * STREAM-M3.  Rows are a few words: copied as such, from and to any address, since LDR and STR need no alignment in
 * memory.
 */
static void copy(int32_t count, int32_t bytes, int32_t from_row, const char *from, int32_t to_row, char *to) {
    for (int32_t i = 0; i < count; ++i) {
        int32_t n = 0;
        for (; n + 16 <= bytes; n += 16) {
            uint32_t words[4];
            for (int32_t j = 0; j < 4; ++j) {
                __builtin_memcpy(&words[j], from + n + 4 * j, 4);
            }
            for (int32_t j = 0; j < 4; ++j) {
                __builtin_memcpy(to + n + 4 * j, &words[j], 4);
            }
        }
        for (; n + 4 <= bytes; n += 4) {
            uint32_t word;
            __builtin_memcpy(&word, from + n, 4);
            __builtin_memcpy(to + n, &word, 4);
        }
        for (; n < bytes; ++n) {
            to[n] = from[n];
        }
        from += from_row;
        to += to_row;
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
