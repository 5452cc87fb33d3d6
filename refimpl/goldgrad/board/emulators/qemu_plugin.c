/*
 * A TCG plugin that counts instructions by region, for qemu-system-arm 7.2 and later with plugin API 1.
 *
 * Debian does not package the header: these are the prototypes used, as QEMU's documentation of the interface has them.
 *
 *   -plugin FILE,state=PATH,mark=ADDRESS,mark_end=ADDRESS,base=ADDRESS,regions=N[,watch=PATH][,memory=PATH]
 *
 * state is a file of 8 * (6 + N) bytes, mapped here and by qemu.py: executed, marks, at the last mark, region, and counts
 * of regions -2, -1, 0, ... N - 1 up to the last mark.  watch and memory, for the timing model, are files that begin with
 * a struct gg_watch and a struct gg_memory; their arrays follow, in the order of their pointers.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "edges.h"
#include "memory.h"

typedef uint64_t qemu_plugin_id_t;
typedef uint32_t qemu_plugin_meminfo_t;
struct qemu_info_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };
enum qemu_plugin_mem_rw { QEMU_PLUGIN_MEM_RW = 3 };
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };
typedef void (*tb_translated_t)(qemu_plugin_id_t id, struct qemu_plugin_tb *tb);
typedef void (*executed_t)(unsigned int cpu, void *data);
typedef void (*memory_used_t)(unsigned int cpu, qemu_plugin_meminfo_t info, uint64_t address, void *data);

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, tb_translated_t callback);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
unsigned int qemu_plugin_mem_size_shift(qemu_plugin_meminfo_t info);
bool qemu_plugin_mem_is_store(qemu_plugin_meminfo_t info);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, executed_t callback,
                                          enum qemu_plugin_cb_flags flags, void *data);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *insn, enum qemu_plugin_op op, void *to,
                                                uint64_t value);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *insn, memory_used_t callback,
                                      enum qemu_plugin_cb_flags flags, enum qemu_plugin_mem_rw rw, void *data);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;
__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info_t *info,
                                                               int argc, char **argv);

static struct {
    uint64_t executed;
    uint64_t marks;
    uint64_t at_mark;
    int64_t region;
    uint64_t counts[];
} *state;
static uint64_t mark, mark_end, base, region_count;
static struct gg_watch *watch;   /* NULL: no edges */
static struct gg_memory *memory; /* NULL: no memory */

/*
 * gg_mark reads byte region + 2 of flash: no other way for a plugin of API 1 to learn a value.  It also stores into the
 * mailbox, and QEMU 7.2, asked for reads alone, called for that: so ask for both, and the address tells.
 */
static void on_mark(unsigned int cpu, qemu_plugin_meminfo_t info, uint64_t address, void *data) {
    (void)cpu;
    (void)info;
    (void)data;
    if (address < base || address - base >= region_count + 2) {
        return;
    }
    if (memory != NULL) {
        gg_fold(memory, (int32_t)state->region);
    }
    state->counts[state->region + 2] += state->executed - state->at_mark;
    state->at_mark = state->executed;
    state->marks += 1;
    state->region = (int64_t)(address - base) - 2;
}

static void on_block(unsigned int cpu, void *data) {
    (void)cpu;
    const uint32_t at = (uint32_t)(uintptr_t)data;
    gg_count_edge(watch, at, (int32_t)state->region);
    if (memory != NULL) {
        gg_fetched(memory, watch->blocks[at].start, watch->blocks[at].size, (int32_t)state->region);
    }
}

static void on_access(unsigned int cpu, qemu_plugin_meminfo_t info, uint64_t address, void *data) {
    (void)cpu;
    struct gg_access *access = &memory->accesses[(uintptr_t)data];
    gg_accessed(memory, access, (uint32_t)address, 1U << qemu_plugin_mem_size_shift(info),
                qemu_plugin_mem_is_store(info));
}

