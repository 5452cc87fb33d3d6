/* Which taps of a window meet the map (WIN-S2), and packing of mask bits (MASK-S1); for the kernels only. */
#ifndef GOLDGRAD_PORTABLE_TAPS_H
#define GOLDGRAD_PORTABLE_TAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "goldgrad/window.h"

/* Along one axis: taps first <= k < end lie on the map, tap k at origin + k * dilation. */
typedef struct {
    int32_t origin, first, end;
} gg_taps_t;

static inline gg_taps_t gg_axis_taps(int32_t output, int32_t stride, int32_t pad, int32_t dilation, int32_t kernel,
                                     int32_t size) {
    gg_taps_t taps = {output * stride - pad, 0, 0};
    if (taps.origin < 0) {
        taps.first = (-taps.origin - 1) / dilation + 1; /* ceil, and no sum that could leave int32 */
    }
    if (taps.origin < size) {
        taps.end = (size - 1 - taps.origin) / dilation + 1;
    }
    if (taps.end > kernel) {
        taps.end = kernel;
    }
    return taps;
}

static inline gg_taps_t gg_row_taps(const gg_window_t *s, int32_t oh) {
    return gg_axis_taps(oh, s->stride_h, s->pad_top, s->dilation_h, s->kernel_h, s->in_h);
}

static inline gg_taps_t gg_column_taps(const gg_window_t *s, int32_t ow) {
    return gg_axis_taps(ow, s->stride_w, s->pad_left, s->dilation_w, s->kernel_w, s->in_w);
}

/* Along one axis: the output whose tap k meets input i, or -1. */
static inline int32_t gg_axis_output(int32_t i, int32_t k, int32_t stride, int32_t pad, int32_t dilation,
                                     int32_t outputs) {
    const int32_t at = i + pad - k * dilation;
    if (at < 0 || at % stride != 0 || at / stride >= outputs) {
        return -1;
    }
    return at / stride;
}

static inline int32_t gg_output_row(const gg_window_t *s, int32_t ih, int32_t kh) {
    return gg_axis_output(ih, kh, s->stride_h, s->pad_top, s->dilation_h, s->out_h);
}

static inline int32_t gg_output_column(const gg_window_t *s, int32_t iw, int32_t kw) {
    return gg_axis_output(iw, kw, s->stride_w, s->pad_left, s->dilation_w, s->out_w);
}

/*
 * Append channel c of a pixel to a mask that may be NULL: bits gathers 8 channels, a full or last byte is stored.
 * Returns where the next byte goes.
 */
static inline uint8_t *gg_put_bit(uint8_t *mask, uint8_t *bits, int32_t c, int32_t channels, bool bit) {
    if (mask == NULL) {
        return NULL;
    }
    *bits = (uint8_t)(*bits | (uint32_t)bit << (uint32_t)(c % 8));
    if (c % 8 == 7 || c == channels - 1) {
        *mask++ = *bits;
        *bits = 0;
    }
    return mask;
}

/* Bytes a pixel of a mask takes. */
static inline int32_t gg_mask_bytes(int32_t channels) {
    return channels / 8 + (channels % 8 != 0);
}

static inline bool gg_get_bit(const uint8_t *mask, int32_t c) {
    return ((uint32_t)mask[c / 8] >> (uint32_t)(c % 8) & 1U) != 0;
}

#endif
