/*
 * Counts edges, a block of code and the one before it, and what a branch predictor would have missed (TIM-S5): what the
 * timing model needs of an execution.  Memory belongs to who includes it; _edges.py has the same in Python.
 */
#ifndef GOLDGRAD_EDGES_H
#define GOLDGRAD_EDGES_H

#include <stdint.h>

#define GG_NONE UINT32_MAX

enum gg_ending { GG_STRAIGHT, GG_CONDITIONAL, GG_INDIRECT };

struct gg_block {
    uint32_t start, size;
    uint32_t edges;  /* the first that leaves here */
    uint32_t last;   /* the address of its last instruction */
    uint32_t target; /* where an indirect branch went the last time */
    uint32_t ending;
    uint32_t instructions;
};

struct gg_edge {
    uint32_t from, to; /* blocks */
    uint32_t next;     /* the next that leaves from */
    int32_t region;
    uint64_t count, missed;
};

struct gg_watch {
    struct gg_block *blocks;                        /* [block_room], a hash table by start and size: size 0 is free */
    struct gg_edge *edges;                          /* [edge_room] */
    uint8_t *predictor;                             /* [predictor_room] of 0 ... 3: taken from 2 on */
    uint32_t block_room, edge_room, predictor_room; /* powers of two */
    uint32_t block_count, edge_count;
    uint32_t full; /* something did not fit: the counts are worth nothing */
    uint32_t last; /* the block before */
    uint32_t seen; /* a block that none comes before was entered from here: its edges hang on this */
};

/* Whether a branch goes where a register or memory says: BX, BLX, POP, MOV, ADD, LDR and LDM to PC, TBB, TBH. */
static inline uint32_t gg_is_indirect(uint32_t first, uint32_t second, uint32_t wide) {
    if (!wide) {
        return (first & 0xFF00U) == 0x4700U || (first & 0xFF00U) == 0xBD00U || (first & 0xFD87U) == 0x4487U;
    }
    const uint32_t is_load = (first & 0xFF70U) == 0xF850U && second >> 12 == 15U;
    const uint32_t is_list = (first & 0xFE50U) == 0xE810U && (first & 0x0180U) != 0 && (first & 0x0180U) != 0x0180U;
    const uint32_t is_table = first >> 4 == 0xE8DU && (second & 0xFFE0U) == 0xF000U;
    return is_load || (is_list && second >> 15 != 0) || is_table;
}

/* How a block ends, and where its last instruction is (Arm DDI 0403, A5.2 and A5.3). */
static inline uint32_t gg_ending(const uint8_t *code, struct gg_block *b) {
    const uint32_t size = b->size;
    uint32_t first = 0, second = 0, at = 0, in_it = 0, wide = 0, guarded = 0;
    while (at + 1 < size) {
        first = code[at] | (uint32_t)code[at + 1] << 8;
        wide = first >= 0xE800U && at + 3 < size;
        second = wide ? code[at + 2] | (uint32_t)code[at + 3] << 8 : 0;
        guarded = in_it;
        in_it -= in_it > 0;
        if ((first & 0xFF00U) == 0xBF00U && (first & 0xFU) != 0) {
            in_it = first & 1U ? 4 : first & 2U ? 3 : first & 4U ? 2 : 1;
        }
        b->last = b->start + at;
        b->instructions += 1;
        at += wide ? 4 : 2;
    }
    if (guarded) {
        return GG_CONDITIONAL;
    }
    if (!wide) {
        if ((first & 0xF000U) == 0xD000U && (first & 0x0F00U) < 0x0E00U) {
            return GG_CONDITIONAL;
        }
        if ((first & 0xF500U) == 0xB100U) {
            return GG_CONDITIONAL; /* CBZ, CBNZ */
        }
    } else if ((first & 0xF800U) == 0xF000U && (second & 0x8000U) != 0) {
        const int is_conditional = (second & 0x5000U) == 0 && (first & 0x0380U) != 0x0380U;
        return is_conditional ? GG_CONDITIONAL : GG_STRAIGHT;
    }
    return gg_is_indirect(first, second, wide) ? GG_INDIRECT : GG_STRAIGHT;
}

/* The place of a block in the table; of size 0 if it is not there. */
static inline uint32_t gg_find(const struct gg_watch *w, uint32_t start, uint32_t size) {
    if (w->last != GG_NONE && w->blocks[w->last].edges != GG_NONE) { /* as the last time */
        const uint32_t to = w->edges[w->blocks[w->last].edges].to;
        if (w->blocks[to].start == start && w->blocks[to].size == size) {
            return to;
        }
    }
    uint32_t at = (start >> 1) * 2654435761U ^ size;
    at ^= at >> 15;
    for (at &= w->block_room - 1; w->blocks[at].size != 0; at = (at + 1) & (w->block_room - 1)) {
        if (w->blocks[at].start == start && w->blocks[at].size == size) {
            break;
        }
    }
    return at;
}

/* Enter a block at its place. */
static inline void gg_learn(struct gg_watch *w, uint32_t at, uint32_t start, uint32_t size, const uint8_t *code) {
    if (w->block_count + 1 >= w->block_room) {
        w->full = 1;
        return;
    }
    ++w->block_count;
    struct gg_block *b = &w->blocks[at];
    *b = (struct gg_block){.start = start, .size = size, .edges = GG_NONE, .target = GG_NONE};
    b->ending = gg_ending(code, b);
}

/* Whether the branch at the end of a block was predicted wrongly, now that it has gone to start. */
static inline uint32_t gg_missed(struct gg_watch *w, struct gg_block *b, uint32_t start) {
    if (b->ending == GG_STRAIGHT) {
        return 0;
    }
    const uint32_t taken = start != b->start + b->size;
    uint32_t missed = 0;
    if (b->ending == GG_CONDITIONAL) {
        uint8_t *state = &w->predictor[(b->last >> 1) & (w->predictor_room - 1)];
        missed = (*state >= 2) != taken;
        *state = (uint8_t)(taken ? *state + (*state < 3) : *state - (*state > 0));
    } else {
        missed = b->target != start;
        b->target = start;
    }
    return missed;
}

/* Count that block to follows the last one. */
static inline void gg_count_edge(struct gg_watch *w, uint32_t to, int32_t region) {
    const uint32_t from = w->last;
    uint32_t *head = from == GG_NONE ? &w->seen : &w->blocks[from].edges;
    const uint32_t missed = from == GG_NONE ? 0 : gg_missed(w, &w->blocks[from], w->blocks[to].start);
    uint32_t *link = head;
    while (*link != GG_NONE && (w->edges[*link].to != to || w->edges[*link].region != region)) {
        link = &w->edges[*link].next;
    }
    uint32_t found = *link;
    if (found == GG_NONE) {
        if (w->edge_count == w->edge_room) {
            w->full = 1;
            return;
        }
        found = w->edge_count++;
        w->edges[found] = (struct gg_edge){from, to, *head, region, 0, 0};
        *head = found;
    } else if (link != head) { /* the one just used comes first */
        *link = w->edges[found].next;
        w->edges[found].next = *head;
        *head = found;
    }
    w->edges[found].count += 1;
    w->edges[found].missed += missed;
    w->last = to;
}

#endif
