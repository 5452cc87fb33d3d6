"""What streamed blocks need in C besides kernels (kernels_c/include/goldgrad/stream.h)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldgrad.composites.rows import span
from goldgrad.kernels._library import ffi, lib
from goldgrad.kernels._parameters import window
from goldgrad.ops._window import Window

GUARD = 5
sizes = st.integers(1, 9)


@pytest.mark.rules("STREAM-M3")
@given(sizes, sizes, st.data())
@pytest.mark.parametrize(("ctype", "dtype"), [("int8", np.int8), ("float", np.float32)])
def test_channels_apart_and_back(ctype, dtype, count, channels, data):
    """Bits as they were, NaN too, and nothing around them is written."""
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    tensor = rng.integers(0, 256, (count, channels * np.dtype(dtype).itemsize)).astype(np.uint8).view(dtype)
    first = data.draw(st.integers(0, channels - 1))
    width = data.draw(st.integers(1, channels - first))
    taken = slice(first, first + width)
    apart = np.full(count * width + 2 * GUARD, 77, dtype)
    copy = getattr(lib, f"gg_stream_copy_{ctype}")
    copy(count, width, channels, pointer(ctype, tensor) + first, width, pointer(ctype, apart) + GUARD)
    assert apart[GUARD:-GUARD].tobytes() == tensor[:, taken].tobytes()
    assert (apart[:GUARD] == 77).all()
    assert (apart[-GUARD:] == 77).all()
    other = rng.integers(0, 256, tensor.nbytes).astype(np.uint8).view(dtype).reshape(tensor.shape)
    expected = other.copy()
    bits = f"u{expected.itemsize}"
    expected.view(bits)[:, taken] = tensor.view(bits)[:, taken]
    copy(count, width, width, pointer(ctype, apart) + GUARD, channels, pointer(ctype, other) + first)
    assert other.tobytes() == expected.tobytes()


def pointer(ctype, array):
    return ffi.from_buffer(f"{ctype if ctype == 'float' else ctype + '_t'}[]", array)


@pytest.mark.rules("STREAM-M3")
@given(sizes, sizes, st.data())
def test_a_channels_bits(count, stride, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    mask = rng.integers(0, 256, (count, stride)).astype(np.uint8)
    channel = data.draw(st.integers(0, 8 * stride - 1))
    bits = np.full(count + 1, 77, np.uint8)
    lib.gg_stream_take_bit(count, stride, channel, pointer("uint8", mask), pointer("uint8", bits))
    assert bits.tolist() == [*np.unpackbits(mask, axis=1, bitorder="little")[:, channel], 77]


@pytest.mark.rules("STREAM-S2")
@given(st.integers(3, 12), st.integers(1, 5), st.integers(1, 3), st.integers(1, 2), st.integers(0, 2), st.data())
def test_the_window_of_some_rows_is_the_one_that_schedules_know(height, kernel, stride, dilation, pad, data):
    reach = (kernel - 1) * dilation + 1
    pads = (pad, max(pad, reach - height), 1, 0)
    whole = Window((height, 6), (kernel, 2), (stride, 1), pads, (dilation, 1))
    if whole.unmet() is not None:
        return
    row = data.draw(st.integers(0, whole.out_hw[0] - 1))
    rows = data.draw(st.integers(1, whole.out_hw[0] - row))
    fields = window((height, 6), (kernel, 2), (stride, 1), pads, (dilation, 1))
    of_rows = ffi.new("gg_window_t *")
    first = lib.gg_stream_rows(ffi.new("gg_window_t *", fields), row, rows, of_rows)
    start, end, above, _ = span(whole, 0, row, row + rows)
    expected = {**fields, "in_h": end - start, "out_h": rows, "pad_top": above}
    assert (first, {name: getattr(of_rows, name) for name in fields}) == (start, expected)
