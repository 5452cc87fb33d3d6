"""What is linked lies where the chip has memory, and what does not fit is told by region and size."""

import ctypes
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from board_program import any_compiler, build_program, each_compiler, folder, program
from goldgrad import paths
from goldgrad.board.build import build
from goldgrad.board.elf import Elf
from goldgrad.board.errors import BuildError, DoesNotFit, WrongImage
from goldgrad.board.memory_map import CODE_IN_ITCM, DTCM, FLASH, FLASH_AXI, SRAM
from goldgrad.board.toolchain import find_toolchain, host_toolchains

BIG_FLASH = """
#include "program.h"
static const uint8_t weights[1100000] = {1};
const gg_program_t gg_program = {.version = GG_PROGRAM_VERSION, .name = (const char *)weights};
void gg_program_init(void) {}
void gg_program_step(void) {}
"""


@pytest.mark.rules("BOARD-M1")
@each_compiler
def test_everything_lies_in_its_bank(compiler):
    elf = program(compiler)
    banks = dict.fromkeys((".vectors", ".text", ".rodata"), FLASH) | {".itcm": CODE_IN_ITCM, ".arena": SRAM}
    banks |= dict.fromkeys((".stack", ".bss", ".scratch"), DTCM)
    for section in elf.sections:
        bank = banks[section.name]
        assert section.address in bank
        assert section.address + section.size <= bank.end
    assert {segment.load_address for segment in elf.segments} <= set(range(FLASH_AXI.start, FLASH_AXI.end))
    at = {s.load_address - FLASH_AXI.start for s in elf.segments if s.address not in FLASH}
    assert at <= {elf.symbol("gg_itcm_load").address - FLASH.start}, "what lies elsewhere is copied there at start"
    assert elf.symbol("gg_stack_bottom").address == DTCM.start, "below the stack there is nothing"
    words = np.frombuffer(elf.flash()[:32], "<u4")
    assert words[1] == elf.entry
    assert words[7] == elf.symbol("gg_mailbox").address


@pytest.mark.rules("BOARD-M1")
@each_compiler
def test_an_arena_that_does_not_fit(compiler):
    arena = program(compiler).section_bytes(".arena")
    flags = ("-UMORE_ARENA", "-DMORE_ARENA=300000")
    with pytest.raises(DoesNotFit) as caught:
        build_program(compiler, "big-arena", *flags)
    over = arena + 300_000 - SRAM.size
    assert caught.value.regions == {"SRAM1 and SRAM2": over}
    assert f"it overflows SRAM1 and SRAM2 (262,144 bytes) by {over:,} bytes; " in str(caught.value)
    assert "\n" not in str(caught.value)
    fits = SRAM.size - arena
    build_program(compiler, "full-arena", "-UMORE_ARENA", f"-DMORE_ARENA={fits}")
    with pytest.raises(DoesNotFit) as caught:
        build_program(compiler, "one-too-many", "-UMORE_ARENA", f"-DMORE_ARENA={fits + 1}")
    assert caught.value.regions == {"SRAM1 and SRAM2": 1}


@pytest.mark.rules("BOARD-M1")
@each_compiler
def test_flash_and_dtcm_overflow_too(compiler, tmp_path):
    program(compiler)
    source = tmp_path / "big.c"
    source.write_text(BIG_FLASH)
    with pytest.raises(DoesNotFit) as caught:
        build([source], tmp_path / "big.elf", toolchain=find_toolchain(compiler))
    assert 1_100_000 - FLASH.size < caught.value.regions["flash"] < 1_110_000 - FLASH.size
    with pytest.raises(DoesNotFit) as caught:
        build_program(compiler, "big-stack", stack_bytes=70_000)
    assert 70_000 - DTCM.size < caught.value.regions["DTCM"] < 73_000 - DTCM.size


def test_a_program_that_does_not_compile(tmp_path):
    source = tmp_path / "narrow.c"
    source.write_text("signed char f(int v);\nsigned char f(int v) { return v; }\n")
    with pytest.raises(BuildError, match=r"refuses narrow\.c: .*onversion") as caught:
        build([source], tmp_path / "narrow.elf")
    assert "\n" not in str(caught.value)


def test_a_program_that_lacks_its_step(tmp_path):
    source = tmp_path / "empty.c"
    source.write_text('#include "program.h"\nconst gg_program_t gg_program;\nvoid gg_program_init(void) {}\n')
    with pytest.raises(BuildError, match="gg_program_step") as caught:
        build([source], tmp_path / "empty.elf")
    assert "\n" not in str(caught.value)


def other_core(tmp_path, *flags):
    source = tmp_path / "other.c"
    source.write_text("void gg_reset(void);\nvoid gg_reset(void) { for (;;) {} }\n")
    target = tmp_path / "other.elf"
    toolchain = find_toolchain()
    if toolchain.name == "zig":
        pytest.skip("arm-none-eabi-gcc is not on PATH")
    run = toolchain.run("-nostdlib", "-Wl,-e,gg_reset", *flags, source, "-o", target)
    assert run.returncode == 0, run.stderr
    return target


