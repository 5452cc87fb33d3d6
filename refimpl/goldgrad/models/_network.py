"""The vocabulary in which networks are written: layers that append to a graph and carry quantization along."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from ..graph import Builder, Graph
from ..ops import Type
from ..ops._window import Pair

Scales = dict[str, tuple[float, int]]
"""Scale and zero point of each activation by name."""


@dataclass
class Network:
    """Builds a forward graph layer by layer; each method returns the name of its result.

    ``quantization`` gives scale and zero point of every activation by name, or a default while a network is being
    calibrated.  Weight arrays are not needed to build the graph, only their shapes.
    """

    name: str
    quantization: Scales
    default: tuple[float, int] = (0.05, 0)

    def __post_init__(self) -> None:
        self.builder = Builder(name=self.name)

    def _q(self, name: str) -> tuple[float, int]:
        return self.quantization.get(name, self.default)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor."""
        return self.builder.tensors[name].type.shape

    def _zero(self, name: str) -> int:
        zero = self.builder.tensors[name].zero_point
        assert zero is not None
        return zero

    def image(self, shape: tuple[int, ...], scale: float, zero_point: int) -> str:
        """A sample: uint8 [N, H, W, C], real value scale * (x - zero_point), quantized to int8."""
        image = self.builder.outside("image", Type(shape, "uint8"), "input", scale, zero_point)
        m = self.builder.outside("image.m", Type((1,), "float32"), "constant")
        scale_y, zero_y = self._q("x")
        self.builder.emit(
            "quantize_input.from_uint8",
            (image, m),
            ("x",),
            ("activation",),
            (scale_y, zero_y),
            x_zero=zero_point,
            y_zero=zero_y,
        )
        return "x"

    def _layer(self, function: str, name: str, x: str, w: Type, outputs: int, relu: bool, **attributes: Any) -> str:
        b = self.builder
        scale, zero = self._q(f"{name}.y")
        operands = (
            x,
            b.outside(f"{name}.w", w, "weight"),
            b.outside(f"{name}.b", Type((outputs,), "int32"), "bias"),
            b.outside(f"{name}.m", Type((outputs,), "float32"), "constant"),
        )
        b.emit(
            function,
            operands,
            (f"{name}.y", f"{name}.mask"),
            ("activation", "mask"),
            (scale, zero),
            x_zero=self._zero(x),
            y_zero=zero,
            lo=zero if relu else -128,
            hi=127,
            **attributes,
        )
        return f"{name}.y"

    def conv(self, name: str, x: str, outputs: int, kernel: int = 1, stride: int = 1, relu: bool = True) -> str:
        """A convolution with "same" padding of kernel // 2 on every side."""
        pad = kernel // 2
        w = Type((outputs, kernel, kernel, self.shape(x)[3]), "int8")
        return self._layer("conv2d.forward", name, x, w, outputs, relu, stride=(stride, stride), pad=(pad,) * 4)

    def depthwise(self, name: str, x: str, kernel: int, stride: int = 1, relu: bool = True) -> str:
        """A depthwise convolution with padding of kernel // 2 on every side."""
        pad, channels = kernel // 2, self.shape(x)[3]
        w = Type((kernel, kernel, channels), "int8")
        return self._layer(
            "depthwise_conv2d.forward", name, x, w, channels, relu, stride=(stride, stride), pad=(pad,) * 4
        )

    def add(self, name: str, x1: str, x2: str) -> str:
        """A residual addition."""
        b = self.builder
        scale, zero = self._q(f"{name}.y")
        m = [b.outside(f"{name}.m{i}", Type((1,), "float32"), "constant") for i in (1, 2)]
        b.emit(
            "add.forward",
            (x1, x2, *m),
            (f"{name}.y", f"{name}.mask"),
            ("activation", "mask"),
            (scale, zero),
            x1_zero=self._zero(x1),
            x2_zero=self._zero(x2),
            y_zero=zero,
        )
        return f"{name}.y"

    def inverted_bottleneck(self, name: str, x: str, expanded: int, outputs: int, kernel: int, stride: int = 1) -> str:
        """Expand, depthwise, project; the input is added where shapes agree."""
        y = self.conv(f"{name}.expand", x, expanded)
        y = self.depthwise(f"{name}.depthwise", y, kernel, stride)
        y = self.conv(f"{name}.project", y, outputs, relu=False)
        return self.add(f"{name}.add", x, y) if self.shape(x) == self.shape(y) else y

    def average(self, name: str, x: str, kernel: Pair, stride: Pair) -> str:
        """An average pool without padding."""
        b = self.builder
        m = b.outside(f"{name}.m", Type((1,), "float32"), "constant")
        scale, zero = self._q(f"{name}.y")
        b.emit(
            "avg_pool2d.forward",
            (x, m),
            (f"{name}.y", f"{name}.mask"),
            ("activation", "mask"),
            (scale, zero),
            x_zero=self._zero(x),
            y_zero=zero,
            kernel=kernel,
            stride=stride,
        )
        return f"{name}.y"

    def global_average(self, x: str) -> str:
        """The mean of each channel over the map, [N, 1, 1, C]."""
        height, width = self.shape(x)[1:3]
        return self.average("pool", x, (height, width), (height, width))

    def maximum(self, name: str, x: str, kernel: Pair, stride: Pair) -> str:
        """A maximum pool without padding; its result has the scale and zero point of x."""
        tensor = self.builder.tensors[x]
        assert tensor.scale is not None and tensor.zero_point is not None
        self.builder.emit(
            "max_pool2d.forward",
            (x,),
            (f"{name}.y", f"{name}.mask", f"{name}.index"),
            ("activation", "mask", "saved"),
            (tensor.scale, tensor.zero_point),
            kernel=kernel,
            stride=stride,
        )
        return f"{name}.y"

    def classifier(self, x: str, classes: int) -> str:
        """A fully connected layer without activation."""
        w = Type((classes, prod(self.shape(x)[1:])), "int8")
        return self._layer("fully_connected.forward", "classifier", x, w, classes, relu=False)

    def loss(self, logits: str) -> Graph:
        """Softmax cross-entropy with a class index, and the finished graph with outputs ``logits`` and ``loss``."""
        b = self.builder
        batch = self.shape(logits)[0]
        target = b.outside("target", Type((batch,), "int32"), "input")
        s = b.outside("loss.s", Type((1,), "float32"), "constant")
        b.emit("softmax_cross_entropy.forward", (logits, target, s), ("loss", f"{logits}.grad"), ("loss", "gradient"))
        return b.build((logits, "loss"))
