#include <stddef.h>

#include "../portable/taps.h"
#include "goldgrad/add.h"
#include "goldgrad/avg_pool2d.h"

/* AVGP-S5: an output's share for a pixel is what the gradient of an addition is, scaled and behind its mask (ADD-S4). */
void gg_avg_pool2d_vjp_x(const gg_avg_pool2d_t *p, const float *gy, const uint8_t *mask, const float *m,
                         const float *dx0, float *dx) {
    const gg_window_t *const s = &p->window;
    const gg_add_t pixel = {.pixels = 1, .channels = p->channels};
    if (dx0 != dx) {
        for (int32_t e = 0; e < s->in_h * s->in_w * p->channels; ++e) {
            dx[e] = dx0 != NULL ? dx0[e] : 0.0F;
        }
    }
    for (int32_t oh = 0; oh < s->out_h; ++oh) {
        const gg_taps_t rows = gg_row_taps(s, oh);
        for (int32_t ow = 0; ow < s->out_w; ++ow) {
            const gg_taps_t columns = gg_column_taps(s, ow);
            const float share = *m / (float)((rows.end - rows.first) * (columns.end - columns.first)); /* AVGP-S2 */
            for (int32_t kh = rows.first; kh < rows.end; ++kh) {
                for (int32_t kw = columns.first; kw < columns.end; ++kw) {
                    const int32_t ih = rows.origin + kh * s->dilation_h;
                    const int32_t iw = columns.origin + kw * s->dilation_w;
                    float *const out = dx + (ih * s->in_w + iw) * p->channels;
                    gg_add_vjp_x(&pixel, gy, mask, &share, out, out);
                }
            }
            gy += p->channels;
            mask += gg_mask_bytes(p->channels);
        }
    }
}
