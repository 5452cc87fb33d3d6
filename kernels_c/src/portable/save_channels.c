#include "goldgrad/save_channels.h"

/* SAVE-S1; SAVE-A1: ascending, so y never catches up with x. */
void gg_save_channels_forward(int32_t pixels, int32_t channels_in, int32_t channels_out, const int8_t *x,
                              const int32_t *channels, int8_t *y) {
    for (int32_t p = 0; p < pixels; ++p) {
        for (int32_t k = 0; k < channels_out; ++k) {
            *y++ = x[channels[k]];
        }
        x += channels_in;
    }
}
