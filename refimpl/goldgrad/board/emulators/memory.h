/*
 * What memory does to a program, access by access: unaligned loads, banks, caches (TIM-S6, TIM-S7).  Counted by
 * instruction and region; what it costs is the timing model's affair.  Memory belongs to who includes this.
 */
#ifndef GOLDGRAD_MEMORY_H
#define GOLDGRAD_MEMORY_H

#include <stdint.h>
#include <string.h>

#define GG_NOTHING UINT32_MAX
#define GG_LINE 32U /* bytes, of both caches and of flash */
#define GG_DATA_SETS 32U
#define GG_DATA_WAYS 4U /* 4 KB */
#define GG_CODE_SETS 64U
#define GG_CODE_WAYS 2U  /* 4 KB */
#define GG_ART_LINES 64U /* of flash on the ITCM bus: code and data */

enum gg_place { GG_TIGHT, GG_SRAM, GG_FLASH, GG_FLASH_ITCM };

struct gg_access { /* an instruction; counts since the last mark */
    uint32_t pc;
    uint32_t before;  /* the instruction right before it in its block, or GG_NOTHING */
    uint32_t address; /* the last one, or GG_NOTHING */
    uint32_t is_touched;
    uint32_t unaligned, same_bank, flash, flash_itcm, sram;
};

struct gg_event { /* the same by region */
    uint32_t pc;  /* or 1 + the address of a block of code: what fetching it missed */
    int32_t region;
    uint64_t unaligned, same_bank, flash, flash_itcm, sram;
};

struct gg_memory {
    struct gg_access *accesses; /* [access_room] */
    struct gg_event *events;    /* [event_room], a hash table: free where is_free has it */
    uint32_t *touched;          /* [access_room] */
    uint32_t access_room, event_room;
    uint32_t access_count, event_count, touched_count;
    uint32_t full;
    uint32_t data[GG_DATA_SETS * GG_DATA_WAYS]; /* lines, the latest of a set first */
    uint32_t code[GG_CODE_SETS * GG_CODE_WAYS];
    uint32_t art[GG_ART_LINES];
};

static inline enum gg_place gg_place(uint32_t address) {
    if (address >= 0x08000000U && address < 0x08100000U) {
        return GG_FLASH;
    }
    if (address >= 0x00200000U && address < 0x00300000U) {
        return GG_FLASH_ITCM;
    }
    return address >= 0x20010000U && address < 0x20050000U ? GG_SRAM : GG_TIGHT;
}

/* Look a line up among some, and have it come first; whether it was not there.  Only a read brings it in. */
static inline uint32_t gg_missed_line(uint32_t *lines, uint32_t ways, uint32_t line, int brings) {
    uint32_t at = 0;
    while (at < ways && lines[at] != line) {
        ++at;
    }
    const uint32_t is_missed = at == ways;
    if (is_missed && !brings) {
        return 1;
    }
    at -= is_missed;
    memmove(lines + 1, lines, at * sizeof *lines);
    lines[0] = line;
    return is_missed;
}

static inline void gg_touch(struct gg_memory *m, struct gg_access *a) {
    if (!a->is_touched) {
        a->is_touched = 1;
        m->touched[m->touched_count++] = (uint32_t)(a - m->accesses);
    }
}

/* An access of size bytes.  Stores go through a buffer: they neither wait nor bring lines in (write-through). */
static inline void gg_accessed(struct gg_memory *m, struct gg_access *a, uint32_t address, uint32_t size,
                               int is_store) {
    const enum gg_place place = gg_place(address);
    const uint32_t line = address / GG_LINE;
    a->address = address;
    if (!is_store && (address & (size - 1)) != 0) {
        a->unaligned += 1;
        gg_touch(m, a);
    }
    if (!is_store && a->before != GG_NOTHING) {
        const uint32_t other = m->accesses[a->before].address;
        if (other != GG_NOTHING && ((address ^ other) & 4U) == 0) {
            a->same_bank += 1;
            gg_touch(m, a);
        }
    }
    if (place == GG_SRAM || place == GG_FLASH) {
        uint32_t *set = &m->data[line % GG_DATA_SETS * GG_DATA_WAYS];
        if (gg_missed_line(set, GG_DATA_WAYS, line, !is_store) && !is_store) {
            *(place == GG_SRAM ? &a->sram : &a->flash) += 1;
            gg_touch(m, a);
        }
    } else if (place == GG_FLASH_ITCM && gg_missed_line(m->art, GG_ART_LINES, line, 1)) {
        a->flash_itcm += 1;
        gg_touch(m, a);
    }
}

static inline struct gg_event *gg_event(struct gg_memory *m, uint32_t pc, int32_t region) {
    uint32_t at = ((pc >> 1) * 2654435761U ^ (uint32_t)region * 40503U);
    at ^= at >> 15;
    for (at &= m->event_room - 1;; at = (at + 1) & (m->event_room - 1)) {
        struct gg_event *e = &m->events[at];
        if (e->pc == pc && e->region == region) {
            return e;
        }
        if (e->region == INT32_MIN) { /* free */
            if (m->event_count + 1 >= m->event_room) {
                m->full = 1;
            } else {
                ++m->event_count;
                e->pc = pc;
                e->region = region;
            }
            return e;
        }
    }
}

/* A block of code is executed. */
static inline void gg_fetched(struct gg_memory *m, uint32_t start, uint32_t size, int32_t region) {
    const enum gg_place place = gg_place(start);
    if (place != GG_FLASH && place != GG_FLASH_ITCM) {
        return;
    }
    for (uint32_t line = start / GG_LINE; line <= (start + size - 1) / GG_LINE; ++line) {
        const uint32_t is_missed =
            place == GG_FLASH ? gg_missed_line(&m->code[line % GG_CODE_SETS * GG_CODE_WAYS], GG_CODE_WAYS, line, 1)
                              : gg_missed_line(m->art, GG_ART_LINES, line, 1);
        if (is_missed) {
            struct gg_event *e = gg_event(m, start | 1U, region);
            *(place == GG_FLASH ? &e->flash : &e->flash_itcm) += 1;
        }
    }
}

/* A region ends: what was counted in it is its own. */
static inline void gg_fold(struct gg_memory *m, int32_t region) {
    for (uint32_t i = 0; i < m->touched_count; ++i) {
        struct gg_access *a = &m->accesses[m->touched[i]];
        struct gg_event *e = gg_event(m, a->pc, region);
        e->unaligned += a->unaligned;
        e->same_bank += a->same_bank;
        e->flash += a->flash;
        e->flash_itcm += a->flash_itcm;
        e->sram += a->sram;
        a->is_touched = a->unaligned = a->same_bank = a->flash = a->flash_itcm = a->sram = 0;
    }
    m->touched_count = 0;
}

/* The record of an instruction; before is that of the one right before it. */
static inline uint32_t gg_access(struct gg_memory *m, uint32_t pc, uint32_t before) {
    if (m->access_count == m->access_room) {
        m->full = 1;
        return m->access_room - 1;
    }
    m->accesses[m->access_count] = (struct gg_access){.pc = pc, .before = before, .address = GG_NOTHING};
    return m->access_count++;
}

#endif
