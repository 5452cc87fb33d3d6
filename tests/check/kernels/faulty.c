/* A mask packed as it should be, but for what FAULT plants. */
#include "goldgrad/mask.h"

#define NULL_WRITE 1
#define TRAP 2
#define ENDLESS 3
#define ALIGNED 4
#define BEYOND 5

void gg_mask_pack(int32_t pixels, int32_t channels, const uint8_t *flags, uint8_t *mask) {
    const int32_t bytes = (channels + 7) / 8;
#if FAULT == NULL_WRITE
    if (channels == 3) {
        *(volatile uint8_t *)0 = 1;
    }
#elif FAULT == ENDLESS
    for (volatile int forever = channels == 3; forever != 0;) {
    }
#elif FAULT == TRAP
    if (channels == 3) {
        __builtin_trap();
    }
#endif
    for (int32_t p = 0; p < pixels; ++p) {
        for (int32_t b = 0; b < bytes; ++b) {
            uint8_t bits = 0;
            for (int32_t c = 8 * b; c < channels && c < 8 * b + 8; ++c) {
                bits = (uint8_t)(bits | (uint32_t)(flags[p * channels + c] != 0) << (uint32_t)(c % 8));
            }
            mask[p * bytes + b] = bits;
        }
    }
#if FAULT == BEYOND
    mask[pixels * bytes] = 0;
#endif
}
