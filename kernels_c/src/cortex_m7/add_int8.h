/* Sum of int8 activations, eight at a time (kernels_c/gen/add_int8.py); for the kernels only. */
#ifndef GOLDGRAD_CORTEX_M7_ADD_INT8_H
#define GOLDGRAD_CORTEX_M7_ADD_INT8_H

#include <stddef.h>
#include <stdint.h>

/*
 * groups of 8 elements, and a byte of the mask for each.  less1, less2: minus the zero points, twice; magic: gg_m7_magic
 * of y's.  What comes out must lie within GG_M7_REACH before the zero point is added.  _odd: where that is odd
 */
typedef struct {
    const int8_t *x1, *x2;
    int8_t *y;
    uint8_t *mask;
    int32_t groups;
    uint32_t less1, less2;
    float m1, m2, magic;
} gg_m7_add_t;

#if __SIZEOF_POINTER__ == 4
_Static_assert(offsetof(gg_m7_add_t, m1) == 28, "add_int8.py knows where it is");
#endif

void gg_m7_add(const gg_m7_add_t *p);
void gg_m7_add_odd(const gg_m7_add_t *p);
void gg_m7_add_mask(const gg_m7_add_t *p);
void gg_m7_add_mask_odd(const gg_m7_add_t *p);

#endif
