/*
 * How much scratch the kernels for a Cortex-M7 want (ABI-S5), under names of their own: these functions are plain C, so
 * that a planner on any machine can ask (ABI-M1).  On the board gg_<op>_<function>_scratch_bytes gives the same.
 */
#ifndef GOLDGRAD_CORTEX_M7_H
#define GOLDGRAD_CORTEX_M7_H

#include <stdint.h>

#include "goldgrad/conv2d.h"
#include "goldgrad/depthwise_conv2d.h"
#include "goldgrad/fully_connected.h"

int32_t gg_m7_conv2d_forward_scratch_bytes(const gg_conv2d_t *p);
int32_t gg_m7_fully_connected_forward_scratch_bytes(const gg_fully_connected_t *p);
int32_t gg_m7_depthwise_conv2d_forward_scratch_bytes(const gg_depthwise_conv2d_t *p);
int32_t gg_m7_conv2d_vjp_x_scratch_bytes(const gg_conv2d_t *p);
int32_t gg_m7_conv2d_vjp_w_scratch_bytes(const gg_conv2d_t *p);
int32_t gg_m7_depthwise_conv2d_vjp_x_scratch_bytes(const gg_depthwise_conv2d_t *p);
int32_t gg_m7_depthwise_conv2d_vjp_w_scratch_bytes(const gg_depthwise_conv2d_t *p);
int32_t gg_m7_fully_connected_vjp_x_scratch_bytes(const gg_fully_connected_t *p);

#endif