/* Have a block watched, if it is none of the marks. */
static void watch_block(struct qemu_plugin_tb *tb) {
    uint8_t code[4096];
    uint32_t size = 0, before = GG_NOTHING;
    const uint64_t start = qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(tb, 0));
    if (start >= mark && start < mark_end) {
        return;
    }
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); ++i) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        /* The last before a page's end has a halfword too many here, which QEMU looked at: so its size is not asked. */
        const uint8_t *bytes = qemu_plugin_insn_data(insn);
        const uint32_t length = bytes[1] >= 0xE8 ? 4 : 2;
        if (size + length > sizeof code) {
            watch->full = 1;
            return;
        }
        memcpy(code + size, bytes, length);
        size += length;
        if (memory != NULL) {
            before = gg_access(memory, (uint32_t)qemu_plugin_insn_vaddr(insn), before);
            qemu_plugin_register_vcpu_mem_cb(insn, on_access, QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_RW,
                                             (void *)(uintptr_t)before);
        }
    }
    const uint32_t at = gg_find(watch, (uint32_t)start, size);
    if (watch->blocks[at].size == 0) {
        gg_learn(watch, at, (uint32_t)start, size, code);
    }
    if (watch->full == 0) {
        qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, QEMU_PLUGIN_CB_NO_REGS, (void *)(uintptr_t)at);
    }
}

/*
 * Instructions are counted one by one: a block that crosses a page may be translated, counted, and then not run to its
 * end.  One that an IT block skips counts.
 */
static void on_translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb) {
    (void)id;
    if (watch != NULL) {
        watch_block(tb);
    }
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); ++i) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        const uint64_t address = qemu_plugin_insn_vaddr(insn);
        if (address >= mark && address < mark_end) {
            qemu_plugin_register_vcpu_mem_cb(insn, on_mark, QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_RW, NULL);
        } else {
            qemu_plugin_register_vcpu_insn_exec_inline(insn, QEMU_PLUGIN_INLINE_ADD_U64, &state->executed, 1);
        }
    }
}

static uint64_t number(int argc, char **argv, const char *name) {
    for (int i = 0; i < argc; ++i) {
        const size_t length = strlen(name);
        if (strncmp(argv[i], name, length) == 0 && argv[i][length] == '=') {
            return strtoull(argv[i] + length + 1, NULL, 0);
        }
    }
    return 0;
}

/* Map the file that an argument names; NULL if there is none. */
static void *mapped(int argc, char **argv, const char *name) {
    const size_t length = strlen(name);
    for (int i = 0; i < argc; ++i) {
        struct stat status;
        if (strncmp(argv[i], name, length) == 0 && argv[i][length] == '=') {
            const int file = open(argv[i] + length + 1, O_RDWR);
            if (file < 0 || fstat(file, &status) != 0) {
                return NULL;
            }
            void *found = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
            return found == MAP_FAILED ? NULL : found;
        }
    }
    return NULL;
}

int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info_t *info, int argc, char **argv) {
    (void)info;
    mark = number(argc, argv, "mark");
    mark_end = number(argc, argv, "mark_end");
    base = number(argc, argv, "base");
    region_count = number(argc, argv, "regions");
    state = mapped(argc, argv, "state");
    watch = mapped(argc, argv, "watch");
    memory = mapped(argc, argv, "memory");
    if (watch != NULL) {
        watch->blocks = (void *)(watch + 1);
        watch->edges = (void *)(watch->blocks + watch->block_room);
        watch->predictor = (void *)(watch->edges + watch->edge_room);
    }
    if (memory != NULL) {
        memory->accesses = (void *)(memory + 1);
        memory->events = (void *)(memory->accesses + memory->access_room);
        memory->touched = (void *)(memory->events + memory->event_room);
    }
    if (state == NULL) {
        return 1;
    }
    state->region = -2;
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translated);
    return 0;
}
