/* The channels of an activation that a sparse update will need again (specs/ops/save_channels.md). */
#ifndef GOLDGRAD_SAVE_CHANNELS_H
#define GOLDGRAD_SAVE_CHANNELS_H

#include <stdint.h>

/*
 * y (SAVE-S1): channel channels[k] of x becomes channel k of y, every bit as it was.
 *
 *   x         int8  [pixels][channels_in], pixels >= 1; pixels * channels_in fits into int32_t
 *   channels  int32 [channels_out], 1 <= channels_out <= channels_in
 *   y         int8  [pixels][channels_out]
 *
 * SAVE-C1, SAVE-C2: shapes as above.  SAVE-C3: channels ascend strictly and lie in [0, channels_in).
 * SAVE-A1: y may start where x starts; otherwise y overlaps no operand.
 * SAVE-F1: y is all that is written; every bit of it is.
 */
void gg_save_channels_forward(int32_t pixels, int32_t channels_in, int32_t channels_out, const int8_t *x,
                              const int32_t *channels, int8_t *y);

#endif
