#include "goldgrad/add.h"

#include "rounding.h"
#include "taps.h"

void gg_add_forward(const gg_add_t *p, const int8_t *x1, const int8_t *x2, const float *m1, const float *m2, int8_t *y,
                    uint8_t *mask) {
    for (int32_t i = 0; i < p->pixels; ++i) {
        uint8_t bits = 0;
        for (int32_t c = 0; c < p->channels; ++c) {
            bool inside;
            const float first = gg_fma(*m1, (float)(*x1++ - p->x1_zero), 0.0F); /* ADD-S1 */
            const float total = gg_fma(*m2, (float)(*x2++ - p->x2_zero), first);
            *y++ = gg_clamp(gg_round(total), p->y_zero, p->lo, p->hi, &inside); /* ADD-S2 */
            mask = gg_put_bit(mask, &bits, c, p->channels, inside);             /* ADD-S3 */
        }
    }
}

/* ADD-S4 */
void gg_add_vjp_x(const gg_add_t *p, const float *gy, const uint8_t *mask, const float *m, const float *dx0,
                  float *dx) {
    for (int32_t i = 0; i < p->pixels; ++i) {
        for (int32_t c = 0; c < p->channels; ++c) {
            const float start = dx0 != NULL ? *dx0++ : 0.0F;
            *dx++ = gg_get_bit(mask, c) ? gg_fma(*gy, *m, start) : start;
            ++gy;
        }
        mask += gg_mask_bytes(p->channels);
    }
}
