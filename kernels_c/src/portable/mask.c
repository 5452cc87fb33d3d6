#include "goldgrad/mask.h"

#include "taps.h"

/* MASK-S1, MASK-S2 */
void gg_mask_pack(int32_t pixels, int32_t channels, const uint8_t *flags, uint8_t *mask) {
    for (int32_t p = 0; p < pixels; ++p) {
        uint8_t bits = 0;
        for (int32_t c = 0; c < channels; ++c) {
            mask = gg_put_bit(mask, &bits, c, channels, *flags++ != 0);
        }
    }
}

/* MASK-S1, MASK-S3 */
void gg_mask_unpack(int32_t pixels, int32_t channels, const uint8_t *mask, uint8_t *flags) {
    for (int32_t p = 0; p < pixels; ++p) {
        for (int32_t c = 0; c < channels; ++c) {
            *flags++ = gg_get_bit(mask, c);
        }
        mask += gg_mask_bytes(channels);
    }
}
