/* What the board does: waits for a command in the mailbox, carries it out, waits again (BOARD-S2). */
#include "board.h"
#include "mailbox.h"

static void start(void) {
    gg_program_init();
    gg_mailbox.steps = 0;
}

static void step(uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) {
        gg_mark(GG_BETWEEN);
        gg_program_step();
        gg_mark(GG_FIRMWARE);
        gg_mailbox.steps = gg_mailbox.steps + 1;
    }
}

static uint32_t checksum(uint32_t number) {
    uint32_t crc = 0;
    for (uint32_t i = 0; i < gg_program.buffer_count; ++i) {
        const gg_buffer_t *buffer = &gg_program.buffers[i];
        const int wanted = number < gg_program.buffer_count ? i == number : buffer->kind == GG_PARAMETER;
        crc = wanted ? gg_crc32(crc, buffer->address, buffer->bytes) : crc;
    }
    return crc;
}

/* MEAS-S4: from the top down to the lowest word that is painted no more. */
static uint32_t stack_used(void) {
    const uint32_t *word = gg_stack_bottom;
    while (word < gg_stack_top && *word == GG_PAINT) {
        ++word;
    }
    return (uint32_t)(gg_stack_top - word) * (uint32_t)sizeof *word;
}

static uint32_t report(void) {
    const uint32_t stack = stack_used();
    gg_uart_text(gg_program.name);
    gg_uart_hex("steps", gg_mailbox.steps);
    gg_uart_hex("stack", stack);
    gg_uart_hex("parameters", checksum(UINT32_MAX));
    gg_uart_text("\r\n");
    return stack;
}

_Noreturn void gg_main(void) {
    gg_mark(GG_FIRMWARE);
    gg_mailbox.program = &gg_program;
    gg_mailbox.version = GG_MAILBOX_VERSION;
    gg_mailbox.magic = GG_MAILBOX_MAGIC;
    gg_uart_on();
    gg_uart_text("goldgrad: ");
    gg_uart_text(gg_program.name);
    gg_uart_text("\r\n");
    start();
    for (;;) {
        gg_mailbox.status = GG_STATUS_READY;
        gg_board_wait();
        gg_mailbox.status = GG_STATUS_RUNNING;
        switch (gg_mailbox.command) {
        case GG_COMMAND_STEP:
            step(gg_mailbox.argument);
            break;
        case GG_COMMAND_CHECKSUM:
            gg_mailbox.result = checksum(gg_mailbox.argument);
            break;
        case GG_COMMAND_REPORT:
            gg_mailbox.result = report();
            break;
        case GG_COMMAND_INIT:
            start();
            break;
        default:
            break;
        }
        gg_mailbox.command = GG_COMMAND_NONE;
    }
}
