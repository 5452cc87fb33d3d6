/* Maximum pooling: four channels of a pixel are compared at once, byte by byte. */
#include "goldgrad/max_pool2d.h"

#include <stddef.h>

#include "../portable/rounding.h"
#include "../portable/taps.h"

/* Four channels' largest codes so far, and the taps that hold them. */
typedef struct {
    uint32_t most, tap;
} gg_largest_t;

/* Where the codes so far are not smaller, they and their taps stay (MAXP-S2): SSUB8 tells SEL. */
static inline void compare(gg_largest_t *so_far, uint32_t codes, uint32_t tap) {
    uint32_t difference;
    __asm__("ssub8 %[difference], %[most], %[codes]\n"
            "sel %[most], %[most], %[codes]\n"
            "sel %[tap], %[tap], %[now]\n"
            : [difference] "=&r"(difference), [most] "+&r"(so_far->most), [tap] "+&r"(so_far->tap)
            : [codes] "r"(codes), [now] "r"(tap)
            : "cc");
}

/* Byte by byte: a where x is not smaller than y, else b; signed. */
static inline uint32_t choose(uint32_t x, uint32_t y, uint32_t a, uint32_t b) {
    uint32_t found;
    __asm__("ssub8 %[found], %[x], %[y]\n"
            "sel %[found], %[a], %[b]\n"
            : [found] "=&r"(found)
            : [x] "r"(x), [y] "r"(y), [a] "r"(a), [b] "r"(b)
            : "cc");
    return found;
}

/* MAXP-S1, MAXP-S2: over the taps that meet the map, in raster order; x points at the four channels. */
static gg_largest_t largest(const gg_max_pool2d_t *p, const int8_t *x, gg_taps_t rows, gg_taps_t columns) {
    const gg_window_t *const s = &p->window;
    const uint32_t ones = 0x01010101U;
    /* No code is smaller: the first tap on the map keeps its place until one is larger. */
    gg_largest_t found = {0x80808080U, ones * (uint32_t)(rows.first * s->kernel_w + columns.first)};
    const int32_t step = s->dilation_w * p->channels;
    for (int32_t kh = rows.first; kh < rows.end; ++kh) {
        const int32_t at = (rows.origin + kh * s->dilation_h) * s->in_w + columns.origin;
        const int8_t *pixel = x + at * p->channels + columns.first * step;
        uint32_t tap = ones * (uint32_t)(kh * s->kernel_w + columns.first);
        for (int32_t kw = columns.first; kw < columns.end; ++kw) {
            uint32_t codes;
            __builtin_memcpy(&codes, pixel, sizeof codes);
            compare(&found, codes, tap);
            pixel += step;
            tap += ones;
        }
    }
    return found;
}

/* MAXP-S3: four channels are clamped; their mask bits, 1 where the clamp lets through. */
static inline uint32_t clamp_four(uint32_t *codes, uint32_t lo, uint32_t hi) {
    const uint32_t above = choose(*codes, lo, 0x08040201U, 0U);
    const uint32_t within = choose(hi, *codes, above, 0U);
    const uint32_t raised = choose(*codes, lo, *codes, lo);
    *codes = choose(hi, raised, raised, hi);
    return within * 0x01010101U >> 24U;
}

/* One channel of an output that has no three neighbours. */
static gg_largest_t largest_one(const gg_max_pool2d_t *p, const int8_t *x, gg_taps_t rows, gg_taps_t columns) {
    const gg_window_t *const s = &p->window;
    int32_t most = INT8_MIN;
    int32_t tap = rows.first * s->kernel_w + columns.first;
    for (int32_t kh = rows.first; kh < rows.end; ++kh) {
        for (int32_t kw = columns.first; kw < columns.end; ++kw) {
            const int32_t at = (rows.origin + kh * s->dilation_h) * s->in_w + columns.origin + kw * s->dilation_w;
            if (x[at * p->channels] > most) {
                most = x[at * p->channels];
                tap = kh * s->kernel_w + kw;
            }
        }
    }
    return (gg_largest_t){(uint32_t)most, (uint32_t)tap};
}

/* Where an output's results go; mask and index may be NULL. */
typedef struct {
    int8_t *y;
    uint8_t *mask, *index;
} gg_results_t;

static void pool(const gg_max_pool2d_t *p, const int8_t *x, gg_taps_t rows, gg_taps_t columns, gg_results_t to) {
    const uint32_t lo = 0x01010101U * ((uint32_t)p->lo & 0xFFU);
    const uint32_t hi = 0x01010101U * ((uint32_t)p->hi & 0xFFU);
    uint8_t bits = 0;
    int32_t c = 0;
    for (; c + 4 <= p->channels; c += 4) {
        gg_largest_t found = largest(p, x + c, rows, columns);
        const uint32_t four = clamp_four(&found.most, lo, hi);
        __builtin_memcpy(to.y + c, &found.most, 4);
        if (to.index != NULL) {
            __builtin_memcpy(to.index + c, &found.tap, 4);
        }
        bits = (uint8_t)(bits | four << (uint32_t)(c % 8));
        if (to.mask != NULL) { /* the lower half of a byte is stored twice */
            to.mask[c / 8] = bits;
        }
        bits = c % 8 == 0 ? bits : 0;
    }
    uint8_t *mask = to.mask != NULL ? to.mask + c / 8 : NULL;
    for (; c < p->channels; ++c) {
        bool inside;
        const gg_largest_t found = largest_one(p, x + c, rows, columns);
        to.y[c] = gg_clamp((int32_t)found.most, 0, p->lo, p->hi, &inside);
        mask = gg_put_bit(mask, &bits, c, p->channels, inside);
        if (to.index != NULL) {
            to.index[c] = (uint8_t)found.tap;
        }
    }
}

void gg_max_pool2d_forward(const gg_max_pool2d_t *p, const int8_t *x, int8_t *y, uint8_t *mask, uint8_t *index) {
    const gg_window_t *const s = &p->window;
    gg_results_t to = {y, mask, index};
    for (int32_t oh = 0; oh < s->out_h; ++oh) {
        const gg_taps_t rows = gg_row_taps(s, oh);
        for (int32_t ow = 0; ow < s->out_w; ++ow) {
            pool(p, x, rows, gg_column_taps(s, ow), to);
            to.y += p->channels;
            to.mask = mask != NULL ? to.mask + gg_mask_bytes(p->channels) : NULL;
            to.index = index != NULL ? to.index + p->channels : NULL;
        }
    }
}
