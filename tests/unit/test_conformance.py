"""The suite under test: planted bugs are found, told well and made small."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

import goldgrad as gg
from goldgrad.conformance import PROPERTIES, Case, CKernels, Mismatch, PythonKernels, verify
from goldgrad.conformance.compare import difference, ulps
from goldgrad.conformance.linear import windows
from goldgrad.conformance.search import search
from goldgrad.conformance.strategies import CASES
from goldgrad.numerics import add32, float32, fma32, mul32
from goldgrad.ops import FUNCTIONS
from goldgrad.ops._split_weight import merge

CONV = {"forward": "conv2d.forward", "x": "conv2d.vjp_x", "w": "conv2d.vjp_w"}


def find(property_name: str, function: str, provider: object) -> Mismatch:
    """What the suite finds; checks what every finding must have."""
    found = search(property_name, function, provider, examples=200, same=True)
    assert found is not None, f"{property_name} lets the planted bug through"
    text = str(found)
    assert text.startswith(f"{function} breaks '{property_name}'")
    assert f"repeat: python -m goldgrad.conformance '{property_name} {function} " in text
    again = Case.parse(found.case.text())
    with pytest.raises(Mismatch) as repeated:
        verify(property_name, again, provider)
    assert str(repeated.value) == text
    return found


def busy(case: Case) -> int:
    """Elements that are not zero, over all operands but scales."""
    return sum(int(np.count_nonzero(a)) for name, a in case.operands.items() if a is not None and name != "m")


def size(case: Case) -> int:
    return sum(a.size for a in case.arrays if a is not None)


def planted(function: str, bug: Callable[..., object]) -> PythonKernels:
    return PythonKernels("planted", {function: bug})


# Wrong values


def no_zero_point(g, x, dw0=None, *, x_zero, **attributes):
    return gg.ops.conv2d.vjp_w(g, x, dw0, x_zero=0, **attributes)


def truncated(x, w, b, m, trained=None, channels=None, *, x_zero, y_zero, lo, hi, **geometry):
    w = merge(w, trained, channels)
    _, mask = gg.ops.conv2d.forward(x, w, b, m, x_zero=x_zero, y_zero=y_zero, lo=lo, hi=hi, **geometry)
    seen = windows(x.astype(np.float64), w.shape[1:3], fill=x_zero, **geometry) - x_zero
    acc = np.tensordot(seen, w, axes=((3, 4, 5), (3, 1, 2))) + b
    code = np.trunc(np.clip(mul32(float32(acc), m), -(2.0**31), 2.0**31))
    return np.clip(code + y_zero, lo, hi).astype(np.int8), mask


def mask_after_clamp(*arrays, **attributes):
    y, _ = gg.ops.conv2d.forward(*arrays, **attributes)
    return y, gg.ops.mask.pack(np.ones(y.shape, bool))


def two_roundings(g, w, dx0=None, trained=None, channels=None, *, in_hw, **geometry):
    w = merge(w, trained, channels)
    window = gg.ops._window.Window(in_hw, w.shape[1:3], **geometry)
    dx = np.zeros((g.shape[0], *in_hw, w.shape[3]), np.float32) if dx0 is None else dx0.copy()
    for o in range(w.shape[0]):
        for (kh, kw), (oh, ow), (ih, iw) in window.taps():
            dx[:, ih, iw] = add32(mul32(g[:, oh, ow, o, None], float32(w[o, kh, kw])), dx[:, ih, iw])
    return dx


def taps_before_channels(g, w, dx0=None, trained=None, channels=None, *, in_hw, **geometry):
    w = merge(w, trained, channels)
    window = gg.ops._window.Window(in_hw, w.shape[1:3], **geometry)
    dx = np.zeros((g.shape[0], *in_hw, w.shape[3]), np.float32) if dx0 is None else dx0.copy()
    for (kh, kw), (oh, ow), (ih, iw) in window.taps():
        for o in range(w.shape[0]):
            dx[:, ih, iw] = fma32(g[:, oh, ow, o, None], float32(w[o, kh, kw]), dx[:, ih, iw])
    return dx


def kernel_flipped(g, w, dx0=None, trained=None, channels=None, **attributes):
    return gg.ops.conv2d.vjp_x(g, merge(w, trained, channels)[:, ::-1], dx0, **attributes)


def sign_of_zero_lost(*arrays, **attributes):
    return gg.ops.conv2d.vjp_x(*arrays, **attributes) + np.float32(0)


def part_at_the_front(g, w, dx0=None, trained=None, channels=None, **attributes):
    first = None if channels is None else np.arange(channels.size, dtype=np.int32)
    return gg.ops.conv2d.vjp_x(g, w, dx0, trained, first, **attributes)


def part_forgotten(x, w, b, m, trained=None, channels=None, **attributes):
    return gg.ops.conv2d.forward(x, w, b, m, **attributes)


def wrong_sample(g, x, dw0=None, **attributes):
    return gg.ops.conv2d.vjp_w(g, x[::-1], dw0, **attributes)


@pytest.mark.parametrize(
    ("function", "bug", "rule", "elements"),
    [
        (CONV["w"], no_zero_point, "CONV-S5", 2),
        (CONV["w"], wrong_sample, "CONV-S5", 3),
        (CONV["forward"], truncated, "CONV-S2", 4),
        (CONV["forward"], mask_after_clamp, "CONV-S3", 2),
        (CONV["x"], two_roundings, "CONV-S4", 5),
        (CONV["x"], taps_before_channels, "CONV-S4", 8),
        (CONV["x"], kernel_flipped, "CONV-S4", 2),
        (CONV["x"], sign_of_zero_lost, "CONV-S4", 1),
        (CONV["x"], part_at_the_front, "CONV-S7", 4),
        (CONV["forward"], part_forgotten, "CONV-S7", 4),
    ],
)
def test_wrong_values_are_found_and_made_small(function, bug, rule, elements):
    found = find("bits", function, planted(function, bug))
    assert rule in str(found)
    assert "0x" in str(found)
    assert busy(found.case) <= elements
    assert size(found.case) <= 30


@pytest.mark.parametrize("bug", [kernel_flipped, lambda g, *more, **a: gg.ops.conv2d.vjp_x(g * 3, *more, **a)])
def test_what_is_not_the_adjoint_is_found(bug):
    found = find("adjoint", CONV["x"], planted(CONV["x"], bug))
    assert "CONV-S4" in str(found)
    assert busy(found.case) <= 2
    assert np.count_nonzero(found.case.extra["v"]) == 1


def half_precision(*arrays, **attributes):
    exact = gg.ops.conv2d.vjp_x(*arrays, **attributes)
    return exact.astype(np.float16).astype(np.float32) if np.abs(exact).max() < 60000 else exact


def test_what_rounds_too_much_is_found():
    found = find("adjoint_bound", CONV["x"], planted(CONV["x"], half_precision))
    assert "roundings" in str(found)


def test_what_rounds_in_another_order_is_within_the_bound():
    for bug in (two_roundings, taps_before_channels):
        assert search("adjoint_bound", CONV["x"], planted(CONV["x"], bug), same=True) is None


# Wrong memory


class Planted(CKernels):
    """The C kernels with something done before or after."""

    name = "planted"

    def __init__(self, before=None, after=None, scratch_bytes=0):
        super().__init__()
        self.before, self.after, self.scratch_bytes = before, after, scratch_bytes

    def run(self, function, inputs, outputs, scratch, attributes):
        memory = scratch(self.scratch_bytes) if self.scratch_bytes else None
        if self.before:
            self.before(inputs, outputs, memory)
        super().run(function, inputs, outputs, scratch, attributes)
        if self.after:
            self.after(inputs, outputs, memory)


def around(array, offset):
    """The element ``offset`` elements from the array's first, wherever that is."""
    return np.lib.stride_tricks.as_strided(array.reshape(-1)[0:1], (abs(offset) + 1,), (offset * array.itemsize,))[1:2]


