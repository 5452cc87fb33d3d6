#include "products_f32.h"

#include <stdbool.h>
#include <stddef.h>

#include "../portable/rounding.h"
#include "chains_f32.h"
#include "gemm_f32.h"

enum { TILE = GG_M7_TILE, TURN = 8, FLOAT = 4 };

static const float zeros[GG_M7_WIDE];

/* Four columns of rows that are in no whole tile. */
static void rows(const gg_m7_matrix_t *s, int32_t n, const float *b, int32_t k) {
    for (int32_t m = 0; m < s->rows; ++m) {
        const float *a = s->a + m * s->a_m;
        float *const c = s->c + m * s->c_row + n;
        float sums[TILE];
        for (int32_t j = 0; j < TILE; ++j) {
            sums[j] = s->start != NULL ? s->start[m * s->c_row + n + j] : 0.0F;
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
static void column(const gg_m7_matrix_t *s, int32_t n, const float *b, int32_t k) {
    int32_t m = 0;
    for (; m + TILE <= s->rows; m += TILE) {
        const float *a = s->a + m * s->a_m;
        float sums[TILE];
        for (int32_t j = 0; j < TILE; ++j) {
            sums[j] = s->start != NULL ? s->start[(m + j) * s->c_row + n] : 0.0F;
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
        float sum = s->start != NULL ? s->start[m * s->c_row + n] : 0.0F;
        for (int32_t i = 0; i < k; ++i) {
            sum = gg_fma(a[i * s->a_i], b[TILE * i], sum);
        }
        s->c[m * s->c_row + n] = sum;
    }
}

/* The tiles of c, which begins at column n, from row 0 on; what is there of start. */
static gg_m7_gemm_t tiles_of(const gg_m7_matrix_t *s, int32_t n, int32_t panel, int32_t panels, int32_t k,
                             const float *b) {
    gg_m7_gemm_t q = {.a = s->a, .k = k, .b = b, .panels = panels, .c = s->c + n, .start = zeros};
    q.a_row = FLOAT * (s->a_i == 1 ? s->a_m : s->a_i);
    q.c_row = FLOAT * s->c_row;
    q.tiles = s->rows / TILE;
    if (s->start != NULL) {
        q.start = s->start + n;
        q.start_row = q.c_row;
        q.start_step = FLOAT * panel;
    }
    return q;
}

/* The rest of rows after the first m. */
static gg_m7_matrix_t after(const gg_m7_matrix_t *s, int32_t m) {
    gg_m7_matrix_t t = *s;
    t.a += m * s->a_m;
    t.c += m * s->c_row;
    t.start = s->start != NULL ? s->start + m * s->c_row : NULL;
    t.rows -= m;
    return t;
}

void gg_m7_multiply(const gg_m7_matrix_t *s, int32_t n, int32_t width, int32_t k, const float *panels) {
    const int32_t whole = width / TILE;
    int32_t m = 0;
    if (whole > 0 && k > 0 && s->rows >= TILE) {
        gg_m7_gemm_t q = tiles_of(s, n, TILE, whole, k, panels);
        if (s->a_i == 1) {
            gg_m7_gemm_rows(&q);
        } else {
            gg_m7_gemm_columns(&q);
        }
        m = s->rows / TILE * TILE;
    }
    for (int32_t j = whole * TILE; j < width; ++j) {
        column(s, n + j, panels + j / TILE * TILE * k + j % TILE, k);
    }
    const gg_m7_matrix_t rest = after(s, m);
    for (int32_t j = 0; j < whole; ++j) {
        rows(&rest, n + TILE * j, panels + TILE * k * j, k);
    }
}

bool gg_m7_multiplies_codes(int32_t width, int32_t k, int32_t panel) {
    return width % panel == 0 && k % TURN == 0;
}

void gg_m7_multiply_codes(const gg_m7_matrix_t *s, int32_t n, int32_t width, int32_t k, const gg_m7_coded_t *codes,
                          float *panels) {
    const int32_t count = width / codes->width;
    const bool wide = codes->width == GG_M7_WIDE;
    gg_m7_gemm_t q = tiles_of(s, n, codes->width, count, k, panels);
    q.codes = codes->from;
    q.codes_row = codes->row;
    q.codes_panel = codes->panel;
    q.table = codes->floats;
    (wide ? gg_m7_gemm_codes_6 : gg_m7_gemm_codes)(&q);
    const gg_m7_matrix_t rest = after(s, TILE);
    if (!wide) {
        gg_m7_multiply(&rest, n, width, k, panels);
    } else if (rest.rows > 0) {
        q = tiles_of(&rest, n, GG_M7_WIDE, count, k, panels);
        gg_m7_gemm_rows_6(&q);
    }
}

void gg_m7_panels_of(const int8_t *codes, int32_t row, int32_t width, int32_t k, int32_t zero, float *panels) {
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
