/*
 * Text on USART3 (BOARD-S5), which a NUCLEO-F746ZG's ST-LINK shows as a serial port: PD8, 115200 baud, from the 16 MHz
 * on which the chip starts.  Every wait has an end: where no USART answers, the text is lost and the program goes on.
 */
#include <stdbool.h>

#include "board.h"

#define RCC_AHB1ENR 0x40023830U
#define RCC_APB1ENR 0x40023840U
#define GPIOD_MODER 0x40020C00U
#define GPIOD_AFRH 0x40020C24U
#define USART3_CR1 0x40004800U
#define USART3_BRR 0x4000480CU
#define USART3_ISR 0x4000481CU
#define USART3_TDR 0x40004828U

#define CLOCK 16000000U
#define BAUD 115200U
#define TXE (1U << 7)
#define PATIENCE 5000 /* looks at ISR; a character takes 1389 cycles, and a look several */

static bool silent; /* nobody answered once: do not wait again */

void gg_uart_on(void) {
    GG_REGISTER(RCC_AHB1ENR) |= 1U << 3;  /* GPIOD */
    GG_REGISTER(RCC_APB1ENR) |= 1U << 18; /* USART3 */
    (void)GG_REGISTER(RCC_APB1ENR);       /* the clock runs two cycles later */
    GG_REGISTER(GPIOD_MODER) = (GG_REGISTER(GPIOD_MODER) & ~(3U << 16)) | 2U << 16;
    GG_REGISTER(GPIOD_AFRH) = (GG_REGISTER(GPIOD_AFRH) & ~15U) | 7U;
    GG_REGISTER(USART3_BRR) = (CLOCK + BAUD / 2U) / BAUD;
    GG_REGISTER(USART3_CR1) = 1U << 3 | 1U; /* TE, UE */
}

static void put(char c) {
    for (int32_t looks = 0; !silent && (GG_REGISTER(USART3_ISR) & TXE) == 0U; ++looks) {
        silent = looks == PATIENCE;
    }
    if (!silent) {
        GG_REGISTER(USART3_TDR) = (uint8_t)c;
    }
}

void gg_uart_text(const char *text) {
    for (; *text != '\0'; ++text) {
        put(*text);
    }
}

void gg_uart_hex(const char *label, uint32_t value) {
    put(' ');
    gg_uart_text(label);
    put('=');
    for (uint32_t digits = 8; digits > 0; --digits) {
        put("0123456789abcdef"[value >> (4U * (digits - 1U)) & 15U]);
    }
}
