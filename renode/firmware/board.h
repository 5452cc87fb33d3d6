/* What the parts of the firmware know of each other. */
#ifndef GOLDGRAD_BOARD_H
#define GOLDGRAD_BOARD_H

#include <stdint.h>

#define GG_REGISTER(address) (*(volatile uint32_t *)(address))

/* The System Control Block of every Cortex-M7 (Arm DDI 0403, B3.2). */
#define SCB_VTOR 0xE000ED08U
#define SCB_SHCSR 0xE000ED24U
#define SCB_CFSR 0xE000ED28U
#define SCB_HFSR 0xE000ED2CU
#define SCB_MMFAR 0xE000ED34U
#define SCB_BFAR 0xE000ED38U

/* From the linker script; only their addresses mean anything. */
extern const uint8_t gg_flash_start[];
extern uint32_t gg_stack_bottom[], gg_stack_top[];
extern const uint32_t gg_itcm_load[], gg_data_load[];
extern uint32_t gg_itcm_start[], gg_itcm_end[];
extern uint32_t gg_data_start[], gg_data_end[], gg_bss_start[], gg_bss_end[];

#define GG_PAINT 0xA5A5A5A5U /* what stack, arena and scratch hold before anybody writes there (MEAS-S4) */

void gg_mpu_on(void);

void gg_uart_on(void);
void gg_uart_text(const char *text);
void gg_uart_hex(const char *label, uint32_t value); /* " label=01234567" */

void gg_fault_entry(void); /* every exception's handler */

/* Where a host may stop the board: neither address is reached but to wait for it (BOARD-S3). */
void gg_board_wait(void); /* until there is a command */
_Noreturn void gg_board_halt(void);

_Noreturn void gg_main(void);

#endif
