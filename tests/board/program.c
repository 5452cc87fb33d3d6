/*
 * A small training step written by hand: convolution, fully connected layer, loss, and the layer's gradients and
 * updates.  An operator that a generated program would never have runs last: it commits the fault that it is told to.
 */
#include "program.h"
#include "weights.h"

#include "goldgrad/bias_gradient.h"
#include "goldgrad/conv2d.h"
#include "goldgrad/fully_connected.h"
#include "goldgrad/mask_scale.h"
#include "goldgrad/sgd_update_bias.h"
#include "goldgrad/sgd_update_weight.h"
#include "goldgrad/softmax_cross_entropy.h"

#define SIDE 8
#define IN_C 3
#define MID_C 5
#define CLASSES 4
#define FEATURES (SIDE / 2 * (SIDE / 2) * MID_C)
#define GG_ALIGNED_FLOATS(count) ((count) * 4)

/* Tensors by their offsets. */
enum {
    INPUT = 0,
    FAULT = INPUT + SIDE * SIDE * IN_C,
    LABEL = FAULT + 4,
    RATE = LABEL + 4,
    LOSS = RATE + 4,
    WEIGHT = LOSS + 4,
    BIAS = WEIGHT + CLASSES * FEATURES,
    MIDDLE = BIAS + CLASSES * 4,
    LOGITS = MIDDLE + FEATURES,
    MASK = LOGITS + CLASSES,
    GRADIENT = MASK + 4,
    BIAS_GRADIENT = GRADIENT + GG_ALIGNED_FLOATS(CLASSES),
    WEIGHT_GRADIENT = BIAS_GRADIENT + GG_ALIGNED_FLOATS(CLASSES),
    ARENA = WEIGHT_GRADIENT + GG_ALIGNED_FLOATS(CLASSES * FEATURES) + MORE_ARENA,
};

static GG_ARENA uint8_t arena[ARENA];
static GG_SCRATCH uint8_t scratch[1024];

static const int8_t conv_w[MID_C * 3 * 3 * IN_C] = CONV_W; /* weights.h is drawn by the test */
static const int32_t conv_b[MID_C] = {100, -200, 300, -400, 500};
static const float conv_m[MID_C] = {0.011F, 0.013F, 0.007F, 0.017F, 0.019F};
static const int8_t fc_w[CLASSES * FEATURES] = FC_W;
static const int32_t fc_b[CLASSES] = {10, -20, 30, -40};
static const float fc_m[CLASSES] = {0.003F, 0.005F, 0.007F, 0.0011F};
static const float weight_q[CLASSES] = {3000.0F, 5000.0F, 7000.0F, 9000.0F};
static const float bias_q[CLASSES] = {3e5F, 5e5F, 7e5F, 9e5F};
static const int32_t limit[1] = {1 << 20};
static const float logit_scale[1] = {0.05F};

static const gg_conv2d_t conv = {
    .window = {.in_h = SIDE,
               .in_w = SIDE,
               .out_h = SIDE / 2,
               .out_w = SIDE / 2,
               .kernel_h = 3,
               .kernel_w = 3,
               .stride_h = 2,
               .stride_w = 2,
               .pad_top = 1,
               .pad_left = 1,
               .dilation_h = 1,
               .dilation_w = 1},
    .in_c = IN_C,
    .out_c = MID_C,
    .x_zero = -3,
    .y_zero = -128,
    .lo = -128,
    .hi = 127,
};
static const gg_fully_connected_t fc = {
    .in_c = FEATURES, .out_c = CLASSES, .x_zero = -128, .y_zero = 4, .lo = -128, .hi = 127};
static const gg_weight_slice_t slice = {
    .rows = CLASSES, .taps = 1, .channels = FEATURES, .selected = FEATURES, .q_per_channel = 0};

static const gg_buffer_t buffers[] = {
    {"input", &arena[INPUT], SIDE * SIDE * IN_C, GG_INPUT},
    {"fault", &arena[FAULT], 4, GG_INPUT},
    {"label", &arena[LABEL], 4, GG_INPUT},
    {"rate", &arena[RATE], 4, GG_RATE},
    {"loss", &arena[LOSS], 4, GG_OUTPUT},
    {"logits", &arena[LOGITS], CLASSES, GG_OUTPUT},
    {"fc.weight", &arena[WEIGHT], CLASSES * FEATURES, GG_PARAMETER},
    {"fc.bias", &arena[BIAS], CLASSES * 4, GG_PARAMETER},
};
static const gg_region_t regions[] = {
    {"conv", "conv2d.forward", "conv"},
    {"fc", "fully_connected.forward", "fc"},
    {"loss", "softmax_cross_entropy.forward", ""},
    {"fc.scale", "mask_scale.forward", "fc"},
    {"fc.bias_gradient", "bias_gradient.forward", "fc"},
    {"fc.weight_gradient", "fully_connected.vjp_w", "fc"},
    {"fc.update", "sgd_update_weight.update", "fc"},
    {"fc.bias_update", "sgd_update_bias.update", "fc"},
    {"fault", "", ""},
};
const gg_program_t gg_program = {
    .version = GG_PROGRAM_VERSION,
    .name = "by-hand",
    .buffers = buffers,
    .buffer_count = sizeof buffers / sizeof buffers[0],
    .regions = regions,
    .region_count = sizeof regions / sizeof regions[0],
    .arena = arena,
    .arena_bytes = sizeof arena,
    .scratch = scratch,
    .scratch_bytes = sizeof scratch,
};

