/* How clamp masks lie in memory (specs/ops/mask.md). */
#ifndef GOLDGRAD_MASK_H
#define GOLDGRAD_MASK_H

#include <stdint.h>

/*
 * Packing, the form in which every kernel writes and reads a mask (MASK-S1, MASK-S2, MASK-S3): channel c of a pixel
 * is bit c % 8 of its byte c / 8; bits past the last channel are written as 0 and not read.
 *
 *   flags  uint8 [pixels][channels], 1 where the clamp let the element through, 0 elsewhere
 *   mask   uint8 [pixels][ceil(channels / 8)]
 *
 * MASK-C1, MASK-C2: shapes as above, pixels >= 1, channels >= 1; pixels * channels fits into int32_t.
 * MASK-A1: flags and mask do not overlap.
 * MASK-F1: the result is all that is written; every bit of it is.
 */
void gg_mask_pack(int32_t pixels, int32_t channels, const uint8_t *flags, uint8_t *mask);
void gg_mask_unpack(int32_t pixels, int32_t channels, const uint8_t *mask, uint8_t *flags);

#endif
