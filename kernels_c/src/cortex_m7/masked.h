/* Eight channels of a gradient under a byte of their mask, for kernels of a Cortex-M7 only. */
#ifndef GOLDGRAD_CORTEX_M7_MASKED_H
#define GOLDGRAD_CORTEX_M7_MASKED_H

/*
 * SCALE-S1, SCALE-S2 for eight channels of a pixel, as assembly in a loop over pixels: s0-s7 become those at %[gy] times
 * s8-s15, or +0, which is in s16, where the mask's bit is not set; gy and mask go on by row and mask_row.  A shift puts
 * the bit of the next channel where the sign of its result is, and VSEL takes +0 where that is not set: GE holds where N
 * is V, and V stays 0.  Flags say whether pixels are left.
 *
 * 8 cycles for products and 8 for what is chosen; all else stands beside them.
 */
#define GG_M7_MASKED_EIGHT                                                                                             \
    "vldmia %[gy], {s0-s7}\n"                                                                                          \
    "vmul.f32 s7, s7, s15\n"                                                                                           \
    "ldrb %[bits], [%[mask]]\n"                                                                                        \
    "vmul.f32 s6, s6, s14\n"                                                                                           \
    "add %[gy], %[row]\n"                                                                                              \
    "vmul.f32 s5, s5, s13\n"                                                                                           \
    "add %[mask], %[mask_row]\n"                                                                                       \
    "vmul.f32 s4, s4, s12\n"                                                                                           \
    "subs %[pixels], #1\n"                                                                                             \
    "vmul.f32 s3, s3, s11\n"                                                                                           \
    "vmul.f32 s2, s2, s10\n"                                                                                           \
    "vmul.f32 s1, s1, s9\n"                                                                                            \
    "vmul.f32 s0, s0, s8\n"                                                                                            \
    "lsls %[bits], #24\n"                                                                                              \
    "vselge.f32 s7, s16, s7\n"                                                                                         \
    "lsls %[bits], #1\n"                                                                                               \
    "vselge.f32 s6, s16, s6\n"                                                                                         \
    "lsls %[bits], #1\n"                                                                                               \
    "vselge.f32 s5, s16, s5\n"                                                                                         \
    "lsls %[bits], #1\n"                                                                                               \
    "vselge.f32 s4, s16, s4\n"                                                                                         \
    "lsls %[bits], #1\n"                                                                                               \
    "vselge.f32 s3, s16, s3\n"                                                                                         \
    "lsls %[bits], #1\n"                                                                                               \
    "vselge.f32 s2, s16, s2\n"                                                                                         \
    "lsls %[bits], #1\n"                                                                                               \
    "vselge.f32 s1, s16, s1\n"                                                                                         \
    "lsls %[bits], #1\n"                                                                                               \
    "vselge.f32 s0, s16, s0\n"                                                                                         \
    "cmp %[pixels], #0\n"

#endif
