"""Functions called one by one on the emulated core: where arguments go, and what a call may not do."""

import numpy as np
import pytest

from goldgrad.board.aapcs import Passed, Value, passed
from goldgrad.board.elf import Elf
from goldgrad.board.emulators import backend
from goldgrad.board.errors import Hang, StackOverflow, Trap, WrongImage
from goldgrad.board.machine import CONSTANTS, Pages, UnicornMachine, pages_of
from goldgrad.board.served import MACHINES, mpu_region, mpu_regions
from goldgrad.board.toolchain import find_toolchain
from goldgrad.errors import GoldgradError

SOURCE = """
#include <stdint.h>

const int32_t constant = 3;
int32_t variable = 5, zero;

static int is(double value, uint32_t high) {
    const union { double value; uint64_t bits; } both = {value};
    return both.bits == (uint64_t)high << 32;  /* no comparison: that would take a library */
}
int32_t mixed(int32_t a, double b, float c, int64_t d, float e, int8_t f, double g, int16_t h) {
    return a == -1 && is(b, 0x40040000) && c == -3.0F && d == -4000000000LL && e == 5.5F && f == -6 &&
           is(g, 0x401D0000) && h == 44;
}
int32_t many(float a, double b, float c, double d, double e, double f, double g, double h, double i, double j,
             float k) {
    return a == 1.0F && is(b, 0x40000000) && c == 3.0F && is(d, 0x40100000) && is(e, 0x40140000) &&
           is(f, 0x40180000) && is(g, 0x401C0000) && is(h, 0x40200000) && is(i, 0x40220000) && is(j, 0x40240000) &&
           k == 11.0F;
}
int32_t counted(void) { return variable++ * 10 + zero++; }
void add(const uint8_t *x, uint8_t *y) { y[0] = (uint8_t)(x[0] + 1); }
void to_constant(void) { *(volatile int32_t *)(uintptr_t)&constant = 4; }
void nowhere(void) { *(volatile int32_t *)0x90000000 = 4; }
void endless(void) { for (;;) { __asm__ volatile(""); } }
void deep(int32_t n) { volatile uint8_t room[4096]; room[0] = (uint8_t)n; deep(n + room[0]); __asm__ volatile(""); }
__attribute__((naked)) void clobbers(void) { __asm__("movs r4, #1\\n bx lr"); }
__attribute__((naked)) void clobbers_float(void) { __asm__("vmov.f32 s16, #1.0\\n bx lr"); }
__attribute__((naked)) void pops(void) { __asm__("sub sp, #8\\n bx lr"); }
void flushes(void) { __asm__ volatile("vmrs r0, fpscr\\n orr r0, r0, #0x1000000\\n vmsr fpscr, r0" ::: "r0"); }
"""
SCRIPT = """
SECTIONS {
    .text 0x10000 : { *(.text*) *(.rodata*) }
    .data 0x20010000 : { *(.data*) }
    .bss : { *(.bss*) }
    /DISCARD/ : { *(.ARM.exidx*) }
}
"""


def test_arguments_in_registers_and_on_the_stack():
    """Counted by hand, by the standard's rules: gaps are filled by floats, and nothing follows what is on the stack."""
    one, two = 0x3F80_0000, 0x4000_0000_0000_0000
    assert passed([1, Value("int64", -1), 2]) == Passed((1, 0, 0xFFFF_FFFF, 0xFFFF_FFFF), (), bytes([2, *[0] * 7]))
    assert passed([1, 2, 3, Value("int64", 4), 5]) == Passed((1, 2, 3, 0), (), bytes([4, *[0] * 7, 5, *[0] * 7]))
    floats = [Value("float32", 1), Value("float64", 2), Value("float32", 1), Value("int8", 300)]
    assert passed(floats) == Passed((44,), (one, one, 0, two >> 32), b"")
    full = passed([Value("float64", 1)] * 7 + [Value("float32", 1), Value("float64", 2), Value("float32", 1)])
    assert len(full.floats) == 15
    assert full.stack == two.to_bytes(8, "little") + one.to_bytes(4, "little") + bytes(4)
    mixed = passed([0, 0, 0, 0, 9, Value("float64", 2)] + [Value("float64", 2)] * 8)
    assert mixed.stack == bytes([9, *[0] * 7]) + two.to_bytes(8, "little")


@pytest.fixture(scope="module")
def elf(tmp_path_factory):
    return linked(tmp_path_factory.mktemp("machine"), SCRIPT)


def linked(folder, script):
    (folder / "functions.c").write_text(SOURCE)
    (folder / "script.ld").write_text(script)
    flags = ("-nostdlib", "-static", "-Wno-infinite-recursion", "-Wl,--no-gc-sections", "-Wl,-e,0")
    toolchain = find_toolchain()
    script_flag = f"-Wl,-T,{folder / 'script.ld'}"
    made = toolchain.run(*flags, script_flag, folder / "functions.c", "-o", folder / "functions.elf")
    assert made.returncode == 0, made.stderr
    return Elf.read(folder / "functions.elf")


