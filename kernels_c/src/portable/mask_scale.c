#include "goldgrad/mask_scale.h"

#include "taps.h"

/* SCALE-S1: the mask chooses before anything is multiplied; SCALE-S2. */
void gg_mask_scale_forward(int32_t pixels, int32_t channels, const float *gy, const uint8_t *mask, const float *m,
                           float *g) {
    for (int32_t p = 0; p < pixels; ++p) {
        for (int32_t c = 0; c < channels; ++c) {
            *g++ = gg_get_bit(mask, c) ? *gy * m[c] : 0.0F;
            ++gy;
        }
        mask += gg_mask_bytes(channels);
    }
}
