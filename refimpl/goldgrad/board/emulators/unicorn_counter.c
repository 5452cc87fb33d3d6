/* Counts the instructions of every block that Unicorn runs, and edges; see unicorn.py, which has the same in Python. */
#include <stddef.h>
#include <stdint.h>

#include "edges.h"

struct counter {
    int64_t left;        /* instructions until the budget is used up */
    uint64_t *counts;    /* [2 + region_count], of regions -2, -1, 0, ... */
    const uint8_t *code; /* NULL: code is anywhere, and read_memory gives it; edges must then be watched */
    uint32_t *known;     /* a word a halfword of code: bytes of the block that begins there << 16 | its instructions */
    int (*reg_read)(void *uc, int reg, void *value);
    int (*emu_stop)(void *uc);
    int (*mem_read)(void *uc, uint64_t address, void *bytes, size_t size);
    struct gg_watch *watch; /* edges, or NULL */
    uint32_t code_size;     /* from address 0 on */
    uint32_t mark, mark_end;
    uint32_t stops[2];
    int32_t r0;
    int32_t region_count;
    int32_t region;
    int32_t resuming; /* a stop is passed once */
    int32_t exhausted;
};

void gg_count_block(void *uc, uint64_t address, uint32_t size, struct counter *c);

static uint32_t instructions(const struct counter *c, uint32_t address, uint32_t size) {
    if (address >= c->code_size || size > c->code_size - address || size > UINT16_MAX) {
        return 0;
    }
    uint32_t *known = &c->known[address / 2];
    if (*known >> 16 != size) {
        uint32_t count = 0;
        for (uint32_t at = 0; at + 1 < size; at += c->code[address + at + 1] >= 0xE8 ? 4 : 2) {
            ++count;
        }
        *known = size << 16 | count;
    }
    return *known & UINT16_MAX;
}

/* Count the edge to a block; how many instructions it has. */
static uint32_t follow(void *uc, struct counter *c, uint32_t address, uint32_t size) {
    struct gg_watch *w = c->watch;
    const uint32_t at = gg_find(w, address, size);
    if (w->blocks[at].size == 0) {
        uint8_t bytes[UINT16_MAX];
        if (size > sizeof bytes) {
            w->full = 1;
            return 0;
        }
        if (c->code != NULL && address < c->code_size && size <= c->code_size - address) {
            gg_learn(w, at, address, size, c->code + address);
        } else if (c->mem_read(uc, address, bytes, size) == 0) {
            gg_learn(w, at, address, size, bytes);
        }
    }
    if (w->full != 0) {
        c->left = 0;
        return 0;
    }
    gg_count_edge(w, at, c->region);
    return w->blocks[at].instructions;
}

void gg_count_block(void *uc, uint64_t where, uint32_t size, struct counter *c) {
    const uint32_t address = (uint32_t)where;
    if ((address == c->stops[0] || address == c->stops[1]) && !c->resuming) {
        c->emu_stop(uc);
        return;
    }
    c->resuming = 0;
    if (c->left <= 0) {
        c->exhausted = 1;
        c->emu_stop(uc);
        return;
    }
    if (address >= c->mark && address < c->mark_end) {
        if (address == c->mark) {
            c->reg_read(uc, c->r0, &c->region);
            if (c->region < -2 || c->region >= c->region_count) {
                c->region = -2;
            }
        }
        return;
    }
    const uint32_t count = c->watch != NULL ? follow(uc, c, address, size) : instructions(c, address, size);
    c->counts[c->region + 2] += count;
    c->left -= count;
}
