"""Time the reference and the C kernels on layers of a small network, then whole steps: ``make bench``.

Prints milliseconds, the least of several runs; forward is the layer, backward its three gradients.  What planning and
interpreting whole training steps takes is in bench_plans, what timing one on the board takes in bench_cycles, what
measuring kernels takes in bench_trying.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

import bench_cycles
import bench_plans
import bench_trying
from goldgrad import kernels, ops

RUNS = 5
LAYERS = {
    "pointwise 240 -> 48, 8 x 8": ("conv2d", (8, 8, 240), (48, 1, 1, 240), {}),
    "convolution 3 x 3, 3 -> 16, 32 x 32": ("conv2d", (32, 32, 3), (16, 3, 3, 3), {"pad": (1, 1, 1, 1)}),
    "depthwise 7 x 7, 96, 8 x 8": ("depthwise_conv2d", (8, 8, 96), (7, 7, 96), {"pad": (3, 3, 3, 3)}),
}


def least_ms(call: Callable[..., object], *arguments: Any) -> float:
    """Run it some times; the shortest is what the machine can do when nothing disturbs it."""
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        call(*arguments)
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def layer(operator: str, in_shape: tuple[int, ...], w_shape: tuple[int, ...], geometry: dict[str, Any]) -> Any:
    """Random operands of one layer."""
    rng = np.random.default_rng(0)
    depthwise = operator == "depthwise_conv2d"
    channels = w_shape[-1] if depthwise else w_shape[0]
    x = rng.integers(-128, 128, (1, *in_shape)).astype(np.int8)
    w = rng.integers(-127, 128, w_shape).astype(np.int8)
    b = rng.integers(-1000, 1000, channels).astype(np.int32)
    m = np.full(channels, 1e-3, np.float32)
    y, _ = getattr(ops, operator).forward(x, w, b, m, x_zero=-3, y_zero=5, **geometry)
    g = rng.normal(size=y.shape).astype(np.float32)
    kernel = w_shape[:2] if depthwise else w_shape[1:3]
    return SimpleNamespace(x=x, w=w, b=b, m=m, g=g, kernel=kernel, in_hw=in_shape[:2], geometry=geometry)


def forward(module: Any, t: Any) -> None:
    """Call the operator of the reference or of C."""
    module.forward(t.x, t.w, t.b, t.m, x_zero=-3, y_zero=5, **t.geometry)


def backward(module: Any, bias_gradient: Any, t: Any) -> None:
    """Call its three gradients."""
    module.vjp_x(t.g, t.w, in_hw=t.in_hw, **t.geometry)
    module.vjp_w(t.g, t.x, x_zero=-3, kernel=t.kernel, **t.geometry)
    bias_gradient.forward(t.g)


def main() -> None:
    """Print a line a layer."""
    print(f"{'':36} {'forward':>17} {'backward':>17}")
    print(f"{'milliseconds':36} {'NumPy':>8} {'C':>8} {'NumPy':>8} {'C':>8}")
    for name, (operator, *description) in LAYERS.items():
        tensors = layer(operator, *description)
        sides = [(getattr(side, operator), side.bias_gradient) for side in (ops, kernels)]
        row = [least_ms(forward, side[0], tensors) for side in sides]
        row += [least_ms(backward, *side, tensors) for side in sides]
        print(f"{name:36}", " ".join(f"{value:8.2f}" for value in row))
    print()
    bench_plans.main()
    print()
    bench_cycles.main()
    print()
    bench_trying.main()


if __name__ == "__main__":
    main()
