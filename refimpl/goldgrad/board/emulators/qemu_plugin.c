/*
 * A TCG plugin that counts instructions by region, for qemu-system-arm 7.2 and later with plugin API 1.
 *
 * Debian does not package the header: these are the prototypes used, as QEMU's documentation of the interface has them.
 *
 *   -plugin FILE,state=PATH,mark=ADDRESS,mark_end=ADDRESS,base=ADDRESS,regions=N
 *
 * PATH is a file of 8 * (6 + N) bytes, mapped here and by qemu.py: executed, marks, at the last mark, region, and counts
 * of regions -2, -1, 0, ... N - 1 up to the last mark.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef uint64_t qemu_plugin_id_t;
typedef uint32_t qemu_plugin_meminfo_t;
struct qemu_info_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };
enum qemu_plugin_mem_rw { QEMU_PLUGIN_MEM_RW = 3 };
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };
typedef void (*tb_translated_t)(qemu_plugin_id_t id, struct qemu_plugin_tb *tb);
typedef void (*memory_used_t)(unsigned int cpu, qemu_plugin_meminfo_t info, uint64_t address, void *data);

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, tb_translated_t callback);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
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
    state->counts[state->region + 2] += state->executed - state->at_mark;
    state->at_mark = state->executed;
    state->marks += 1;
    state->region = (int64_t)(address - base) - 2;
}

/*
 * Instructions are counted one by one: a block that crosses a page may be translated, counted, and then not run to its
 * end.  One that an IT block skips counts.
 */
static void on_translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb) {
    (void)id;
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

int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info_t *info, int argc, char **argv) {
    (void)info;
    mark = number(argc, argv, "mark");
    mark_end = number(argc, argv, "mark_end");
    base = number(argc, argv, "base");
    region_count = number(argc, argv, "regions");
    for (int i = 0; i < argc; ++i) {
        if (strncmp(argv[i], "state=", 6) == 0) {
            const int file = open(argv[i] + 6, O_RDWR);
            void *mapped = mmap(NULL, 8 * (6 + region_count), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
            state = mapped == MAP_FAILED ? NULL : mapped;
        }
    }
    if (state == NULL) {
        return 1;
    }
    state->region = -2;
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translated);
    return 0;
}
