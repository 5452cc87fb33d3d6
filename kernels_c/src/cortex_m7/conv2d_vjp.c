#include <stdbool.h>
#include <stddef.h>

#include "../portable/rounding.h"
#include "chains_f32.h"
#include "goldgrad/conv2d.h"
#include "goldgrad/cortex_m7.h"
#include "portable.h"

/*
 * Both gradients of a pointwise convolution are products of matrices of which one, codes, is converted to float32: some
 * links of every chain of some columns at a time lie in scratch, in panels of 4 columns, while all rows pass.  So a code
 * is read from flash once, and scratch does not grow with the operator.
 */
enum { TILE = 4 };

static const float zeros[TILE];

/* One sum of products as it is written down: a(m, i) is a[m * a_m + i * a_i]. */
typedef struct {
    const float *a, *start;
    float *c;
    int32_t a_m, a_i, rows, c_row;
} matrix_t;

static int32_t lesser(int32_t a, int32_t b) {
    return a < b ? a : b;
}

/* Four columns of rows that are in no whole tile. */
static void rows(const matrix_t *s, int32_t n, const float *b, int32_t k, bool goes_on) {
    for (int32_t m = 0; m < s->rows; ++m) {
        const float *const start = goes_on ? s->c : s->start;
        const float *a = s->a + m * s->a_m;
        float *const c = s->c + m * s->c_row + n;
        float sums[TILE];
        for (int32_t j = 0; j < TILE; ++j) {
            sums[j] = start != NULL ? start[m * s->c_row + n + j] : 0.0F;
        }
        for (const float *at = b; at < b + TILE * k; at += TILE) {
            const float factor = *a;
            sums[0] = gg_fma(factor, at[0], sums[0]);
            sums[1] = gg_fma(factor, at[1], sums[1]);
            sums[2] = gg_fma(factor, at[2], sums[2]);
            sums[3] = gg_fma(factor, at[3], sums[3]);
            a += s->a_i;
        }
        for (int32_t j = 0; j < TILE; ++j) {
            c[j] = sums[j];
        }
    }
}

/* A column that is in no whole panel: four rows at a time, then one by one. */
static void column(const matrix_t *s, int32_t n, const float *b, int32_t k, bool goes_on) {
    const float *const start = goes_on ? s->c : s->start;
    int32_t m = 0;
    for (; m + TILE <= s->rows; m += TILE) {
        const float *a = s->a + m * s->a_m;
        float sums[TILE];
        for (int32_t j = 0; j < TILE; ++j) {
            sums[j] = start != NULL ? start[(m + j) * s->c_row + n] : 0.0F;
        }
        for (int32_t i = 0; i < k; ++i) {
            const float factor = b[TILE * i];
            sums[0] = gg_fma(a[0], factor, sums[0]);
            sums[1] = gg_fma(a[s->a_m], factor, sums[1]);
            sums[2] = gg_fma(a[2 * s->a_m], factor, sums[2]);
            sums[3] = gg_fma(a[3 * s->a_m], factor, sums[3]);
            a += s->a_i;
        }
        for (int32_t j = 0; j < TILE; ++j) {
            s->c[(m + j) * s->c_row + n] = sums[j];
        }
    }
    for (; m < s->rows; ++m) {
        const float *const a = s->a + m * s->a_m;
        float sum = start != NULL ? start[m * s->c_row + n] : 0.0F;
        for (int32_t i = 0; i < k; ++i) {
            sum = gg_fma(a[i * s->a_i], b[TILE * i], sum);
        }
        s->c[m * s->c_row + n] = sum;
    }
}

/* Columns n .. n + width - 1 by links i .. i + k - 1, which are in scratch. */
static void multiply(const matrix_t *s, int32_t n, int32_t width, int32_t i, int32_t k, const float *panels) {
    const int32_t whole = width / TILE;
    const bool goes_on = i > 0;
    matrix_t t = *s;
    int32_t m = 0;
    t.a += i * s->a_i;
    t.c += n;
    t.start = s->start != NULL ? s->start + n : NULL;
    if (whole > 0) {
        const bool in_rows = s->a_i == 1;
        gg_m7_gemm_t q = {.k = k, .b = panels, .panels = whole};
        q.a_row = 4 * (in_rows ? s->a_m : s->a_i);
        q.c_row = 4 * s->c_row;
        for (; m + TILE <= s->rows; m += TILE) {
            q.a = t.a + m * s->a_m;
            q.c = t.c + m * s->c_row;
            q.start = goes_on ? q.c : t.start != NULL ? t.start + m * s->c_row : zeros;
            q.start_row = q.start != zeros ? q.c_row : 0;
            q.start_step = q.start != zeros ? 4 * TILE : 0;
            if (in_rows) {
                gg_m7_gemm_rows(&q);
            } else {
                gg_m7_gemm_columns(&q);
            }
        }
    }
    for (int32_t j = whole * TILE; j < width; ++j) {
        column(&t, j, panels + j / TILE * TILE * k + j % TILE, k, goes_on);
    }
    t.a += m * s->a_m;
    t.c += m * s->c_row;
    t.start = t.start != NULL ? t.start + m * s->c_row : NULL;
    t.rows -= m;
    for (int32_t j = 0; j < whole; ++j) {
        rows(&t, TILE * j, panels + TILE * k * j, k, goes_on);
    }
}