def write_past(inputs, outputs, memory):
    around(outputs[0], outputs[0].size)[...] = 7


def write_before(inputs, outputs, memory):
    around(outputs[0], -1)[...] = 7


def write_operand(inputs, outputs, memory):
    inputs[1].flat[-1] = 99


def leave_out(inputs, outputs, memory):
    outputs[0].view(np.uint8).flat[-1] = outputs[0].base[0]


def read_past(inputs, outputs, memory):
    outputs[0].view(np.uint8).flat[0] ^= around(inputs[0].view(np.uint8), inputs[0].nbytes)[0]


@pytest.mark.parametrize(
    ("function", "bug", "says"),
    [
        (CONV["forward"], write_past, "memory outside result"),
        (CONV["w"], write_past, "memory outside result"),
        (CONV["x"], write_before, "memory outside result"),
        (CONV["forward"], write_operand, "an operand changed"),
        (CONV["forward"], leave_out, "depend on what lies in and around"),
        (CONV["x"], leave_out, "depend on what lies in and around"),
        (CONV["w"], read_past, "depend on what lies in and around"),
    ],
)
def test_wrong_memory_is_found(function, bug, says):
    found = find("frame", function, Planted(after=bug))
    assert says in str(found)
    assert size(found.case) <= 8


def overrun_scratch(inputs, outputs, memory):
    around(memory, memory.size)[...] = 1


