"""specs/ops/bias_step.md, and the pass that puts it in the place of three functions (specs/streaming.md)"""

import numpy as np
import pytest

import c_kernels
import exact
import graphs
import streams
import tiny_model
from goldgrad import ConstraintError
from goldgrad.graph import Builder, validate
from goldgrad.interpreter import run
from goldgrad.memory.plan import plan
from goldgrad.numerics import same_bits
from goldgrad.ops import Type, bias_gradient, bias_step, mask_scale, sgd_update_bias
from goldgrad.passes.fuse_bias import fuse_bias
from goldgrad.sparse import Scheme
from goldgrad.training import Session

mark = pytest.mark
NAME = "bias_step.update"
SHAPES = [(1, 1), (3, 7), (1, 8), (2, 9), (2, 1, 3, 17), (1, 4, 2, 16), (1, 300)]


def operands(shape):
    """Steps of some codes either way, within a limit that some of them meet."""
    rng = np.random.default_rng(shape)
    channels = shape[-1]
    gy, mask, m = exact.floats(rng, *shape, hard=0.1), exact.packed(rng, *shape), np.abs(exact.floats(rng, channels))
    limit = rng.integers(0, 3000, 1, np.int32)
    b = rng.integers(-limit[0] - 1, limit[0] + 1, channels, np.int32)
    q = np.abs(exact.floats(rng, channels)) * np.float32(300) * (rng.random(channels) < 0.8).astype(np.float32)
    return gy, mask, m, b, q, limit, np.float32([0.5])


@mark.rules("STEP-S1")
def test_by_hand():
    """Of channel 0 the second pixel is masked, of channel 1 the first; steps of -(0.5 * 2) * 6 and of a tie to even."""
    gy, mask = np.float32([[3, 9], [7, 5]]), np.uint8([[0b01], [0b10]])
    limit = np.int32([100])
    b_new, g = bias_step.update(
        gy, mask, np.float32([2, 0.5]), np.int32([10, 10]), np.float32([2, 2]), limit, np.float32([0.5])
    )
    assert same_bits(g, np.float32([[6, 0], [0, 2.5]])).all()
    assert b_new.tolist() == [4, 8]


@mark.rules("STEP-S1", "STEP-F1")
@mark.parametrize("shape", SHAPES)
def test_c_and_the_three_functions_agree(shape):
    gy, mask, m, *step = operands(shape)
    b_new, g = c_kernels.check(NAME, gy, mask, m, *step)
    assert same_bits(g, mask_scale.forward(gy, mask, m)).all()
    b, *rest = step
    assert (b_new == sgd_update_bias.update(b, bias_gradient.forward(g), *rest)).all()


@mark.rules("STEP-A1", "STEP-A2")
@mark.parametrize("shape", SHAPES)
def test_in_place(shape):
    assert c_kernels.pairs(NAME) == {("b_new", "b", "STEP-A1"), ("g", "gy", "STEP-A2")}
    for result, operand in (("b_new", "b"), ("g", "gy")):
        c_kernels.check_in_place(NAME, result, operand, *operands(shape))


GOOD = {
    **{"gy": Type((1, 2, 9), "float32"), "mask": Type((1, 2, 2), "uint8"), "m": Type((9,), "float32")},
    **{"b": Type((9,), "int32"), "q": Type((9,), "float32"), "limit": Type((1,), "int32"), "lr": Type((1,), "float32")},
}


@mark.rules("STEP-C1")
@mark.parametrize(
    ("wrong", "message"),
    [
        ({"gy": Type((1, 2, 9), "int8")}, "SCALE-C1: gy is"),
        ({"mask": Type((1, 2, 1), "uint8")}, "SCALE-C2: mask is"),
        ({"m": Type((1,), "float32")}, "SCALE-C3: m is"),
        ({"b": Type((9,), "int8")}, "UPB-C1: b is"),
        ({"lr": Type((2,), "float32")}, "UPB-C2: db is"),
        (
            {"b": Type((8,), "int32"), "q": Type((8,), "float32")},
            r"STEP-C1: gy is float32\[1, 2, 9\], b is int32\[8\]; give a bias for each of 9 channels",
        ),
    ],
)
def test_operands_of_a_wrong_type_are_refused(wrong, message):
    assert bias_step.types(**GOOD) == (GOOD["b"], GOOD["gy"])
    with pytest.raises(ConstraintError, match=message):
        bias_step.types(**{**GOOD, **wrong})


# --- the pass ------------------------------------------------------------------------------------------------------

SCHEME = Scheme("some", biases=3, weights={"block.expand": 0.5})


def functions(graph):
    return [node.function for node in graph.nodes]


@mark.rules("STREAM-S14")
def test_three_functions_become_one_and_no_bit_changes():
    session = Session(tiny_model.model(), SCHEME)
    graph, given = session.graph, graphs.feeds(session, tiny_model.sample(), 0.1)
    fused = validate(fuse_bias(graph))
    count = functions(graph).count("sgd_update_bias.update")
    assert count == functions(fused).count(NAME) == functions(graph).count("mask_scale.forward") >= 3
    assert not {"mask_scale.forward", "bias_gradient.forward", "sgd_update_bias.update"} & {*functions(fused)}
    assert fused.updates == graph.updates
    assert not any(name.endswith(".b.grad") for name in fused.tensors)
    assert streams.same(run(fused, given), run(graph, given))
    blocks = [node for node in plan(graph).graph.nodes if node.function == "composite.channels"]
    assert any(part.function == NAME for block in blocks for part in block.body)


def three(start=False):
    """The three functions; the sum starts from +0 or from what is given."""
    b = Builder()
    for name, type_ in {**GOOD, **({"start": GOOD["m"]} if start else {})}.items():
        role = {"b": "bias", "gy": "input", "mask": "input", "lr": "rate"}.get(name, "constant")
        b.outside(name, type_, role)
    b.emit("mask_scale.forward", ("gy", "mask", "m"), ("g",), ("gradient",))
    b.emit("bias_gradient.forward", ("g", "start")[: 1 + start], ("db",), ("gradient",))
    b.emit("sgd_update_bias.update", ("b", "db", "q", "limit", "lr"), ("b.new",), ("parameter",))
    b.updates["b"] = "b.new"
    return b


@mark.rules("STREAM-S14")
@mark.parametrize(
    ("start", "outputs", "fuses"), [(False, ("g",), True), (True, ("g",), False), (False, ("db",), False)]
)
def test_what_is_read_elsewhere_or_starts_elsewhere_is_left(start, outputs, fuses):
    graph = three(start).build(outputs)
    assert (functions(fuse_bias(graph)) == [NAME]) == fuses
    assert fuses or fuse_bias(graph) == graph
