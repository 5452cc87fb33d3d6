/*
 * What may be touched (BOARD-C2): code in flash and ITCM read and executed, RAM read and written, the peripherals that the
 * firmware uses; nothing else.  So a store to code, a stack that leaves RAM, a jump into data and NULL all end in MemManage.
 */
#include "board.h"

#define MPU_CTRL 0xE000ED94U
#define MPU_RNR 0xE000ED98U
#define MPU_RBAR 0xE000ED9CU
#define MPU_RASR 0xE000EDA0U

#define ENABLE 1U
#define SIZE(log2) (((log2) - 1U) << 1)
#define WITHOUT(subregions) ((uint32_t)(subregions) << 8)
#define WRITE_THROUGH (2U << 16) /* normal memory; a debugger sees every store at once */
#define DEVICE (5U << 16)        /* B and S: shared device */
#define READ_WRITE (3U << 24)
#define READ_ONLY (6U << 24)
#define NO_EXECUTION (1U << 28)

typedef struct {
    uint32_t base, attributes;
} gg_region_rights_t;

static const gg_region_rights_t rights[] = {
    /* The first eighth of ITCM is out of bounds: NULL, and 2 KB behind it. */
    {0x00000000U, SIZE(14) | WITHOUT(0x01) | WRITE_THROUGH | READ_ONLY | ENABLE},
    {0x00200000U, SIZE(20) | WRITE_THROUGH | READ_ONLY | ENABLE},
#ifdef GG_PROJECTED
    /* BOARD-M3: 16 MB, of a board that does not exist. */
    {0x20000000U, SIZE(24) | WRITE_THROUGH | READ_WRITE | NO_EXECUTION | ENABLE},
#else
    /* 512 KB of which the first five eighths exist: DTCM, SRAM1 and SRAM2 end at 0x20050000. */
    {0x20000000U, SIZE(19) | WITHOUT(0xE0) | WRITE_THROUGH | READ_WRITE | NO_EXECUTION | ENABLE},
#endif
    {0x40000000U, SIZE(19) | DEVICE | READ_WRITE | NO_EXECUTION | ENABLE},
};

void gg_mpu_on(void) {
    for (uint32_t i = 0; i < sizeof rights / sizeof rights[0]; ++i) {
        GG_REGISTER(MPU_RNR) = i;
        GG_REGISTER(MPU_RBAR) = rights[i].base;
        GG_REGISTER(MPU_RASR) = rights[i].attributes;
    }
    GG_REGISTER(MPU_CTRL) = ENABLE; /* and no background region */
    __asm__ volatile("dsb\n"
                     "isb" ::
                         : "memory");
}
