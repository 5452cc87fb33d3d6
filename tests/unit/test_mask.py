"""specs/ops/mask.md"""

import numpy as np
import pytest

import c_kernels
from goldgrad import ConstraintError, kernels, ops
from goldgrad.ops import Type, mask


@pytest.mark.rules("MASK-S1", "MASK-S2")
def test_channel_c_is_bit_c_mod_8_of_byte_c_div_8_and_the_rest_is_0():
    flags = np.zeros((2, 11), bool)
    flags[0, [0, 9]] = True
    flags[1, [7, 8, 10]] = True
    assert mask.pack(flags).tolist() == [[0b0000_0001, 0b0000_0010], [0b1000_0000, 0b0000_0101]]
    assert mask.pack(np.ones((1, 3), bool)).tolist() == [[0b0000_0111]]


@pytest.mark.rules("MASK-S1", "MASK-S2", "MASK-F1")
@pytest.mark.parametrize("channels", [1, 7, 8, 9, 16, 17, 61])
def test_c_packs_and_unpacks_as_the_reference(channels):
    rng = np.random.default_rng(channels)
    for shape in [(channels,), (1, channels), (2, 3, 1, channels)]:
        flags = rng.random(shape) < 0.5
        (packed,) = c_kernels.check("mask.pack", flags)
        (unpacked,) = c_kernels.check("mask.unpack", packed, channels=channels)
        assert np.array_equal(unpacked, flags)


@pytest.mark.rules("MASK-S3")
@pytest.mark.parametrize("namespace", [ops, kernels])
def test_padding_bits_mean_nothing_to_a_reader(namespace):
    clean, dirty = np.uint8([[0b101]]), np.uint8([[0b1111_1101]])
    for packed in clean, dirty:
        assert namespace.mask.unpack(packed, channels=3).tolist() == [[True, False, True]]


@pytest.mark.rules("MASK-A1")
def test_nothing_is_shared():
    assert c_kernels.pairs("mask.pack") == c_kernels.pairs("mask.unpack") == set()


@pytest.mark.rules("MASK-C1")
@pytest.mark.parametrize("flags", [Type((2, 3), "uint8"), Type((2, 0), "bool"), Type((), "bool")])
def test_flags_of_a_wrong_type_are_refused(flags):
    with pytest.raises(ConstraintError, match=r"MASK-C1.*flags is"):
        mask.types_pack(flags)


@pytest.mark.rules("MASK-C2")
@pytest.mark.parametrize(
    ("type_", "channels"),
    [(Type((2, 1), "int8"), 8), (Type((2, 1), "uint8"), 9), (Type((2, 2), "uint8"), 8), (Type((2, 0), "uint8"), 0)],
)
def test_a_mask_of_a_wrong_size_is_refused(type_, channels):
    with pytest.raises(ConstraintError, match=f"MASK-C2.*for {channels} channels"):
        mask.types_unpack(type_, channels=channels)
