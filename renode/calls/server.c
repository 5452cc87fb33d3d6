/*
 * Calls functions for somebody outside, one after the other (goldgrad/board/served.py): it waits in gg_calls_wait, does
 * what gg_calls says, and waits again.  A fault of the function ends there too.  It lies where no microcontroller has
 * memory of its own, beside whatever the functions are linked into.
 */
#include <stddef.h>
#include <stdint.h>

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define VTOR 0xE000ED08U
#define CFSR 0xE000ED28U
#define HFSR 0xE000ED2CU
#define MMFAR 0xE000ED34U
#define BFAR 0xE000ED38U
#define MPU_CTRL 0xE000ED94U
#define MPU_RNR 0xE000ED98U
#define MPU_RBAR 0xE000ED9CU
#define MPU_RASR 0xE000EDA0U
#define FPCCR 0xE000EF34U

#define EXCEPTIONS 16
#define STACK_WORDS 256
#define FRAME_WORDS 8
#define FRAME_PC 6
#define FRAME_XPSR 7
#define THUMB (1U << 24)

enum { RUNNING, RETURNED, FAULTED };

/* served.py has the same, in this order. */
struct gg_calls {
    uint32_t function, pointer;
    uint32_t core[4], floats[16];
    uint32_t kept[24];      /* what R4-R11 and s16 to s31 hold at entry */
    uint32_t regions[8][2]; /* of the MPU: RBAR and RASR; read once, at the start; 0 is none */
    uint32_t outcome;
    uint32_t result, pointer_after, modes_after; /* R0, SP, FPSCR */
    uint32_t kept_after[24];
    uint32_t cfsr, address, frame; /* of a fault; frame is where the stack pointer was */
    uint32_t saved;                /* this program's own stack pointer during a call */
};

__attribute__((section(".mailbox"), used)) volatile struct gg_calls gg_calls;
__attribute__((section(".mailbox"), used, aligned(8))) static uint32_t stack[STACK_WORDS];

void gg_calls_start(void);
void gg_calls_wait(void);
void gg_calls_call(void);
void gg_calls_faulted(void);
_Noreturn void gg_calls_begin(void);
_Noreturn void gg_calls_report(uint32_t frame);
_Noreturn void gg_calls_loop(void);

typedef union {
    const volatile void *address;
    void (*handler)(void);
} gg_vector_t;

__attribute__((section(".vectors"), used)) static const gg_vector_t vectors[EXCEPTIONS] = {
    [0] = {.address = &stack[STACK_WORDS]},
    [1] = {.handler = gg_calls_start},
    [2 ... EXCEPTIONS - 1] = {.handler = gg_calls_faulted},
};

/* The FPU first, since compilers may use its registers for anything. */
__attribute__((naked)) void gg_calls_start(void) {
    __asm__ volatile("movw r0, #0xED88\n" /* CPACR: full access to CP10 and CP11 */
                     "movt r0, #0xE000\n"
                     "ldr r1, [r0]\n"
                     "orr r1, r1, #0xF00000\n"
                     "str r1, [r0]\n"
                     "dsb\n"
                     "isb\n"
                     "b gg_calls_begin\n");
}

_Noreturn void gg_calls_begin(void) {
    REGISTER(VTOR) = (uint32_t)(uintptr_t)vectors;
    REGISTER(FPCCR) = 0; /* exceptions save no float registers: none goes back to where it came from */
    uint32_t any = 0;
    for (uint32_t i = 0; i < 8; ++i) {
        REGISTER(MPU_RNR) = i;
        REGISTER(MPU_RBAR) = gg_calls.regions[i][0];
        REGISTER(MPU_RASR) = gg_calls.regions[i][1];
        any |= gg_calls.regions[i][1];
    }
    REGISTER(MPU_CTRL) = any != 0; /* and no background region */
    __asm__ volatile("dsb\nisb" ::: "memory");
    gg_calls_loop();
}