MIXED = [
    Value("int32", -1),
    Value("float64", 2.5),
    Value("float32", -3),
    Value("int64", -4_000_000_000),
    Value("float32", 5.5),
    Value("int8", -6),
    Value("float64", 7.25),
    Value("int16", 65580),
]
MANY = [Value("float64" if i in (2, 4, 5, 6, 7, 8, 9, 10) else "float32", i) for i in range(1, 12)]
FAULTS = [
    ("to_constant", Trap, r"to_constant: write to code or constants \(PC 0x\w+ in to_constant\+0x\w+, address 0x"),
    ("nowhere", Trap, r"access outside its memory \(PC 0x\w+ in nowhere\+0x\w+, address 0x90000000\)"),
    ("endless", Hang, "endless: no end after 0.2 s"),
    ("deep", StackOverflow, "deep takes more than 65,536 bytes of stack"),
    ("clobbers", Trap, "returns with another stack pointer, or other values in r4-r11 or s16-s31"),
    ("clobbers_float", Trap, "other values in r4-r11 or s16-s31"),
    ("pops", Trap, "returns with another stack pointer"),
    ("flushes", Trap, "returns with the FPU in another mode: FPSCR 0x01000000"),
]


def check_machine(machine):
    """What every machine owes, whatever emulates it."""
    assert machine.call("mixed", MIXED) == 1
    assert machine.call("many", MANY) == 1
    assert [machine.call("counted", []) for _ in range(2)] == [50, 61]
    x, y = np.full(400, 7, np.uint8), np.zeros(400, np.uint8)
    places = machine.place([x[3:], y[5:]])
    assert [(place - array.ctypes.data) % 64 for place, array in zip(places, (x[3:], y[5:]), strict=True)] == [0, 0]
    machine.call("add", places)
    machine.collect()
    assert y.tolist() == [0] * 5 + [8] + [0] * 394
    assert set(x) == {7}
    with pytest.raises(GoldgradError, match="constants take more than"):
        machine.constant(bytes(CONSTANTS + 1))


@pytest.mark.rules("MEAS-S7")
def test_calls(elf):
    machine = UnicornMachine(elf)
    assert [(pages.writable, pages.start) for pages in pages_of(elf)] == [(False, 0x10000), (True, 0x2001_0000)]
    check_machine(machine)
    with pytest.raises(GoldgradError, match="operands take more than"):
        machine.place([np.zeros(1 << 24, np.uint8)])


def check_fault(machine, function, kind, says):
    """The fault is told by name, and the call after it finds what it has to."""
    with pytest.raises(kind, match=says):
        machine.call(function, [1], 0.2)
    before = machine.call("counted", [])
    if kind is not Trap or "PC" in says:
        assert before == 50, "the ELF as it was loaded"


@pytest.mark.rules("MEAS-S7")
@pytest.mark.parametrize("native", [True, False])
def test_counted_and_uncounted_calls_of_one_machine(elf, native):
    machine = UnicornMachine(elf, watched=True, native=native)
    counts = []
    for expected in (50, 72):
        counted = machine.count("counted", [])
        assert counted.r0 == expected
        counts.append(counted.instructions)
        assert machine.call("counted", []) == expected + 11
    assert counts[0] == counts[1]


@pytest.mark.rules("ABI-N1")
@pytest.mark.parametrize(("function", "kind", "says"), FAULTS)
def test_what_a_call_may_not_do_and_that_the_next_is_as_the_first(elf, function, kind, says):
    machine = UnicornMachine(elf)
    machine.call("counted", [])
    for _ in range(2):
        check_fault(machine, function, kind, says)


def served(name, elf):
    if find := backend(name).missing():
        pytest.skip(find)
    return MACHINES[name](elf)


def test_calls_on_qemu(elf):
    with served("qemu", elf) as machine:
        check_machine(machine)
        for fault in FAULTS:
            check_fault(machine, *fault)


def test_calls_on_renode(elf):
    """One start of Renode: so no call without an end, after which it is started again."""
    with served("renode", elf) as machine:
        check_machine(machine)
        for function, kind, says in FAULTS:
            if kind is not Hang:
                check_fault(machine, function, kind, says)


def test_memory_that_there_is_not(tmp_path):
    with pytest.raises(WrongImage, match="has memory at 0x60000000, where goldgrad's own is; link it elsewhere"):
        UnicornMachine(linked(tmp_path, SCRIPT.replace("0x10000", "0x60000000")))
    with pytest.raises(WrongImage, match="has memory at 0x08000000, where QEMU's mps2-an500 has none; link it for"):
        served("qemu", linked(tmp_path, SCRIPT.replace("0x10000", "0x08000000")))


def test_regions_of_the_mpu():
    """A stretch, and no more than an eighth of what is around it; too many stretches become four."""
    base, attributes = mpu_region(Pages(0x0020_3000, 0x0020_C000, False))
    assert (base, attributes & 1, attributes >> 1 & 31) == (0x0020_0000, 1, 15), "64 KB"
    assert attributes >> 8 & 0xFF == 0b1100_0001, "of which the second to the sixth eighth"
    many = [Pages(i << 16, (i << 16) + 4096, i == 3) for i in (0, 1, 3, 10, 100, 200)]
    regions = mpu_regions(many)
    assert len(regions) == 8
    assert [base for base, _ in regions[:4]] == [0xA0000, 0x640000, 0xC80000, 0], "what can be written is last: it wins"
