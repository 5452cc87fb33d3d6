/* Portable kernels under the names that they have where the set has another: for shapes that the other leaves to them. */
#ifndef GOLDGRAD_CORTEX_M7_PORTABLE_H
#define GOLDGRAD_CORTEX_M7_PORTABLE_H

#include <stdint.h>

#include "goldgrad/add.h"
#include "goldgrad/conv2d.h"
#include "goldgrad/depthwise_conv2d.h"

void gg_portable_add_forward(const gg_add_t *p, const int8_t *x1, const int8_t *x2, const float *m1, const float *m2,
                             int8_t *y, uint8_t *mask);
void gg_portable_depthwise_conv2d_forward(const gg_depthwise_conv2d_t *p, const int8_t *x, const int8_t *w,
                                          const int32_t *b, const float *m, const int8_t *trained,
                                          const int32_t *selected, int32_t kept, int8_t *y, uint8_t *mask,
                                          void *scratch);
void gg_portable_conv2d_vjp_x(const gg_conv2d_t *p, const float *g, const int8_t *w, const float *dx0,
                              const int8_t *trained, const int32_t *channels, int32_t kept, float *dx, void *scratch);
void gg_portable_depthwise_conv2d_vjp_x(const gg_depthwise_conv2d_t *p, const float *g, const int8_t *w,
                                        const float *dx0, const int8_t *trained, const int32_t *selected, int32_t kept,
                                        float *dx, void *scratch);
void gg_portable_depthwise_conv2d_vjp_w(const gg_depthwise_conv2d_t *p, const float *g, int32_t g_channels,
                                        const int8_t *x, const float *dw0, const int32_t *selected, float *dw,
                                        void *scratch);

#endif