_Noreturn void gg_calls_loop(void) {
    for (;;) {
        gg_calls_wait();
        gg_calls_call();
    }
}

/* Whoever drives this stops it before the first instruction. */
__attribute__((naked, noinline)) void gg_calls_wait(void) {
    __asm__ volatile("nop\n"
                     "bx lr\n");
}

#define AT(field) [field] "i"(offsetof(struct gg_calls, field))

/* Nothing is sure after the call but where the mailbox is. */
__attribute__((naked, noinline)) void gg_calls_call(void) {
    __asm__ volatile("push {r4-r11, lr}\n"
                     "vpush {s16-s31}\n"
                     "movw r12, #:lower16:gg_calls\n"
                     "movt r12, #:upper16:gg_calls\n"
                     "str sp, [r12, %[saved]]\n"
                     "movs r0, #0\n"
                     "vmsr fpscr, r0\n"
                     "add r0, r12, %[floats]\n"
                     "vldmia r0, {s0-s15}\n"
                     "add r0, r12, %[kept]\n"
                     "ldmia r0!, {r4-r11}\n"
                     "vldmia r0, {s16-s31}\n"
                     "ldr sp, [r12, %[pointer]]\n"
                     "add r0, r12, %[core]\n"
                     "ldmia r0, {r0-r3}\n"
                     "ldr r12, [r12, %[function]]\n"
                     "blx r12\n"
                     "movw r12, #:lower16:gg_calls\n"
                     "movt r12, #:upper16:gg_calls\n"
                     "str r0, [r12, %[result]]\n"
                     "mov r0, sp\n"
                     "str r0, [r12, %[pointer_after]]\n"
                     "vmrs r0, fpscr\n"
                     "str r0, [r12, %[modes_after]]\n"
                     "add r0, r12, %[kept_after]\n"
                     "stmia r0!, {r4-r11}\n"
                     "vstmia r0, {s16-s31}\n"
                     "movs r0, %[returned]\n"
                     "str r0, [r12, %[outcome]]\n"
                     "ldr sp, [r12, %[saved]]\n"
                     "vpop {s16-s31}\n"
                     "pop {r4-r11, pc}\n" ::AT(function),
                     AT(pointer), AT(core), AT(floats), AT(kept), AT(outcome), AT(result), AT(pointer_after),
                     AT(modes_after), AT(kept_after), AT(saved), [returned] "i"(RETURNED));
}

/* The stack may be what the fault was about: another one. */
__attribute__((naked)) void gg_calls_faulted(void) {
    __asm__ volatile("mov r0, sp\n"
                     "movw r1, #:lower16:vectors\n"
                     "movt r1, #:upper16:vectors\n"
                     "ldr sp, [r1]\n"
                     "b gg_calls_report\n");
}

/* Tell, and return from the exception into the loop, whatever it came from. */
_Noreturn void gg_calls_report(uint32_t frame) {
    gg_calls.cfsr = REGISTER(CFSR);
    gg_calls.address = (gg_calls.cfsr & 0x80U) != 0 ? REGISTER(MMFAR) : REGISTER(BFAR);
    gg_calls.frame = frame;
    REGISTER(CFSR) = gg_calls.cfsr;
    REGISTER(HFSR) = REGISTER(HFSR);
    gg_calls.outcome = FAULTED;
    volatile uint32_t *back = &stack[STACK_WORDS - FRAME_WORDS];
    for (uint32_t i = 0; i < FRAME_WORDS; ++i) {
        back[i] = 0;
    }
    back[FRAME_PC] = (uint32_t)(uintptr_t)gg_calls_loop & ~1U;
    back[FRAME_XPSR] = THUMB;
    __asm__ volatile("mov sp, %0\n"
                     "mvn lr, #6\n" /* EXC_RETURN 0xFFFFFFF9: thread mode, main stack, no float registers */
                     "bx lr\n" ::"r"(back)
                     : "memory");
    __builtin_unreachable();
}
