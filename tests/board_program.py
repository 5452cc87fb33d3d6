"""The program that tests/board runs: tests/board/program.c, built by each compiler, and its step in the reference."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import signal
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from goldgrad.board.board import Board
from goldgrad.board.build import build
from goldgrad.board.elf import Elf
from goldgrad.board.emulators import BACKENDS, Emulator, backend
from goldgrad.board.toolchain import NAMES, find_toolchain, toolchains
from goldgrad.ops import FUNCTIONS

SOURCE = Path(__file__).parent / "board" / "program.c"
SIDE, IN_C, MID_C, CLASSES = 8, 3, 5, 4
FEATURES = SIDE // 2 * (SIDE // 2) * MID_C
RATE = np.float32([0.01])
FAULTS = {"flash": 1, "map": 2, "null": 3, "stack": 4, "loop": 5, "trap": 6, "data": 7}
FAULTS |= {"itcm": 8, "call-null": 9, "write-null": 10, "member-of-null": 11}
"""What the last region does, by the word in the buffer "fault"."""

PIXELS, CHANNELS = 6, 4
BIAS_GRADIENT = f"""
[[argument]]
type = "int32"
value = {PIXELS}
[[argument]]
type = "int32"
value = {CHANNELS}
[[argument]]
type = "float32"
count = {PIXELS * CHANNELS}
seed = 3
[[argument]]
type = "uint32"
value = 0
[[argument]]
type = "float32"
values = [9.0, 9.0, 9.0, 9.0]
"""
"""Arguments of the kernel of the region fc.bias_gradient, on a larger map."""

_draw = np.random.default_rng(746)
CONV_W = _draw.integers(-60, 61, (MID_C, 3, 3, IN_C)).astype(np.int8)
FC_W = _draw.integers(-90, 91, (CLASSES, FEATURES)).astype(np.int8)
FC_B = np.int32([10, -20, 30, -40])
FC_M = np.float32([0.003, 0.005, 0.007, 0.0011])


@functools.cache
def folder() -> Path:
    """Where this process builds; with the weights of both C and Python."""
    path = Path(tempfile.mkdtemp(prefix="goldgrad-test-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    tables = {"CONV_W": CONV_W, "FC_W": FC_W}
    lines = [f"#define {name} {{{', '.join(map(str, w.reshape(-1)))}}}\n" for name, w in tables.items()]
    (path / "weights.h").write_text("".join(lines))
    return path


def build_program(compiler: str, name: str = "by-hand", *flags: str, stack_bytes: int | None = None) -> Elf:
    """Build it with gcc or zig; skip if that is not here."""
    known = {toolchain.name: toolchain for toolchain in toolchains()}
    if known[compiler].missing:
        pytest.skip(known[compiler].missing)
    target = folder() / f"{name}-{compiler}.elf"
    flags = (f"-I{folder()}", "-DMORE_ARENA=0", *flags)
    return build([SOURCE], target, toolchain=find_toolchain(compiler), flags=flags, stack_bytes=stack_bytes)


@functools.cache
def program(compiler: str) -> Elf:
    return build_program(compiler)


def any_compiler() -> str:
    """The one that is used by default."""
    return find_toolchain().name


def emulator(name: str) -> type[Emulator]:
    """The class; skip if it is not here."""
    reason = backend(name).missing()
    if reason:
        pytest.skip(f"{name}: {reason}")
    return backend(name)


each_compiler = pytest.mark.parametrize("compiler", NAMES)
each_emulator = pytest.mark.parametrize("name", BACKENDS)


def samples(count: int) -> list[dict[str, np.ndarray]]:
    draw = np.random.default_rng(1)
    fault = np.zeros(1, np.uint32)
    return [
        {
            "input": draw.integers(-128, 128, (SIDE, SIDE, IN_C)).astype(np.int8),
            "label": np.int32([i % CLASSES]),
            "rate": RATE,
            "fault": fault,
        }
        for i in range(count)
    ]


def fail(board: Board, fault: str) -> None:
    """Run one step that commits a fault."""
    board.step(samples(1)[0] | {"fault": np.uint32([FAULTS[fault]])})


def kill_in(board: Board, region: str) -> None:
    """Kill the process of a board's emulator as soon as the next command has got to a region, whenever that is."""
    wanted, emulator = [r.name for r in board.program.regions].index(region), board.emulator
    process = emulator._process.process
    assert process

    def now() -> int:
        if emulator.name == "qemu":
            return int(emulator._state()[3])
        return int.from_bytes((emulator._folder / "region").read_bytes(), "little", signed=True)

    def kill() -> None:
        while process.poll() is None and now() != wanted:
            time.sleep(0.02)
        if emulator.name == "qemu":
            process.kill()
        else:  # its launcher is a script
            os.killpg(process.pid, signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()


class Reference:
    """The step as goldgrad.ops has it."""

    def __init__(self) -> None:
        self.w, self.b = FC_W.copy(), FC_B.copy()

    def step(self, sample: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Train on a sample; what every buffer holds then."""
        of = FUNCTIONS
        conv_m = np.float32([0.011, 0.013, 0.007, 0.017, 0.019])
        conv_b = np.int32([100, -200, 300, -400, 500])
        y, _ = of["conv2d.forward"](
            sample["input"][None], CONV_W, conv_b, conv_m, x_zero=-3, y_zero=-128, stride=(2, 2), pad=(1, 0, 1, 0)
        )
        x = y.reshape(1, -1)
        logits, mask = of["fully_connected.forward"](x, self.w, self.b, FC_M, x_zero=-128, y_zero=4)
        loss, gy = of["softmax_cross_entropy.forward"](logits, sample["label"], np.float32([0.05]))
        (g,) = of["mask_scale.forward"](gy, mask, FC_M)
        (db,) = of["bias_gradient.forward"](g)
        (dw,) = of["fully_connected.vjp_w"](g, x, x_zero=-128)
        weight_q, bias_q = np.float32([3000, 5000, 7000, 9000]), np.float32([3e5, 5e5, 7e5, 9e5])
        (self.w,) = of["sgd_update_weight.update"](self.w, dw, weight_q, sample["rate"])
        limit = np.array([1 << 20], np.int32)
        (self.b,) = of["sgd_update_bias.update"](self.b, db, bias_q, limit, sample["rate"])
        return {"loss": loss, "logits": logits, "fc.weight": self.w, "fc.bias": self.b}
