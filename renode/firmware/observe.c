/*
 * The places that an observer watches: a debugger, an emulator, or a trace probe on a real board.  In assembly, so that
 * each is the same few instructions whoever compiles it.
 */
#include "board.h"
#include "mailbox.h"

/*
 * The mark keeps the region in the mailbox, for fault records, and reads byte region + 2 of flash: that address tells
 * what region it is to whoever sees addresses but no values.  Nothing else reads by LDRB here.  Its own instructions
 * belong to no region (MEAS-S2).
 */
__attribute__((naked, noinline, section(".text.gg_board_mark"))) void gg_mark(int32_t region __attribute__((unused))) {
    __asm__ volatile("movw r1, #:lower16:gg_mailbox\n"
                     "movt r1, #:upper16:gg_mailbox\n"
                     "str r0, [r1, #28]\n"
                     "movw r1, #:lower16:gg_flash_start\n"
                     "movt r1, #:upper16:gg_flash_start\n"
                     "add r1, r0\n"
                     "ldrb r1, [r1, #2]\n"
                     "bx lr\n");
}
_Static_assert(__builtin_offsetof(gg_mailbox_t, region) == 28, "gg_mark stores the region there");
_Static_assert(__builtin_offsetof(gg_mailbox_t, command) == 12, "gg_board_wait looks there");

/* The first instruction is where a host stops: it is passed once a command, however often the loop looks for one. */
__attribute__((naked, noinline, section(".text.gg_board_wait"))) void gg_board_wait(void) {
    __asm__ volatile("nop\n"
                     "movw r1, #:lower16:gg_mailbox\n"
                     "movt r1, #:upper16:gg_mailbox\n"
                     "1: ldr r0, [r1, #12]\n"
                     "cmp r0, #0\n"
                     "beq 1b\n"
                     "bx lr\n");
}

__attribute__((naked, noinline, section(".text.gg_board_halt"))) _Noreturn void gg_board_halt(void) {
    __asm__ volatile("1: b 1b\n");
}
