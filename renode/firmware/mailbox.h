/* How a host talks to the board: a struct in RAM, read and written by an emulator or a debugger (BOARD-S2). */
#ifndef GOLDGRAD_MAILBOX_H
#define GOLDGRAD_MAILBOX_H

#include <stdint.h>

#include "program.h"

#define GG_MAILBOX_MAGIC 0x424D4747U /* "GGMB" */
#define GG_MAILBOX_VERSION 1

#define GG_STATUS_STARTING 0
#define GG_STATUS_READY 1 /* waits for a command; result is the last one's */
#define GG_STATUS_RUNNING 2
#define GG_STATUS_FAULT 3

#define GG_COMMAND_NONE 0
#define GG_COMMAND_STEP 1     /* argument training steps on what the buffers hold */
#define GG_COMMAND_CHECKSUM 2 /* result: CRC-32 of buffer number argument, or of all parameters if there is none such */
#define GG_COMMAND_REPORT 3   /* result: high-water of the stack in bytes; and a line of text */
#define GG_COMMAND_INIT 4     /* the parameters as they are in flash, steps 0 */

/* What a fault handler found.  pc and lr are 0 where the stack could not be written, and so not be read. */
typedef struct {
    uint32_t exception; /* 3 HardFault, 4 MemManage, 5 BusFault, 6 UsageFault, or any that nobody expects */
    uint32_t pc, lr, psr, sp;
    uint32_t cfsr, hfsr;
    uint32_t address; /* MMFAR or BFAR where CFSR says that it is valid, else 0 */
    int32_t region;
} gg_fault_t;

/* Words only, so that any debugger can show it.  Its address is also the vector table's word 7, which Arm reserves. */
typedef struct {
    uint32_t magic;
    uint32_t version;
    uint32_t status;
    uint32_t command; /* written last by the host, cleared by the board */
    uint32_t argument;
    uint32_t result;
    uint32_t steps; /* done since the parameters were as in flash */
    int32_t region; /* of the last mark */
    const gg_program_t *program;
    gg_fault_t fault;
} gg_mailbox_t;

extern volatile gg_mailbox_t gg_mailbox;

/* CRC-32 as zlib computes it; crc is that of what comes before, or 0. */
uint32_t gg_crc32(uint32_t crc, const uint8_t *bytes, uint32_t count);

#endif
