/* Sum of two activations: all elements in one row, eight at a time, where masks have no gaps between pixels. */
#include "goldgrad/add.h"

#include <stddef.h>

#include "add_int8.h"
#include "magic.h"
#include "portable.h"

static uint32_t twice(int32_t zero) {
    return ((uint32_t)-zero & 0xFFFFU) * 0x10001U;
}

void gg_add_forward(const gg_add_t *p, const int8_t *x1, const int8_t *x2, const float *m1, const float *m2, int8_t *y,
                    uint8_t *mask) {
    const int32_t count = p->pixels * p->channels;
    /* 255 * (m1 + m2) is the largest sum, but for roundings. */
    const bool proven = p->lo == -128 && p->hi == 127 && 256.0F * (*m1 + *m2) < GG_M7_REACH;
    int32_t done = 0;
    if (proven && (mask == NULL || p->channels % 8 == 0) && count >= 8) {
        const gg_m7_add_t add = {
            .x1 = x1,
            .x2 = x2,
            .y = y,
            .mask = mask,
            .groups = count / 8,
            .less1 = twice(p->x1_zero),
            .less2 = twice(p->x2_zero),
            .m1 = *m1,
            .m2 = *m2,
            .magic = gg_m7_magic(p->y_zero),
        };
        if (p->y_zero % 2 == 0) {
            (mask != NULL ? gg_m7_add_mask : gg_m7_add)(&add);
        } else {
            (mask != NULL ? gg_m7_add_mask_odd : gg_m7_add_odd)(&add);
        }
        done = count / 8 * 8;
    }
    if (done == 0) {
        gg_portable_add_forward(p, x1, x2, m1, m2, y, mask);
    } else if (done < count) { /* no mask is wanted, then */
        gg_add_t rest = *p;
        rest.pixels = 1;
        rest.channels = count - done;
        gg_portable_add_forward(&rest, x1 + done, x2 + done, m1, m2, y + done, NULL);
    }
}
