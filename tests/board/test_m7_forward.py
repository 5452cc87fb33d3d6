"""The forward kernels for a Cortex-M7 on sizes at which their blocks are full, end, or begin anew."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from goldgrad.board.kernels import BoardKernels
from goldgrad.conformance.case import Case
from goldgrad.conformance.properties import verify

PROPERTY_NAMES = ("bits", "frame", "scratch")


@functools.cache
def provider():
    return BoardKernels("m7")


def codes(draw, *shape):
    return draw.integers(-128, 128, shape).astype(np.int8)


def weights(draw, *shape):
    return draw.integers(-127, 128, shape).astype(np.int8)


def convolved(draw, function, x, w, taps, trained=None, scale=1.0, **attributes):
    """A case with biases and factors that spread sums over the codes, now and then beyond."""
    outputs = w.shape[0] if function == "conv2d.forward" else w.shape[-1]
    b = draw.integers(-9000, 9000, outputs).astype(np.int32)
    m = (draw.uniform(0.3, 2, outputs) * scale * 50 / (np.sqrt(taps) * 8000)).astype(np.float32)
    split = () if trained is None else (weights(draw, *w.shape[:-1], len(trained)), np.array(trained, np.int32))
    return Case(function, (x, w, b, m, *split), attributes)


def check(case):
    for name in PROPERTY_NAMES:
        verify(name, case, provider())


@pytest.mark.rules("CONV-S1", "CONV-S2", "CONV-S3", "CONV-F1", "ABI-S5")
@pytest.mark.parametrize(
    ("height", "width", "in_c", "out_c"),
    [
        (1, 1, 8, 4),
        (1, 2, 16, 8),
        (5, 1, 24, 12),
        (1, 7, 12, 5),
        (3, 3, 40, 6),
        (2, 2, 7, 3),
        (1, 20, 600, 9),
        (9, 7, 1, 17),
    ],
)
@pytest.mark.parametrize("y_zero", [-128, 3])
def test_pointwise(height, width, in_c, out_c, y_zero):
    draw = np.random.default_rng([height, width, in_c, out_c])
    x, w = codes(draw, 1, height, width, in_c), weights(draw, out_c, 1, 1, in_c)
    check(convolved(draw, "conv2d.forward", x, w, in_c, x_zero=-7, y_zero=y_zero))


@pytest.mark.rules("CONV-S1", "CONV-S2", "CONV-S3", "ABI-S5")
@pytest.mark.parametrize("eights", [*range(1, 15), 20, 26])
def test_pointwise_of_any_depth(eights):
    """Blocks go other ways by how many channels they have."""
    draw = np.random.default_rng(eights)
    x, w = codes(draw, 1, 3, 4, 8 * eights), weights(draw, 12, 1, 1, 8 * eights)
    for y_zero in (-128, 3):
        case = convolved(draw, "conv2d.forward", x, w, 8 * eights, x_zero=-7, y_zero=y_zero)
        for name in (*PROPERTY_NAMES, "optional"):
            verify(name, case, provider())


@pytest.mark.rules("CONV-S7", "DW-S7", "ABI-S5")
@pytest.mark.parametrize("trained", [(0,), (1, 2, 5), (3, 8, 9, 15), tuple(range(16))])
def test_a_weight_of_which_channels_train(trained):
    draw = np.random.default_rng(len(trained))
    x = codes(draw, 1, 3, 3, 16)
    check(convolved(draw, "conv2d.forward", x, weights(draw, 9, 1, 1, 16), 16, trained, x_zero=5, y_zero=0))
    even = codes(draw, 1, 3, 4, 16)
    check(convolved(draw, "conv2d.forward", even, weights(draw, 12, 1, 1, 16), 16, trained, x_zero=5, y_zero=0))
    window = {"pad": (1, 1, 1, 1), "stride": (2, 2)}
    w = weights(draw, 4, 3, 3, 16)
    check(convolved(draw, "conv2d.forward", x, w, 144, trained, x_zero=5, y_zero=1, **window))
    w = weights(draw, 3, 3, 16)
    check(convolved(draw, "depthwise_conv2d.forward", x, w, 9, trained, x_zero=5, y_zero=1, pad=(1, 1, 1, 1)))


@pytest.mark.rules("CONV-S2", "DW-S2", "NUM-N6", "ABI-S5")
@pytest.mark.parametrize("range_", [{}, {"lo": -128, "hi": 20}, {"lo": 3, "hi": 3}])
def test_channels_whose_range_is_not_proven(range_):
    draw = np.random.default_rng(1)
    x, w = codes(draw, 1, 4, 5, 8), weights(draw, 12, 1, 1, 8)
    case = convolved(draw, "conv2d.forward", x, w, 8, x_zero=-128, y_zero=-128, **range_)
    case.operands["m"][5] = 1e9
    case.operands["b"][0] = 2**30
    check(case)
    case = convolved(draw, "depthwise_conv2d.forward", x, weights(draw, 3, 3, 8), 9, x_zero=4, y_zero=1, **range_)
    check(case)
    case.operands["m"][7] = 1e9
    check(case)
    x, w = codes(draw, 1, 4, 5, 7), weights(draw, 3, 3, 7)
    case = convolved(draw, "depthwise_conv2d.forward", x, w, 9, x_zero=4, y_zero=1, **range_)
    case.operands["m"][6] = 1e9
    check(case)


@pytest.mark.rules("CONV-S1", "WIN-S2", "ABI-S5")
@pytest.mark.parametrize(
    ("in_hw", "kernel", "in_c", "window"),
    [
        ((9, 9), (3, 3), 3, {"stride": (2, 2), "pad": (1, 1, 1, 1)}),
        ((8, 12), (3, 3), 3, {"stride": (2, 2), "pad": (1, 0, 1, 0)}),
        ((5, 7), (3, 3), 3, {"pad": (1, 1, 1, 1)}),
        ((6, 4), (3, 3), 3, {"pad": (2, 2, 2, 2)}),
        ((7, 13), (3, 3), 3, {"stride": (3, 3), "pad": (0, 0, 0, 0)}),
        ((3, 3), (3, 3), 3, {}),
        ((1, 1), (3, 3), 3, {"pad": (1, 1, 1, 1)}),
        ((3, 130), (3, 3), 3, {"stride": (2, 2), "pad": (0, 0, 1, 1)}),
        ((6, 6), (3, 3), 5, {"pad": (1, 1, 1, 1)}),
        ((9, 9), (3, 3), 3, {"dilation": (2, 2), "pad": (1, 1, 1, 1)}),
        ((6, 7), (2, 4), 8, {"stride": (1, 2), "pad": (0, 1, 2, 1)}),
    ],
)
def test_windows(in_hw, kernel, in_c, window):
    draw = np.random.default_rng([*in_hw, in_c])
    x, w = codes(draw, 1, *in_hw, in_c), weights(draw, 6, *kernel, in_c)
    check(convolved(draw, "conv2d.forward", x, w, in_c * kernel[0] * kernel[1], x_zero=-3, y_zero=-128, **window))


@pytest.mark.rules("DW-S1", "DW-S2", "DW-S3", "DW-F1", "ABI-S5")
@pytest.mark.parametrize("taps", [3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("height", "width", "channels"), [(4, 4, 8), (7, 5, 5), (3, 8, 4), (8, 16, 6), (6, 17, 12), (1, 1, 7), (2, 9, 3)]
)
def test_depthwise(taps, stride, height, width, channels):
    draw = np.random.default_rng([taps, stride, height, width])
    x, w = codes(draw, 1, height, width, channels), weights(draw, taps, taps, channels)
    pad = [(taps // 2,) * 4, (taps - 1, taps // 2, taps - 1, 1), (taps // 2, taps, 0, taps)][(width + channels) % 3]
    for y_zero in (-128, 7):
        attributes = {"x_zero": -5, "y_zero": y_zero, "stride": (stride, stride), "pad": pad}
        check(convolved(draw, "depthwise_conv2d.forward", x, w, taps * taps, **attributes))


@pytest.mark.rules("DW-S1", "WIN-S2", "ABI-S5")
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("height", "width", "taps"), [(21, 66, 5), (37, 33, 3), (175, 4, 3), (151, 3, 7), (159, 5, 5)])
def test_depthwise_in_stripes(stride, height, width, taps):
    draw = np.random.default_rng([stride, height])
    x, w = codes(draw, 1, height, width, 4), weights(draw, taps, taps, 4)
    attributes = {"x_zero": 9, "y_zero": 0, "stride": (stride, stride), "pad": (taps // 2,) * 4}
    check(convolved(draw, "depthwise_conv2d.forward", x, w, taps * taps, **attributes))


@pytest.mark.rules("ADD-S1", "ADD-S2", "ADD-S3", "ADD-F1", "ABI-S5")
@pytest.mark.parametrize("shape", [(1, 2, 2, 8), (1, 1, 3, 24), (1, 5, 1, 7), (1, 3, 3, 3), (1, 1, 1, 5)])
@pytest.mark.parametrize("y_zero", [-128, 9])
def test_sums(shape, y_zero):
    draw = np.random.default_rng(shape)
    x1, x2 = codes(draw, *shape), codes(draw, *shape)
    for m1, m2 in ((0.7, 0.9), (0.5, 0.5), (200.0, 0.01)):
        factors = (np.float32([m1]), np.float32([m2]))
        check(Case("add.forward", (x1, x2, *factors), {"x1_zero": -3, "x2_zero": 8, "y_zero": y_zero}))


@pytest.mark.rules("QIN-S1", "QIN-F1", "ABI-S5")
@pytest.mark.parametrize(("m", "x_zero", "y_zero"), [(1.0, 128, 0), (1.0, 0, -128), (0.5, 128, 0), (1.0, 128, 1)])
@pytest.mark.parametrize("count", [1, 4, 7])
def test_an_image(count, m, x_zero, y_zero):
    x = np.random.default_rng(count).integers(0, 256, (1, 1, count, 3)).astype(np.uint8)
    check(Case("quantize_input.from_uint8", (x, np.float32([m])), {"x_zero": x_zero, "y_zero": y_zero}))


@pytest.mark.rules("MAXP-S1", "MAXP-S2", "MAXP-S3", "MAXP-F1", "ABI-S5")
@pytest.mark.parametrize("channels", [3, 4, 7, 12, 16, 21])
@pytest.mark.parametrize(
    "window",
    [
        {"kernel": (2, 2), "stride": (2, 2)},
        {"kernel": (3, 3), "stride": (1, 2), "pad": (1, 1, 1, 1), "lo": -20, "hi": 90},
        {"kernel": (3, 2), "stride": (1, 1), "dilation": (2, 3), "pad": (2, 0, 0, 2), "lo": 5},
    ],
)
def test_largest_codes(channels, window):
    draw = np.random.default_rng(channels)
    x = codes(draw, 1, 7, 8, channels)
    x[:, :3] //= 64  # many that are equal
    check(Case("max_pool2d.forward", (x,), window))