def read_scratch(inputs, outputs, memory):
    outputs[0].view(np.uint8).flat[0] ^= memory[3]


@pytest.mark.parametrize(
    ("bug", "says"), [(overrun_scratch, "outside its 24 bytes of scratch"), (read_scratch, "what scratch holds before")]
)
def test_wrong_use_of_scratch_is_found(bug, says):
    assert says in str(find("scratch", CONV["forward"], Planted(after=bug, scratch_bytes=24)))


def test_state_is_found():
    calls = []

    def remember(inputs, outputs, memory):
        calls.append(1)
        outputs[0].view(np.uint8).flat[0] ^= len(calls) % 3 == 0

    found = search("determinism", CONV["x"], Planted(after=remember), same=True)
    assert "a second run gives other bits" in str(found)


def test_dependence_on_the_address_is_found():
    def align(inputs, outputs, memory):
        outputs[0].view(np.uint8).flat[0] ^= outputs[0].ctypes.data // 8 % 2

    assert "other bits" in str(find("determinism", CONV["x"], Planted(after=align)))


def test_a_result_that_needs_another_is_found():
    def lean_on_mask(inputs, outputs, memory):
        if outputs[1] is None:
            outputs[0].flat[0] ^= 1

    assert "without mask the other results change" in str(
        find("optional", CONV["forward"], Planted(after=lean_on_mask))
    )


def test_a_chain_that_starts_elsewhere_is_found():
    def start(g, w, dx0=None, *parts, in_hw, **geometry):
        dx0 = np.full((g.shape[0], *in_hw, w.shape[3]), -0.0, np.float32) if dx0 is None else dx0
        return gg.ops.conv2d.vjp_x(g, w, dx0, *parts, in_hw=in_hw, **geometry)

    assert "without dx0 the chain does not start at +0" in str(find("optional", CONV["x"], planted(CONV["x"], start)))


def test_a_result_written_before_its_operand_is_read_is_found():
    def clear(inputs, outputs, memory):
        outputs[0][...] = 0

    found = find("alias", CONV["x"], Planted(before=clear))
    assert "dx in the place of dx0 gives other bits" in str(found)
    assert "CONV-A2" in str(found)
    assert size(found.case) <= 4


