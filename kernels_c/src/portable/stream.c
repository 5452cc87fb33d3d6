#include "goldgrad/stream.h"

/* STREAM-S2: rows outside the map are padding. */
int32_t gg_stream_rows(const gg_window_t *map, int32_t row, int32_t rows, gg_window_t *of_rows) {
    int32_t low = row * map->stride_h - map->pad_top;
    int32_t high = low + (rows - 1) * map->stride_h + (map->kernel_h - 1) * map->dilation_h + 1;
    int32_t first = low < 0 ? 0 : low;
    int32_t end = high > map->in_h ? map->in_h : high;
    *of_rows = *map;
    of_rows->in_h = end - first;
    of_rows->out_h = rows;
    of_rows->pad_top = first - low;
    return first;
}

/* STREAM-M3 */
void gg_stream_copy_int8(int32_t count, int32_t width, int32_t from_stride, const int8_t *from, int32_t to_stride,
                         int8_t *to) {
    for (int32_t i = 0; i < count; ++i) {
        for (int32_t j = 0; j < width; ++j) {
            to[i * to_stride + j] = from[i * from_stride + j];
        }
    }
}

void gg_stream_copy_float(int32_t count, int32_t width, int32_t from_stride, const float *from, int32_t to_stride,
                          float *to) {
    for (int32_t i = 0; i < count; ++i) {
        for (int32_t j = 0; j < width; ++j) {
            to[i * to_stride + j] = from[i * from_stride + j];
        }
    }
}

void gg_stream_take_bit(int32_t count, int32_t stride, int32_t channel, const uint8_t *mask, uint8_t *to) {
    mask += channel / 8;
    for (int32_t i = 0; i < count; ++i) {
        to[i] = (uint8_t)((uint32_t)mask[i * stride] >> (uint32_t)(channel % 8) & 1U);
    }
}
