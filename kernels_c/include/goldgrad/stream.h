/* What streamed blocks need besides kernels: windows of some rows, and channels apart (specs/streaming.md). */
#ifndef GOLDGRAD_STREAM_H
#define GOLDGRAD_STREAM_H

#include <stdint.h>

#include "goldgrad/window.h"

/*
 * The window by which some output rows read their map (STREAM-S2): of_rows gets map's geometry with out_h = rows, and as
 * in_h and pad_top the rows of the map that these output rows meet, and the padding above them.
 *
 *   map      the window of the whole map; every output row meets a row of the map (WIN-S3)
 *   row      the first of the output rows: 0 <= row < map->out_h
 *   rows     how many they are: 1 <= rows <= map->out_h - row
 *   of_rows  all of it is written; overlaps nothing
 *
 * Returns the first row of the map that is met.
 */
int32_t gg_stream_rows(const gg_window_t *map, int32_t row, int32_t rows, gg_window_t *of_rows);

/*
 * A channel, or some that lie side by side, of a tensor with channels last, out of it or into it (STREAM-M3):
 * to[i * to_stride + j] = from[i * from_stride + j] for 0 <= i < count and 0 <= j < width.  Every bit as it was; nothing
 * else is written, and the arrays do not overlap.
 *
 *   count    pixels, rows of a weight: at least 1
 *   width    channels of each, from 1 to the lesser of the strides
 *   strides  channels of the tensors; count * stride fits into int32_t
 */
void gg_stream_copy_int8(int32_t count, int32_t width, int32_t from_stride, const int8_t *from, int32_t to_stride,
                         int8_t *to);
void gg_stream_copy_float(int32_t count, int32_t width, int32_t from_stride, const float *from, int32_t to_stride,
                          float *to);

/*
 * One channel's bits of a mask, a byte a pixel, 0 or 1 (STREAM-M3).
 *
 *   mask  uint8 [count][stride], packed along channels;  0 <= channel < 8 * stride
 *   to    uint8 [count], all of it is written; overlaps nothing
 */
void gg_stream_take_bit(int32_t count, int32_t stride, int32_t channel, const uint8_t *mask, uint8_t *to);

#endif
