/*
 * What a generated program gives the firmware, and what the firmware gives it (BOARD-S1).
 *
 * The same C also compiles for the host, where whoever calls the program defines gg_mark: nothing here is Arm's.
 */
#ifndef GOLDGRAD_PROGRAM_H
#define GOLDGRAD_PROGRAM_H

#include <stdint.h>

#define GG_PROGRAM_VERSION 1

/*
 * Where the two arrays of a program lie; the linker script knows the sections (BOARD-M1).  Neither is zeroed: the
 * firmware fills both with 0xA5 before gg_program_init.
 *
 *   static GG_ARENA uint8_t arena[189800];     SRAM1 and SRAM2, 256 KB
 *   static GG_SCRATCH uint8_t scratch[9576];   DTCM, beside the stack and the firmware's own data
 */
#ifdef __arm__
#define GG_ARENA __attribute__((section(".bss.gg_arena"), aligned(32)))
#define GG_SCRATCH __attribute__((section(".bss.gg_scratch"), aligned(32)))
#else
#define GG_ARENA _Alignas(32)
#define GG_SCRATCH _Alignas(32)
#endif

/* What a buffer is for: the host writes inputs and rates before a step, reads outputs and parameters after it. */
#define GG_INPUT 0
#define GG_RATE 1
#define GG_OUTPUT 2
#define GG_PARAMETER 3

/* Memory that the host may read or write between steps, by name.  Dense, little endian, channels last (ABI-I1). */
typedef struct {
    const char *name;
    void *address;
    uint32_t bytes;
    uint32_t kind;
} gg_buffer_t;

/* An operator: what instructions are counted for.  layer is the layer of the model that it belongs to, or "". */
typedef struct {
    const char *name;
    const char *op;
    const char *layer;
} gg_region_t;

typedef struct {
    uint32_t version; /* GG_PROGRAM_VERSION */
    const char *name;
    const gg_buffer_t *buffers;
    uint32_t buffer_count;
    const gg_region_t *regions;
    uint32_t region_count;
    uint8_t *arena; /* NULL if there is none, and 0 bytes */
    uint32_t arena_bytes;
    uint8_t *scratch; /* likewise */
    uint32_t scratch_bytes;
} gg_program_t;

/* The program defines these three.  Everything const lies in flash; there is no other global data. */
extern const gg_program_t gg_program;

/* Copy the trained parameters from flash into the arena.  Called once before the first step; again starts anew. */
void gg_program_init(void);

/* One training step on what the inputs and the rate hold. */
void gg_program_step(void);

/*
 * The firmware defines this one.  The program calls gg_mark(i) before the operator of gg_program.regions[i], and
 * gg_mark(GG_BETWEEN) after the last: what runs until the next mark counts for that region (MEAS-S2).
 */
#define GG_BETWEEN (-1)  /* in the step, but in no operator */
#define GG_FIRMWARE (-2) /* in no step; marked by the firmware itself */
void gg_mark(int32_t region);

#endif
