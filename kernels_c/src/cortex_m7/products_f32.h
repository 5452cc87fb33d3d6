/* Products of float32 matrices of which one is made of codes, for kernels of a Cortex-M7 only. */
#ifndef GOLDGRAD_CORTEX_M7_PRODUCTS_F32_H
#define GOLDGRAD_CORTEX_M7_PRODUCTS_F32_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Chains from start, or +0, in c: chain (m, n) adds a(m, i) * b(i, n), and a(m, i) is a[m * a_m + i * a_i].  Rows of c,
 * and of start, lie c_row floats apart.  c may be start; else it overlaps nothing.
 */
typedef struct {
    const float *a, *start;
    float *c;
    int32_t a_m, a_i, rows, c_row;
} gg_m7_matrix_t;

/* Codes less their zero point as panels of four columns, each [k][4]: the first width of each of k rows. */
void gg_m7_panels_of(const int8_t *codes, int32_t row, int32_t width, int32_t k, int32_t zero, float *panels);

/* Columns n .. n + width - 1 of c by k >= 0 links, whose panels are given.  a_m or a_i is 1. */
void gg_m7_multiply(const gg_m7_matrix_t *s, int32_t n, int32_t width, int32_t k, const float *panels);

/* Codes of some links, in panels: the width columns of link i of panel j begin at from[j * panel + i * row]. */
typedef struct {
    const int8_t *from;
    int32_t row, panel, width;
    const float *floats; /* by the low eight bits of a code */
} gg_m7_coded_t;

/* Whether width columns of k links leave none of a turn or of a panel over. */
bool gg_m7_multiplies_codes(int32_t width, int32_t k, int32_t panel);

/*
 * As gg_m7_multiply where a_i is 1, of codes that become float32 with the first four rows.  Four rows at least, if
 * panels have six columns whole fours; four floats behind the panels are written.  The codes may lie at the panels' end.
 */
void gg_m7_multiply_codes(const gg_m7_matrix_t *s, int32_t n, int32_t width, int32_t k, const gg_m7_coded_t *codes,
                          float *panels);

#endif