@pytest.mark.rules("BOARD-C1")
@pytest.mark.parametrize(("core", "architecture"), [("a9", "7-A"), ("m33", "8-M.MAIN"), ("r5", "7-R")])
def test_an_elf_for_another_arm(tmp_path, core, architecture):
    text = f"other.elf is for Arm architecture {architecture}, not for Cortex-M7; give an ELF for Cortex-M7"
    with pytest.raises(WrongImage) as caught:
        Elf.read(other_core(tmp_path, f"-mcpu=cortex-{core}", "-mfpu=auto"))
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.rules("BOARD-C1")
def test_an_elf_for_a_smaller_cortex_m_is_read(tmp_path):
    assert "gg_reset" in Elf.read(other_core(tmp_path, "-mcpu=cortex-m3", "-mfloat-abi=soft")).symbols


@pytest.mark.rules("BOARD-C1")
def test_files_that_are_no_elf_for_the_board(tmp_path):
    text = tmp_path / "text.elf"
    text.write_text("int main;")
    with pytest.raises(WrongImage, match="is no ELF file"):
        Elf.read(text)
    with pytest.raises(WrongImage, match="cannot be read"):
        Elf.read(tmp_path / "absent.elf")
    truncated = tmp_path / "truncated.elf"
    truncated.write_bytes(program(any_compiler()).path.read_bytes()[:900])
    with pytest.raises(WrongImage):
        Elf.read(truncated)
    machine = shutil.which("sh")
    with pytest.raises(WrongImage, match="not for Cortex-M7"):
        Elf.read(folder().__class__(machine))


@pytest.fixture(scope="module")
def memory():
    """The firmware's memory functions, compiled for this machine under other names."""
    source, target = paths.data("renode") / "firmware" / "memory.c", folder() / "memory.so"
    names = ("memcpy", "memmove", "memset", "memcmp")
    for toolchain in host_toolchains():
        if not toolchain.missing:
            flags = (*(f"-D{name}=gg_{name}" for name in names), "-fno-builtin", "-fno-sanitize=undefined")
            run = toolchain.run("-shared", "-fPIC", *flags, source, "-o", target)
            assert run.returncode == 0, run.stderr
            return ctypes.CDLL(str(target))
    return pytest.skip("no C compiler for this machine")


@pytest.mark.rules("BOARD-S6")
@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 70), st.integers(0, 255))
def test_memory_functions(memory, to, start, count, value):
    data = bytearray(np.random.default_rng(count).integers(0, 256, 100).astype(np.uint8))

    def run(name, *arguments):
        room = (ctypes.c_uint8 * 100)(*data)
        places = [ctypes.byref(room, a) if isinstance(a, int) else a[0] for a in arguments]
        result = getattr(memory, f"gg_{name}")(*places, ctypes.c_size_t(count))
        return bytes(room), result

    moved = bytearray(data)
    moved[to : to + count] = data[start : start + count]
    assert run("memmove", to, start)[0] == moved
    if abs(to - start) >= count:
        assert run("memcpy", to, start)[0] == moved
    filled = bytearray(data)
    filled[to : to + count] = bytes([value]) * count
    assert run("memset", to, (ctypes.c_int(value),))[0] == filled
    left, right = data[to : to + count], data[start : start + count]
    expected = (left > right) - (left < right)
    assert run("memcmp", to, start)[1] == expected


@pytest.mark.rules("BOARD-S6")
@pytest.mark.parametrize("alignment", ["", "4", "8"])
def test_memory_functions_by_the_names_of_the_arm_abi(memory, alignment):
    """memset has its count before its value, and memclr no value."""
    data = bytes(range(1, 65))

    def run(name, *arguments):
        room = (ctypes.c_uint8 * 64)(*data)
        first, *rest = arguments
        getattr(memory, f"__aeabi_{name}{alignment}")(ctypes.byref(room, first), *(a(room) for a in rest))
        return bytes(room)

    def at(place):
        return lambda room: ctypes.byref(room, place)

    def number(value):
        return lambda _: ctypes.c_size_t(value)

    assert run("memcpy", 8, at(32), number(21)) == data[:8] + data[32:53] + data[29:]
    assert run("memmove", 8, at(16), number(21)) == data[:8] + data[16:37] + data[29:]
    assert run("memmove", 16, at(8), number(21)) == data[:16] + data[8:29] + data[37:]
    assert run("memset", 8, number(21), number(0x1C3)) == data[:8] + b"\xc3" * 21 + data[29:]
    assert run("memclr", 8, number(21)) == data[:8] + bytes(21) + data[29:]