void gg_program_init(void) {
    for (int32_t i = 0; i < CLASSES * FEATURES; ++i) {
        arena[WEIGHT + i] = (uint8_t)fc_w[i];
    }
    int32_t *bias = (int32_t *)(void *)&arena[BIAS];
    for (int32_t i = 0; i < CLASSES; ++i) {
        bias[i] = fc_b[i];
    }
    *(uint32_t *)(void *)&arena[FAULT] = 0;
}

/* Uses stack without end; what it returns depends on every frame, so that none can be left out. */
static int32_t dig(volatile int32_t depth) {
    volatile int32_t frame[16];
    frame[depth & 15] = depth;
    return depth < 0 ? 0 : dig(depth + 1) + frame[depth & 15];
}

/* An address that compilers do not know: they would warn of those below 4096. */
static volatile uint32_t *somewhere(uint32_t address) {
    __asm__("" : "+r"(address));
    return (volatile uint32_t *)(uintptr_t)address;
}

static void fail(uint32_t fault) {
    switch (fault) {
    case 1: /* a write to flash */
        *(volatile uint32_t *)(uintptr_t)&gg_program.version = fault;
        break;
    case 2: /* past the end of RAM */
        *(volatile uint32_t *)0x20050000U = fault;
        break;
    case 3: /* NULL */
        arena[LOSS] = (uint8_t)*(volatile uint32_t *)(uintptr_t)(fault - 3);
        break;
    case 4:
        arena[LOSS] = (uint8_t)dig(0);
        break;
    case 5:
        while (*(volatile uint8_t *)&arena[FAULT] == 5) {
        }
        break;
    case 6:
        __asm__ volatile("udf #0");
        break;
    case 7: /* code in RAM */
        ((void (*)(void))(uintptr_t)(&arena[INPUT] + 1))();
        break;
    case 8: /* code in ITCM */
        *somewhere(0x800) = fault;
        break;
    case 9: /* a call of NULL */
        ((void (*)(void))(uintptr_t)somewhere(1))();
        break;
    case 10: /* a write to NULL */
        *somewhere(0) = fault;
        break;
    case 11: /* a member far into a struct at NULL */
        arena[LOSS] = (uint8_t)*somewhere(0x7FC);
        break;
    default:
        break;
    }
}

void gg_program_step(void) {
    const int8_t *x = (const int8_t *)&arena[INPUT];
    int8_t *y = (int8_t *)&arena[MIDDLE];
    int8_t *logits = (int8_t *)&arena[LOGITS];
    int8_t *w = (int8_t *)&arena[WEIGHT];
    int32_t *b = (int32_t *)(void *)&arena[BIAS];
    float *g = (float *)(void *)&arena[GRADIENT];
    float *db = (float *)(void *)&arena[BIAS_GRADIENT];
    float *dw = (float *)(void *)&arena[WEIGHT_GRADIENT];
    const float *rate = (const float *)(const void *)&arena[RATE];
    gg_mark(0);
    gg_conv2d_forward(&conv, x, conv_w, conv_b, conv_m, 0, 0, 0, y, 0, scratch);
    gg_mark(1);
    gg_fully_connected_forward(&fc, y, w, b, fc_m, 0, 0, 0, logits, &arena[MASK], scratch);
    gg_mark(2);
    gg_softmax_cross_entropy_forward(CLASSES, logits, (const int32_t *)(const void *)&arena[LABEL], logit_scale,
                                     (float *)(void *)&arena[LOSS], g);
    gg_mark(3);
    gg_mask_scale_forward(1, CLASSES, g, &arena[MASK], fc_m, g);
    gg_mark(4);
    gg_bias_gradient_forward(1, CLASSES, g, 0, db);
    gg_mark(5);
    gg_fully_connected_vjp_w(&fc, g, y, 0, dw, scratch);
    gg_mark(6);
    gg_sgd_update_weight_update(&slice, w, dw, weight_q, rate, 0, w);
    gg_mark(7);
    gg_sgd_update_bias_update(CLASSES, b, db, bias_q, limit, rate, b);
    gg_mark(8);
    fail(*(const uint32_t *)(const void *)&arena[FAULT]);
    gg_mark(GG_BETWEEN);
}
