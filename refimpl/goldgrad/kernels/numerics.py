"""The rules of numerics in C (kernels_c/include/goldgrad/numerics.h), called like ``goldgrad.numerics``."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..numerics import F32, I8, I32, INT32_MAX, INT32_MIN, Array
from ._binding import lib, pointer

_C_TYPE = {np.float32: "float", np.int32: "int32_t", np.int64: "int64_t"}


def float32(x: npt.ArrayLike) -> F32:
    """Nearest float32 of int32."""
    return _elementwise(lib.gg_float32_n, _operands(np.int32, x), np.float32)


def mul32(a: npt.ArrayLike, b: npt.ArrayLike) -> F32:
    """a * b."""
    return _elementwise(lib.gg_mul32_n, _operands(np.float32, a, b), np.float32)


def add32(a: npt.ArrayLike, b: npt.ArrayLike) -> F32:
    """a + b."""
    return _elementwise(lib.gg_add32_n, _operands(np.float32, a, b), np.float32)


def sub32(a: npt.ArrayLike, b: npt.ArrayLike) -> F32:
    """a - b."""
    return _elementwise(lib.gg_sub32_n, _operands(np.float32, a, b), np.float32)


def div32(a: npt.ArrayLike, b: npt.ArrayLike) -> F32:
    """a / b."""
    return _elementwise(lib.gg_div32_n, _operands(np.float32, a, b), np.float32)


def fma32(a: npt.ArrayLike, b: npt.ArrayLike, c: npt.ArrayLike) -> F32:
    """a * b + c with one rounding."""
    return _elementwise(lib.gg_fma32_n, _operands(np.float32, a, b, c), np.float32)


def chain(a: npt.ArrayLike, b: npt.ArrayLike, start: float = 0.0) -> np.float32:
    """The ordered reduction of two vectors."""
    left, right = _operands(np.float32, a, b)
    return np.float32(lib.gg_chain(left.size, pointer("float", left), pointer("float", right), start))


def rne(x: npt.ArrayLike) -> I32:
    """Nearest integer, saturated to int32."""
    return _elementwise(lib.gg_rne_n, _operands(np.float32, x), np.int32)


def requantize(acc: npt.ArrayLike, m: npt.ArrayLike, zero: int, lo: int, hi: int) -> tuple[I8, Array]:
    """int32 accumulators to int8 codes, and where the clamp let them through."""
    codes, multipliers = np.broadcast_arrays(np.asarray(acc, np.int32), np.asarray(m, np.float32))
    codes, multipliers = np.asarray(codes, order="C"), np.asarray(multipliers, order="C")
    y, inside = np.empty(codes.shape, np.int8), np.empty(codes.shape, np.uint8)
    lib.gg_requantize_n(
        codes.size,
        pointer("int32_t", codes),
        pointer("float", multipliers),
        zero,
        lo,
        hi,
        pointer("int8_t", y),
        pointer("uint8_t", inside),
    )
    return y, inside.astype(bool)


def saturate(x: npt.ArrayLike, lo: int = INT32_MIN, hi: int = INT32_MAX) -> I32:
    """An int64, clamped to [lo, hi]."""
    (wide,) = _operands(np.int64, x)
    out = np.empty(wide.shape, np.int32)
    lib.gg_saturate_n(wide.size, pointer("int64_t", wide), lo, hi, pointer("int32_t", out))
    return out


def exp32(x: npt.ArrayLike) -> F32:
    """e^x."""
    return _elementwise(lib.gg_exp32_n, _operands(np.float32, x), np.float32)


def log32(x: npt.ArrayLike) -> F32:
    """Natural logarithm."""
    return _elementwise(lib.gg_log32_n, _operands(np.float32, x), np.float32)


def _operands(dtype: type, *arrays: npt.ArrayLike) -> list[Array]:
    """The arrays, of one type and one shape, dense."""
    return [np.asarray(a, order="C") for a in np.broadcast_arrays(*(np.asarray(a, dtype) for a in arrays))]


def _elementwise(call: Any, operands: list[Array], dtype: type) -> Array:
    out: Array = np.empty(operands[0].shape, dtype)
    types = [_C_TYPE[a.dtype.type] for a in (*operands, out)]
    call(out.size, *(pointer(t, a) for t, a in zip(types, (*operands, out), strict=True)))
    return out
