/* Softmax cross-entropy on the int8 codes of logits, with its gradient, one sample (specs/ops/softmax_cross_entropy.md).
 */
#ifndef GOLDGRAD_SOFTMAX_CROSS_ENTROPY_H
#define GOLDGRAD_SOFTMAX_CROSS_ENTROPY_H

#include <stdint.h>

/*
 * Loss of the true class, and its gradient with respect to the codes (SCE-S1, SCE-S2, SCE-S3, SCE-S5), within SCE-N1.
 *
 *   q       int8    [classes], classes >= 1
 *   target  int32   [1], the true class
 *   s       float32 [1], positive and finite
 *   loss    float32 [1], or NULL if nobody wants it
 *   dq      float32 [classes]
 *
 * SCE-C1, SCE-C2, SCE-C3: types and shapes as above.  SCE-C4: target lies from 0 to classes - 1.
 * SCE-A1: loss and dq overlap no operand and not each other.
 * SCE-F1: loss and dq are all that is written; every bit of both is.
 */
void gg_softmax_cross_entropy_forward(int32_t classes, const int8_t *q, const int32_t *target, const float *s,
                                      float *loss, float *dq);

/*
 * The same for a probability of each class (SCE-S1, SCE-S2, SCE-S4, SCE-S5), within SCE-N1.
 *
 *   target  float32 [classes]; the others as above
 *
 * SCE-C1, SCE-C2, SCE-C3: types and shapes as above.
 * SCE-C5: no probability is negative or not finite, and they add up to 1 within classes * 2^-23.
 * SCE-A1, SCE-F1: as above.
 */
void gg_softmax_cross_entropy_from_probabilities(int32_t classes, const int8_t *q, const float *target, const float *s,
                                                 float *loss, float *dq);

#endif
