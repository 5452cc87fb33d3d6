/* A weight and the slice of it that trains, as every weight update takes them (specs/ops/sgd_update_weight.md). */
#ifndef GOLDGRAD_WEIGHT_SLICE_H
#define GOLDGRAD_WEIGHT_SLICE_H

#include <stdint.h>

/*
 * UPW-C1, UPW-S4: a weight is int8 [rows][taps][channels]; slices lie along channels.
 *
 *   layout                 rows  taps     channels  q_per_channel
 *   OHWI [O][KH][KW][I]    O     KH * KW  I         0
 *   OI   [O][I]            O     1        I         0
 *   HWC  [KH][KW][C]       1     KH * KW  C         1
 *
 * q has one factor a row if q_per_channel is 0, one a channel if it is 1.
 * UPW-C2, UPW-C4: 1 <= selected <= channels train; their gradient is float32 [rows][taps][selected].
 * rows * taps * channels fits into int32_t (ABI-C2).
 */
typedef struct {
    int32_t rows, taps, channels;
    int32_t selected;
    int32_t q_per_channel;
} gg_weight_slice_t;

#endif
