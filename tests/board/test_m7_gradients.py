"""The backward kernels for a Cortex-M7 on sizes that fill their blocks, and leave some of every kind over."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from goldgrad.board.kernels import BoardKernels
from goldgrad.board.machine import BUFFERS
from goldgrad.conformance.case import Case
from goldgrad.conformance.properties import PROPERTIES, verify
from goldgrad.conformance.strategies import NASTY, SPECIAL
from goldgrad.ops import FUNCTIONS

mark = pytest.mark
PROPERTY_NAMES = ("bits", "frame", "scratch", "alias")


@functools.cache
def provider():
    return BoardKernels("m7")


def check(case):
    for name in PROPERTY_NAMES:
        if PROPERTIES[name].applies(FUNCTIONS[case.function]):
            verify(name, case, provider())


class Values:
    """Operands like gradients, with what hurts among them."""

    def __init__(self, seed=0):
        self.random = np.random.default_rng(seed)

    def floats(self, *shape, special=0):
        values = self.random.standard_normal(shape).astype(np.float32)
        hard = self.random.random(shape) < 0.1
        values[hard] = self.random.choice(NASTY, int(hard.sum()))
        for at in self.random.integers(0, values.size, special):
            values.flat[at] = self.random.choice(SPECIAL)
        return values

    def codes(self, *shape, least=-128):
        return self.random.integers(least, 128, shape).astype(np.int8)

    def split(self, *shape, kept):
        """The part that trains, and which channels it is of."""
        channels = np.sort(self.random.choice(shape[-1], kept, replace=False)).astype(np.int32)
        return (self.codes(*shape[:-1], kept, least=-127), channels) if kept else ()


POINTWISE = {"stride": (1, 1), "pad": (0, 0, 0, 0), "dilation": (1, 1)}
MATRICES = [
    # height, width, output channels, input channels, kept
    (4, 4, 160, 32, 0),
    (4, 4, 32, 96, 24),
    (8, 8, 24, 48, 0),
    (3, 3, 65, 37, 5),
    (5, 1, 71, 8, 8),
    (2, 2, 8, 4, 1),
    (1, 1, 10, 70, 0),
    (3, 1, 129, 3, 2),
    (9, 8, 1, 6, 0),
    (13, 5, 4, 1, 0),
    # panels of six columns: several strips of several runs, of one tile; of four, made of codes, with rows left over
    (2, 2, 136, 66, 9),
    (4, 3, 8, 6, 6),
    (3, 3, 16, 12, 5),
    (7, 1, 80, 8, 0),
]


@mark.rules("CONV-S4", "CONV-S7", "CONV-A2", "ABI-S5")
@mark.parametrize("sizes", MATRICES, ids=str)
@mark.parametrize("starts", [False, True])
def test_gradient_of_a_pointwise_input(sizes, starts):
    height, width, out_c, in_c, kept = sizes
    v = Values(out_c)
    w = v.codes(out_c, 1, 1, in_c, least=-127)
    dx0 = v.floats(1, height, width, in_c, special=1) if starts else None
    g = v.floats(1, height, width, out_c, special=int(starts))
    check(Case("conv2d.vjp_x", (g, w, dx0, *v.split(*w.shape, kept=kept)), {"in_hw": (height, width), **POINTWISE}))


@mark.rules("CONV-S5", "CONV-A3", "ABI-S5")
@mark.parametrize("sizes", MATRICES, ids=str)
@mark.parametrize("starts", [False, True])
def test_gradient_of_a_pointwise_weight(sizes, starts):
    height, width, out_c, in_c, _ = sizes
    v = Values(in_c)
    dw0 = v.floats(out_c, 1, 1, in_c, special=1) if starts else None
    g, x = v.floats(1, height, width, out_c, special=int(starts)), v.codes(1, height, width, in_c)
    check(Case("conv2d.vjp_w", (g, x, dw0), {"x_zero": -128 if starts else 3, "kernel": (1, 1), **POINTWISE}))


CONVOLUTIONS = [
    # height, width, output channels, input channels, kept, kernel, stride, dilation, pad
    (8, 8, 16, 20, 0, 3, 1, 1, (1, 1, 1, 1)),
    (9, 7, 5, 9, 2, 3, 2, 1, (1, 0, 1, 1)),
    (6, 12, 40, 6, 1, 5, 1, 1, (2, 2, 2, 2)),
    (6, 5, 3, 37, 30, 2, 3, 1, (0, 1, 0, 0)),
    (7, 9, 11, 4, 0, 3, 1, 2, (2, 2, 2, 2)),
    (5, 6, 8, 8, 8, 1, 2, 1, (0, 0, 0, 0)),
    (2, 3, 2, 3, 1, 13, 1, 1, (6, 6, 6, 6)),
]


def reach(height, width, kernel, stride, dilation, pad):
    """Height and width of the output."""
    span = (kernel - 1) * dilation + 1
    return [(size + a + b - span) // stride + 1 for size, a, b in ((height, *pad[:2]), (width, *pad[2:]))]


@mark.rules("CONV-S4", "CONV-S5", "CONV-S7", "ABI-S5")
@mark.parametrize("sizes", CONVOLUTIONS, ids=str)
@mark.parametrize("starts", [False, True])
def test_gradients_of_a_convolution(sizes, starts):
    """Pixels that meet the same taps, alone and several in a row; taps that meet nothing; runs of output channels."""
    height, width, out_c, in_c, kept, kernel, stride, dilation, pad = sizes
    v = Values(out_c)
    w = v.codes(out_c, kernel, kernel, in_c, least=-127)
    window = {"stride": (stride, stride), "pad": pad, "dilation": (dilation, dilation)}
    g = v.floats(1, *reach(height, width, kernel, stride, dilation, pad), out_c, special=int(starts))
    dx0 = v.floats(1, height, width, in_c, special=1) if starts else None
    check(Case("conv2d.vjp_x", (g, w, dx0, *v.split(*w.shape, kept=kept)), {"in_hw": (height, width), **window}))
    dw0 = v.floats(*w.shape, special=1) if starts else None
    operands = (g, v.codes(1, height, width, in_c), dw0)
    check(Case("conv2d.vjp_w", operands, {"x_zero": -128 if starts else 3, "kernel": (kernel, kernel), **window}))


WINDOWS = [
    # height, width, channels, kept, kernel, stride, pad
    (4, 4, 32, 0, 3, 1, (1, 1, 1, 1)),
    (4, 4, 24, 7, 5, 1, (2, 2, 2, 2)),
    (8, 8, 16, 0, 7, 2, (3, 3, 3, 3)),
    (8, 8, 8, 8, 7, 1, (3, 3, 3, 3)),
    (7, 5, 37, 9, 3, 2, (1, 0, 0, 1)),
    (9, 6, 41, 0, 5, 2, (1, 2, 2, 1)),
    (6, 7, 9, 1, 2, 3, (0, 0, 0, 0)),
    (5, 5, 70, 3, 3, 1, (0, 0, 0, 0)),
    (3, 3, 11, 0, 1, 2, (0, 2, 1, 0)),
    (4, 3, 5, 2, 3, 1, (2, 3, 4, 1)),
    # four pixels at a time: those of a whole row, at its edges and between, of one and of several residues
    (12, 12, 6, 2, 3, 1, (1, 1, 1, 1)),
    (3, 12, 13, 0, 5, 1, (2, 2, 2, 2)),
    (4, 12, 8, 0, 7, 1, (3, 3, 3, 3)),
    (4, 4, 8, 1, 7, 1, (3, 3, 3, 3)),
    (8, 8, 10, 0, 3, 2, (1, 1, 1, 1)),
    (6, 24, 4, 1, 3, 2, (1, 1, 1, 1)),
    (8, 16, 5, 0, 5, 2, (2, 2, 2, 2)),
    (4, 24, 9, 2, 7, 2, (3, 3, 3, 3)),
    (1, 8, 8, 0, 3, 2, (2, 2, 1, 1)),
]


@mark.rules("DW-S4", "DW-S7", "DW-A2", "ABI-S5")
@mark.parametrize("sizes", WINDOWS, ids=str)
@mark.parametrize("starts", [False, True])
def test_gradient_of_a_depthwise_input(sizes, starts):
    height, width, channels, kept, kernel, stride, pad = sizes
    v = Values(channels)
    w = v.codes(kernel, kernel, channels, least=-127)
    dx0 = v.floats(1, height, width, channels, special=1) if starts else None
    geometry = {"stride": (stride, stride), "pad": pad, "dilation": (1, 1)}
    g = v.floats(1, *reach(height, width, kernel, stride, 1, pad), channels, special=int(starts))
    operands = (g, w, dx0, *v.split(*w.shape, kept=kept))
    check(Case("depthwise_conv2d.vjp_x", operands, {"in_hw": (height, width), **geometry}))


@mark.rules("DW-S5", "DW-S6", "ABI-S5")
@mark.parametrize("sizes", [*WINDOWS, (60, 30, 4, 0, 3, 1, (1, 1, 1, 1)), (40, 50, 6, 4, 5, 2, (2, 2, 2, 2))], ids=str)
@mark.parametrize("starts", [False, True])
def test_gradient_of_a_depthwise_weight(sizes, starts):
    """Whole weights, and slices of them; maps that scratch holds, and maps that it holds bands of."""
    height, width, channels, kept, kernel, stride, pad = sizes
    v = Values(channels)
    window = {"stride": (stride, stride), "pad": pad, "dilation": (1, 1)}
    g = v.floats(1, *reach(height, width, kernel, stride, 1, pad), channels, special=int(starts))
    count = kept or channels
    dw0 = v.floats(kernel, kernel, count, special=1) if starts else None
    chosen = v.split(channels, kept=kept)[1:]
    operands = (g, v.codes(1, height, width, count), dw0, *chosen)
    attributes = {"x_zero": -128 if starts else 3, "kernel": (kernel, kernel), **window}
    check(Case("depthwise_conv2d.vjp_w", operands, attributes))


@mark.rules("SCALE-S1", "SCALE-S2", "ADD-S4", "BIAS-S1", "ABI-S5")
@mark.parametrize("channels", [8, 16, 13, 7, 33])
def test_masks_scales_and_sums(channels):
    v = Values(channels)
    shape = (1, 5, 3, channels)
    bits = v.random.integers(0, 2, shape).astype(np.uint8)
    mask, gy, dx0 = np.packbits(bits, axis=-1, bitorder="little"), v.floats(*shape, special=9), v.floats(*shape)
    m = v.random.uniform(0.001, 0.1, channels).astype(np.float32)
    check(Case("mask_scale.forward", (gy, mask, m), {}))
    check(Case("add.vjp_x", (gy, mask, m[:1]), {}))
    check(Case("add.vjp_x", (gy, mask, m[:1], dx0), {}))
    check(Case("bias_gradient.forward", (gy, None), {}))
    check(Case("bias_gradient.forward", (v.floats(*shape), v.floats(channels)), {}))


@mark.rules("STEP-S1", "STEP-A1", "STEP-A2", "ABI-S5")
@mark.parametrize("channels", [8, 24, 13, 7])
@mark.parametrize("largest", [2**31 - 1, 300])
def test_step_of_a_bias(channels, largest):
    """Steps small and large, to the limit and beyond: the sum before the clamp leaves int32 where that is the limit."""
    v = Values(channels)
    shape = (1, 3, 5, channels)
    mask = np.packbits(v.random.integers(0, 2, shape).astype(np.uint8), axis=-1, bitorder="little")
    m, q = (v.random.uniform(0.001, most, channels).astype(np.float32) for most in (0.1, largest))
    limit = np.array([largest if v.random.random() < 0.5 else v.random.integers(0, largest)])
    b = np.where(v.random.random(channels) < 0.5, limit, v.random.integers(-limit - 1, limit + 1, channels))
    for special in (0, 3):
        gy = v.floats(*shape, special=special)
        step = (b.astype(np.int32), q, limit.astype(np.int32), np.float32([0.7]))
        check(Case("bias_step.update", (gy, mask, m, *step), {}))


@mark.rules("UPW-S1", "UPW-S2", "UPW-S5", "ABI-S5")
@mark.parametrize("channels", [1, 4, 7, 24, 33])
def test_update_of_a_weight(channels):
    """Gradients small and large, and steps that end between two codes, at an end of the range, and beyond."""
    v = Values(channels)
    w, halves = v.codes(5, 1, 1, channels, least=-127), v.random.integers(-600, 600, (5, 1, 1, channels)) / 2
    dw = np.where(v.random.random(halves.shape) < 0.5, halves, v.floats(*halves.shape, special=4)).astype(np.float32)
    q, lr = np.array([1, -1, 0.5, 2**-20, 3], np.float32), np.array([1], np.float32)
    check(Case("sgd_update_weight.update", (w, dw, q, lr), {}))


@mark.rules("STREAM-M3", "ABI-S5")
@mark.parametrize(("name", "dtype"), [("int8", np.int8), ("float", np.float32)])
def test_channels_apart(name, dtype):
    """Bytes as they were at any alignment, and nothing around them."""
    machine, random = provider().machine, np.random.default_rng(1)
    source, target = BUFFERS.start, BUFFERS.start + 0x4000
    for count, width, from_stride, to_stride, shift in (
        (5, 24, 40, 24, 1), (3, 32, 32, 96, 3), (7, 3, 9, 5, 2), (4, 1, 7, 1, 0), (1, 19, 19, 23, 1),
        (5, 24, 40, 24, 0), (3, 32, 32, 96, 0), (9, 4, 72, 4, 4), (3, 46, 48, 64, 8), (2, 14, 16, 20, 0),
    ):  # fmt: skip
        size = np.dtype(dtype).itemsize
        at = shift if size == 1 else 4 * shift
        tensor = random.integers(0, 256, count * from_stride * size).astype(np.uint8)
        before = random.integers(0, 256, count * to_stride * size + 64).astype(np.uint8)
        machine.write(source + at, tensor.tobytes())
        machine.write(target, before.tobytes())
        machine.call(f"gg_stream_copy_{name}", (count, width, from_stride, source + at, to_stride, target + 32))
        expected = before.copy()
        expected[32:-32].reshape(count, -1)[:, : width * size] = tensor.reshape(count, -1)[:, : width * size]
        assert bytes(machine.read(target, before.size)) == expected.tobytes()
