/* Every exception ends here: nothing in this firmware expects one. */
#include <stdbool.h>

#include "board.h"
#include "mailbox.h"

#define MMARVALID (1U << 7)
#define BFARVALID (1U << 15)

void gg_fault(const uint32_t *frame);

/* The exception's frame is on the stack that was in use, which bit 2 of EXC_RETURN tells. */
__attribute__((naked, noinline)) void gg_fault_entry(void) {
    __asm__ volatile("tst lr, #4\n"
                     "ite eq\n"
                     "mrseq r0, msp\n"
                     "mrsne r0, psp\n"
                     "b gg_fault\n");
}

static bool readable(const uint32_t *frame) {
    return frame >= gg_stack_bottom && frame + 8 <= gg_bss_end;
}

__attribute__((used)) void gg_fault(const uint32_t *frame) {
    static const char *const names[] = {"HardFault", "MemManage", "BusFault", "UsageFault"};
    volatile gg_fault_t *fault = &gg_mailbox.fault;
    uint32_t exception;
    __asm__ volatile("mrs %0, ipsr" : "=r"(exception));
    fault->exception = exception;
    if (readable(frame)) {
        fault->lr = frame[5];
        fault->pc = frame[6];
        fault->psr = frame[7];
    }
    fault->sp = (uint32_t)(uintptr_t)frame;
    fault->cfsr = GG_REGISTER(SCB_CFSR);
    fault->hfsr = GG_REGISTER(SCB_HFSR);
    fault->address = (fault->cfsr & MMARVALID) != 0U   ? GG_REGISTER(SCB_MMFAR)
                     : (fault->cfsr & BFARVALID) != 0U ? GG_REGISTER(SCB_BFAR)
                                                       : 0U;
    fault->region = gg_mailbox.region;
    gg_mailbox.status = GG_STATUS_FAULT;
    gg_uart_text(exception - 3U < 4U ? names[exception - 3U] : "unexpected exception");
    gg_uart_hex("pc", fault->pc);
    gg_uart_hex("lr", fault->lr);
    gg_uart_hex("cfsr", fault->cfsr);
    gg_uart_hex("address", fault->address);
    gg_uart_text(" in ");
    gg_uart_text(fault->region >= 0 && (uint32_t)fault->region < gg_program.region_count
                     ? gg_program.regions[fault->region].name
                 : fault->region == GG_BETWEEN ? "the step, outside operators"
                                               : "the firmware");
    gg_uart_text("\r\n");
    gg_board_halt();
}