def test_an_exception_of_the_provider_is_a_finding():
    def fails(*arrays, **attributes):
        raise RuntimeError("no such kernel here")

    assert "raised RuntimeError: no such kernel here" in str(find("bits", CONV["x"], planted(CONV["x"], fails)))


# Text


@pytest.mark.parametrize("function", sorted(CASES))
def test_every_case_can_be_pasted(function):
    from hypothesis import given, settings

    from goldgrad.conformance.strategies import cases

    @settings(max_examples=20)
    @given(cases(CASES[function]))
    def pasted(case):
        again = Case.parse(case.text())
        assert (again.function, again.attributes) == (case.function, case.attributes)
        for before, after in zip(case.operands.values(), again.operands.values(), strict=True):
            assert (before is None) == (after is None)
            if before is not None:
                assert difference("array", before, after, "before", "after") is None
                assert before.tobytes() == after.tobytes()
        assert not set("'\n") & set(case.text())

    pasted()


def test_the_text_of_a_case_is_plain():
    g = np.array([[[[1, -0.0, 0.1, np.nan]]]], np.float32)
    w = np.zeros((4, 1, 1, 2), np.int8)
    case = Case("conv2d.vjp_x", (g, w), {"in_hw": (1, 1)})
    assert case.text() == (
        "conv2d.vjp_x g=float32[1,1,1,4]:1,-0.0,0.1,nan w=int8[4,1,1,2]:0*8 dx0=None "
        "trained=None channels=None in_hw=[1,1]"
    )


@pytest.mark.parametrize(
    "text",
    [
        "conv3d.forward x=None",
        "conv2d.vjp_x g=float32[1,1,1,1]:1,2 w=None",
        "conv2d.vjp_x g=float32[1,1",
        "conv2d.vjp_x g=float32[1]:z:AAAA",
        "conv2d.vjp_x g=int9[1]:1",
        "conv2d.vjp_x g=int8[1]:300",
        "conv2d.vjp_x in_hw=[1,",
        "conv2d.vjp_x nonsense",
        "",
    ],
)
def test_text_that_is_no_case_is_refused_in_one_line(text):
    with pytest.raises(gg.GoldgradError) as error:
        Case.parse(text)
    assert "\n" not in str(error.value)


def test_a_pasted_line_repeats_the_failure():
    good = "conv2d.vjp_x g=float32[1,1,1,1]:1 w=int8[1,1,1,1]:3 dx0=None in_hw=[1,1]"
    for arguments, code, says in [
        ([good], 0, "bits holds"),
        (["frame " + good], 0, "frame holds"),
        ([good.replace("in_hw=[1,1]", "in_hw=[2,2]")], 2, "CONV-C5"),
        (["nothing"], 2, "is no function"),
        ([good, "--provider", "theirs"], 2, "no provider theirs"),
    ]:
        command = [sys.executable, "-m", "goldgrad.conformance", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, says in done.stdout + done.stderr) == (code, True), done


def test_a_case_is_repeated_without_hypothesis():
    program = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "from goldgrad.conformance import repro\n"
        "assert repro('bits conv2d.vjp_x g=float32[1,1,1,1]:1 w=int8[1,1,1,1]:3 dx0=None in_hw=[1,1]')\n"
        "assert repro('conv2d.vjp_x g=float32[1,1,1,1]:1 w=int8[1,1,1,1]:3 dx0=None in_hw=[1,1]', 'reference')\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


# The suite is whole


def test_every_function_has_cases():
    assert set(CASES) == set(FUNCTIONS)


def test_every_property_says_what_it_is():
    assert all(p.check.__doc__ for p in PROPERTIES.values())


@pytest.mark.parametrize(
    ("a", "b", "steps"),
    [(1.0, 1.0, 0), (1.0, np.nextafter(np.float32(1), np.float32(2)), 1), (-0.0, 0.0, 1), (-(2.0**-149), 2.0**-149, 3)],
)
def test_ulps(a, b, steps):
    assert ulps(np.float32(a), np.float32(b)) == steps