/* Codes less their zero point as panels: width of each of k rows. */
static void convert(const int8_t *codes, int32_t row, int32_t width, int32_t k, int32_t zero, float *panels) {
    const int32_t fours = width / TILE;
    const gg_m7_codes_t c = {.from = codes, .from_row = row, .fours = fours, .rows = k, .to = panels, .less = -zero};
    if (fours > 0) {
        gg_m7_floats(&c);
    }
    for (int32_t i = 0; width % TILE != 0 && i < k; ++i) {
        for (int32_t n = fours * TILE; n < width; ++n) {
            panels[fours * TILE * k + TILE * i + n % TILE] = (float)(codes[i * row + n] - zero);
        }
    }
}

static bool is_pointwise(const gg_window_t *s) {
    return s->kernel_h == 1 && s->kernel_w == 1 && s->in_h == s->out_h && s->in_w == s->out_w && s->pad_top == 0 &&
           s->pad_left == 0 && s->stride_h == 1 && s->stride_w == 1;
}

/* CONV-S4: rows are pixels, columns input channels, links output channels. */
void gg_conv2d_vjp_x(const gg_conv2d_t *p, const float *g, const int8_t *w, const float *dx0, const int8_t *trained,
                     const int32_t *channels, int32_t kept, float *dx, void *scratch) {
    const matrix_t s = {g, dx0, dx, p->out_c, 1, p->window.in_h * p->window.in_w, p->in_c};
    const gg_m7_panels_t size = gg_m7_panels(p->in_c, p->out_c);
    float *const panels = scratch;
    int32_t first = 0;
    if (!is_pointwise(&p->window)) {
        gg_portable_conv2d_vjp_x(p, g, w, dx0, trained, channels, kept, dx, NULL);
        return;
    }
    for (int32_t n = 0; n < p->in_c; n += size.width) {
        const int32_t width = lesser(size.width, p->in_c - n);
        int32_t end = first;
        while (end < kept && channels[end] < n + width) {
            ++end;
        }
        for (int32_t o = 0; o < p->out_c; o += size.links) {
            const int32_t k = lesser(size.links, p->out_c - o);
            convert(w + o * p->in_c + n, p->in_c, width, k, 0, panels);
            for (int32_t j = first; j < end; ++j) { /* CONV-S7 */
                const int32_t at = channels[j] - n;
                float *const to = panels + at / TILE * TILE * k + at % TILE;
                for (int32_t i = 0; i < k; ++i) {
                    to[TILE * i] = (float)trained[(o + i) * kept + j];
                }
            }
            multiply(&s, n, width, o, k, panels);
        }
        first = end;
    }
}

int32_t gg_conv2d_vjp_x_scratch_bytes(const gg_conv2d_t *p) {
    return gg_m7_conv2d_vjp_x_scratch_bytes(p);
}

/* CONV-S5: rows are output channels, columns input channels, links pixels. */
void gg_conv2d_vjp_w(const gg_conv2d_t *p, const float *g, const int8_t *x, const float *dw0, float *dw,
                     void *scratch) {
    const matrix_t s = {g, dw0, dw, 1, p->out_c, p->out_c, p->in_c};
    const int32_t pixels = p->window.in_h * p->window.in_w;
    const gg_m7_panels_t size = gg_m7_panels(p->in_c, pixels);
    if (!is_pointwise(&p->window)) {
        gg_portable_conv2d_vjp_w(p, g, x, dw0, dw, NULL);
        return;
    }
    for (int32_t n = 0; n < p->in_c; n += size.width) {
        const int32_t width = lesser(size.width, p->in_c - n);
        for (int32_t i = 0; i < pixels; i += size.links) {
            const int32_t k = lesser(size.links, pixels - i);
            convert(x + i * p->in_c + n, p->in_c, width, k, p->x_zero, scratch);
            multiply(&s, n, width, i, k, scratch);
        }
    }
}

int32_t gg_conv2d_vjp_w_scratch_bytes(const gg_conv2d_t *p) {
    return gg_m7_conv2d_vjp_w_scratch_bytes(p);
}
