/* From reset to gg_main: FPU, stacks, code, data, paint, MPU (BOARD-M2). */
#include <stddef.h>

#include "board.h"
#include "mailbox.h"

#ifndef GG_STACK_BYTES
#define GG_STACK_BYTES 8192 /* ABI-M3 bounds what kernels use; a multiple of 8 */
#endif
#define HANDLER_STACK_WORDS 80
#define EXCEPTIONS (16 + 98) /* the core's and the STM32F746's */

/*
 * Handlers have a stack of their own, and everything else runs on the process stack: a fault that comes because that
 * one is full can still be handled.
 */
static uint64_t handler_stack[HANDLER_STACK_WORDS / 2];
__attribute__((section(".bss.gg_stack"), used)) static uint64_t stack[GG_STACK_BYTES / 8];

void gg_reset(void);
_Noreturn void gg_start(void);

typedef union {
    const volatile void *address;
    void (*handler)(void);
} gg_vector_t;

__attribute__((section(".vectors"), used)) static const gg_vector_t vectors[EXCEPTIONS] = {
    [0] = {.address = &handler_stack[HANDLER_STACK_WORDS / 2]},
    [1] = {.handler = gg_reset},
    [2 ... 6] = {.handler = gg_fault_entry},
    [7] = {.address = &gg_mailbox},
    [11 ... EXCEPTIONS - 1] = {.handler = gg_fault_entry},
};

/*
 * The FPU first, since compilers may use its registers for anything.  FPSCR 0 is what ABI-N1 asks for: to nearest even,
 * subnormals kept, NaN propagated, no traps.  It is also what FPDSCR gives to handlers.
 */
__attribute__((naked, noinline)) void gg_reset(void) {
    __asm__ volatile("movw r0, #0xED88\n" /* CPACR: full access to CP10 and CP11 */
                     "movt r0, #0xE000\n"
                     "ldr r1, [r0]\n"
                     "orr r1, r1, #0xF00000\n"
                     "str r1, [r0]\n"
                     "dsb\n"
                     "isb\n"
                     "movs r0, #0\n"
                     "vmsr fpscr, r0\n"
                     "movw r0, #:lower16:gg_stack_top\n"
                     "movt r0, #:upper16:gg_stack_top\n"
                     "msr psp, r0\n"
                     "movs r0, #2\n" /* CONTROL.SPSEL */
                     "msr control, r0\n"
                     "isb\n"
                     "b gg_start\n");
}

/* Volatile, so that no compiler makes a call of memcpy of it, which may be among the code to be copied. */
static void copy_words(volatile uint32_t *to, const uint32_t *end, const uint32_t *from) {
    while (to < end) {
        *to++ = *from++;
    }
}

static void fill(uint32_t *from, const uint32_t *to, uint32_t value) {
    for (uint32_t *word = from; word < to; ++word) {
        *word = value;
    }
}

static void paint(uint8_t *array, uint32_t bytes) {
    for (uint32_t i = 0; i < bytes; ++i) {
        array[i] = (uint8_t)GG_PAINT;
    }
}

_Noreturn void gg_start(void) {
    GG_REGISTER(SCB_VTOR) = (uint32_t)(uintptr_t)vectors;
    GG_REGISTER(SCB_SHCSR) |= 7U << 16; /* MemManage, BusFault and UsageFault of their own, not as HardFault */
    copy_words(gg_itcm_start, gg_itcm_end, gg_itcm_load); /* first: all that follows may call it */
    __asm__ volatile("dsb\n"
                     "isb" ::
                         : "memory");
    copy_words(gg_data_start, gg_data_end, gg_data_load);
    fill(gg_bss_start, gg_bss_end, 0);
    uint32_t *here;
    __asm__ volatile("mov %0, sp" : "=r"(here));
    fill(gg_stack_bottom, here, GG_PAINT);
    paint(gg_program.arena, gg_program.arena_bytes);
    paint(gg_program.scratch, gg_program.scratch_bytes);
    gg_mpu_on();
    gg_main();
}
