"""What the authors of the Tiny Training Engine publish, to be printed beside goldgrad's own numbers.

Sources: "On-Device Training Under 256KB Memory" (NeurIPS 2022) and "Tiny Machine Learning: Progress and Futures" (IEEE
Circuits and Systems Magazine, Q3 2023), figures 20 and 21 of the latter; and the released repository
mit-han-lab/tinyengine.  All of it is of an STM32F746 at 216 MHz, batch 1, images of 128 x 128 x 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SOURCE = (
    "On-Device Training Under 256KB Memory (NeurIPS 2022); "
    "Tiny Machine Learning: Progress and Futures (IEEE Circuits and Systems Magazine, Q3 2023)"
)


@dataclass(frozen=True)
class Published:
    """Peak memory in KB, and milliseconds of a training step."""

    full_kb: int
    sparse_kb: int
    reordered_kb: int
    projected_full_ms: int
    """TensorFlow Lite Micro, full update, as its authors project it."""
    tflm_sparse_ms: int
    """TensorFlow Lite Micro, sparse update."""
    sparse_ms: int
    """The Tiny Training Engine, sparse update."""


PUBLISHED = {
    "mobilenet-v2-w0.35": Published(2939, 335, 141, 8501, 3448, 373),
    "proxyless-nas-w0.3": Published(2745, 326, 135, 10523, 4111, 443),
    "mcunet-5fps": Published(3650, 560, 173, 13398, 5607, 546),
}
"""By model; which of the published update schemes the sparse numbers belong to is not said."""


@dataclass(frozen=True)
class Reordering:
    """MCUNet-5FPS at one average accuracy: peak memory in KB before and after reordering."""

    accuracy: float
    sparse_kb: int
    reordered_kb: int


REORDERING = (Reordering(72.0, 488, 134), Reordering(73.4, 509, 160), Reordering(75.1, 560, 173))
RELEASED_ARENA = 189_800
"""Bytes that the program generated for MCUNet-5FPS, 49kb, declares as its arena (tinyengine, released)."""
RELEASED_DATA = 34_872
"""Bytes of its initialized data, in which trained weights and biases lie; goldgrad's arena includes these."""
DIFFERENCES = (
    "published: peak memory in KB as printed there; goldgrad: all bytes of one arena in KB of 1,024, image, trained "
    "weights and biases, saved slices, masks, gradients and scratch included, code and stack not",
    "the published runs used 2 x 2 patch-based inference, the released training path and goldgrad have none",
    "it is not said which of a model's schemes a published sparse number is of; goldgrad's are given for each",
    "the released program saves whole activations where a slice of a weight trains, goldgrad saves the slice",
)
"""Where the numbers do not count the same."""

KINDS = ("pointwise", "depthwise 3x3", "depthwise 5x5", "depthwise 7x7", "convolution 3x3", "add")
"""Kinds of layer of MCUNet-5FPS."""
FORWARD_COUNTS: Mapping[str, tuple[float, ...]] = {
    "TF Lite Micro, reference kernels, -O3": (204.0, 73.8, 12.6, 27.9, 45.0, 3.7),
    "CMSIS-NN, -O3": (44.41, 16.95, 4.61, 10.27, 8.60, 2.81),
    "TinyEngine, -Ofast": (37.47, 13.37, 2.91, 5.12, 3.50, 2.64),
}
"""Million instructions of MCUNet-5FPS's convolutions and additions by kind, as counted on an emulated Cortex-M7 from
builds of these libraries by arm-none-eabi-gcc 12.2."""
