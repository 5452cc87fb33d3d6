"""specs/ops/save_channels.md"""

import numpy as np
import pytest

import c_kernels
import exact
from goldgrad import ConstraintError, kernels, ops
from goldgrad.ops import Type, save_channels

CASES = [((1, 1), [0]), ((3, 5), [4]), ((2, 3, 3, 8), [0, 1, 6]), ((1, 2, 7, 17), [*range(17)]), ((4, 9), [0, 8])]


@pytest.mark.rules("SAVE-S1")
def test_by_hand():
    x = np.int8([[-128, 1, 2, 127], [5, 6, 7, 8]])
    assert save_channels.forward(x, np.int32([0, 2])).tolist() == [[-128, 2], [5, 7]]


@pytest.mark.rules("SAVE-S1", "SAVE-F1", "SAVE-A1")
@pytest.mark.parametrize(("shape", "channels"), CASES)
def test_c_agrees_with_the_reference_in_place_too(shape, channels):
    operands = exact.codes(np.random.default_rng(0), *shape), np.int32(channels)
    (y,) = c_kernels.check("save_channels.forward", *operands)
    for *pixel, k in np.ndindex(y.shape):
        assert y[*pixel, k] == operands[0][*pixel, channels[k]]
    assert c_kernels.pairs("save_channels.forward") == {("y", "x", "SAVE-A1")}
    c_kernels.check_in_place("save_channels.forward", "y", "x", *operands)


@pytest.mark.rules("SAVE-C1")
@pytest.mark.parametrize("x", [Type((2, 4), "uint8"), Type((4,), "int8"), Type((0, 4), "int8")])
def test_an_activation_of_a_wrong_type_is_refused(x):
    with pytest.raises(ConstraintError, match="SAVE-C1: x is"):
        save_channels.types(x, Type((2,), "int32"))


@pytest.mark.rules("SAVE-C2")
@pytest.mark.parametrize("channels", [Type((2,), "int64"), Type((0,), "int32"), Type((5,), "int32"), Type((), "int32")])
def test_a_channel_list_of_a_wrong_type_is_refused(channels):
    with pytest.raises(ConstraintError, match=r"SAVE-C2: channels is .*x has 4 channels"):
        save_channels.types(Type((2, 4), "int8"), channels)


@pytest.mark.rules("SAVE-C3")
@pytest.mark.parametrize("channels", [[1, 0], [1, 1], [-1, 2], [0, 4]])
@pytest.mark.parametrize("namespace", [ops, kernels])
def test_a_list_that_does_not_ascend_within_range_is_refused(namespace, channels):
    with pytest.raises(ConstraintError, match=r"SAVE-C3: channels is \[.*from 0 to 3"):
        namespace.save_channels.forward(np.zeros((2, 4), np.int8), np.int32(channels))
