"""What every binding needs: pointers, structs, scratch, and the table from function names to C calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import repeat
from typing import Any, TypeVar

import numpy as np

from ..numerics import Array
from ..ops import FUNCTIONS, Type
from ..ops._window import Pad, Pair, Window
from ..rules import rule
from ._library import ffi, lib

Scratch = Callable[[int], Any]
"""Gives scratch memory of a size in bytes, as an object with the buffer protocol (ABI-M1)."""

KERNELS: dict[str, Callable[..., None]] = {}
"""C calls by function name: ``KERNELS["conv2d.forward"](inputs, outputs, scratch, **attributes)``."""

F = TypeVar("F", bound=Callable[..., None])


def binds(name: str) -> Callable[[F], F]:
    """Enter a C call for the function ``name`` of the operator table."""

    def enter(call: F) -> F:
        KERNELS[name] = call
        return call

    return enter


def run(name: str, *arrays: Array | None, **attributes: Any) -> tuple[Array, ...]:
    """Check the operands as the reference does, allocate the results, and call C; a tuple of results."""
    function = FUNCTIONS[name]
    types = function.types(*(None if a is None else Type.of(a) for a in arrays), **attributes)
    outputs = [np.empty(t.shape, t.dtype) for t in types]
    call(name, arrays, outputs, **attributes)
    return tuple(outputs)


def call(
    name: str,
    arrays: Sequence[Array | None],
    outputs: Sequence[Array | None],
    scratch: Scratch = bytearray,
    **attributes: Any,
) -> None:
    """Call C on memory that the caller brings; a result that nobody wants is None."""
    inputs = [None if a is None else np.ascontiguousarray(a) for a in arrays]
    inputs += [None] * (len(FUNCTIONS[name].inputs) - len(inputs))
    KERNELS[name](inputs, outputs, scratch, **attributes)


def namespace(module: str) -> Any:
    """An object with the operator's functions, backed by C and shaped like the reference's."""

    class Kernels:
        """The C kernels of one operator."""

        def __getattr__(self, function: str) -> Callable[..., Any]:
            name = f"{module}.{function}"
            if name not in KERNELS:
                raise AttributeError(f"no C kernel {name}")

            def c_kernel(*arrays: Array | None, **attributes: Any) -> Any:
                results = run(name, *arrays, **attributes)
                return results if len(results) > 1 else results[0]

            return c_kernel

    return Kernels()


def pointer(ctype: str, array: Array | None) -> Any:
    """A C pointer to the array's first element, or NULL."""
    return ffi.NULL if array is None else ffi.from_buffer(f"{ctype}[]", array)


def scratch_pointer(scratch: Scratch, size: int) -> Any:
    """A pointer to ``size`` bytes of scratch, or NULL if none are wanted."""
    return ffi.from_buffer(scratch(size)) if size else ffi.NULL


@rule("TRAIN-S5")
def samples(*arrays: Array | None) -> Iterator[tuple[Any, ...]]:
    """The arrays' samples side by side; None stays None."""
    return zip(*(repeat(None) if a is None else a for a in arrays), strict=False)


def pixels(array: Array) -> int:
    """How many pixels an array has: the product of all axes but the last, samples included."""
    return int(np.prod(array.shape[:-1], dtype=np.int64))


def window(
    in_hw: Pair, kernel: Pair, stride: Pair = (1, 1), pad: Pad = (0, 0, 0, 0), dilation: Pair = (1, 1)
) -> dict[str, int]:
    """Fields of gg_window_t."""
    out_h, out_w = Window(in_hw, kernel, stride, pad, dilation).out_hw
    return {
        "in_h": in_hw[0],
        "in_w": in_hw[1],
        "out_h": out_h,
        "out_w": out_w,
        "kernel_h": kernel[0],
        "kernel_w": kernel[1],
        "stride_h": stride[0],
        "stride_w": stride[1],
        "pad_top": pad[0],
        "pad_left": pad[2],
        "dilation_h": dilation[0],
        "dilation_w": dilation[1],
    }


Items = tuple[tuple[str, Any], ...]
CODES = {"x_zero": 0, "y_zero": 0, "lo": -128, "hi": 127}
"""Attributes that are codes, with what stands for one that a function does not have."""


def windowed(struct: str, in_hw: Pair, kernel: Pair, attributes: dict[str, Any], **sizes: int) -> Any:
    """Parameters of an operator with a window: geometry and codes from the attributes, and ``sizes``."""
    return _windowed(struct, tuple(in_hw), tuple(kernel), tuple(attributes.items()), tuple(sizes.items()))


@lru_cache(maxsize=1024)
def _windowed(struct: str, in_hw: Pair, kernel: Pair, items: Items, sizes: Items) -> Any:
    """Build them once: C only reads them, and a training step asks for the same again and again."""
    attributes = dict(items)
    geometry = {k: attributes[k] for k in ("stride", "pad", "dilation") if k in attributes}
    fields = {name for name, _ in ffi.typeof(struct).fields}
    codes = {k: attributes.get(k, default) for k, default in CODES.items() if k in fields}
    return ffi.new(f"{struct} *", {"window": window(in_hw, kernel, **geometry), **codes, **dict(sizes)})


__all__ = ["KERNELS", "Scratch", "binds", "call", "ffi", "lib", "namespace", "pixels", "pointer", "run", "samples"]
__all__ += ["scratch_pointer", "window", "windowed"]
