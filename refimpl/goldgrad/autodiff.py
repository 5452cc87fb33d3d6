"""Compile-time differentiation: a forward graph with its loss becomes a training graph (specs/training.md).

One vjp rule an operator, in a table.  A rule gets the gradient of its node's result and contributes to the
gradients of the operands.  Contributions to one tensor form one chain (TRAIN-S1): each starts from the gradient
so far, and nodes are visited from the last to the first, so users contribute in reverse program order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .errors import require
from .graph import Builder, Graph, Node, validate
from .ops import Type
from .optimizers import OPTIMIZERS
from .rules import rule

VjpRule = Callable[["Differentiation", Node], None]
VJP_RULES: dict[str, VjpRule] = {}
"""From a forward function's name to the rule that emits its backward nodes."""


def vjp_rule(function: str) -> Callable[[VjpRule], VjpRule]:
    """Enter a vjp rule for ``function``."""

    def enter(emit: VjpRule) -> VjpRule:
        VJP_RULES[function] = emit
        return emit

    return enter


class Differentiation(Builder):
    """A builder that knows the gradient so far of each tensor."""

    def __init__(self, forward: Graph) -> None:
        super().__init__(forward)
        self.gradient: dict[str, str] = {}
        self.trains = _depends_on_parameters(forward)

    @rule("TRAIN-S1", "TRAIN-S2")
    def contribute(self, to: str | None, function: str, *operands: str | None, **attributes: Any) -> None:
        """Continue the gradient of ``to`` by a function whose last operand is where the chain starts.

        Nothing is emitted for a tensor that no parameter has a part in: nobody will read its gradient.
        """
        if to is None or to not in self.trains:
            return
        result = self.fresh(f"{to}.grad")
        start = [self.gradient[to]] if to in self.gradient else []
        self.emit(function, (*operands, *start), (result,), ("gradient",), **attributes)
        self.gradient[to] = result

    @rule("TRAIN-S3")
    def accumulator_gradient(self, node: Node) -> str:
        """Gradient of the node's accumulator: its result's, masked, times m."""
        y, mask, m = node.result("y"), node.result("mask"), node.operand("m")
        assert y is not None
        result = self.fresh(f"{y}.acc")
        self.emit("mask_scale.forward", (self.gradient[y], mask, m), (result,), ("gradient",))
        return result


def _depends_on_parameters(graph: Graph) -> set[str]:
    """Weights, biases, and every tensor computed from one."""
    found = {tensor.name for tensor in graph.tensors.values() if tensor.role in ("weight", "bias")}
    for node in graph.nodes:
        if not found.isdisjoint(node.operands):
            found.update(node.results)
    return found


def _layer(node: Node) -> tuple[str, str, str]:
    """x, w and b of a layer."""
    x, w, b, _, *parts = node.operands
    require(not parts, "TRAIN-C5", f"{w} is split already", "differentiate the whole weight, then apply a scheme")
    return x, w, b


def _geometry(node: Node) -> dict[str, Any]:
    return {key: node.attributes[key] for key in ("stride", "pad", "dilation") if key in node.attributes}


def _convolution(builder: Differentiation, node: Node) -> None:
    """conv2d and depthwise_conv2d: the same rule, with their own functions."""
    op = node.function.partition(".")[0]
    x, w, b = _layer(node)
    g = builder.accumulator_gradient(node)
    shape_x, shape_w = builder.tensors[x].type.shape, builder.tensors[w].type.shape
    kernel = shape_w[1:3] if op == "conv2d" else shape_w[:2]
    geometry = _geometry(node)
    builder.contribute(w, f"{op}.vjp_w", g, x, x_zero=node.attributes["x_zero"], kernel=kernel, **geometry)
    builder.contribute(b, "bias_gradient.forward", g)
    builder.contribute(x, f"{op}.vjp_x", g, w, in_hw=shape_x[1:3], **geometry)


VJP_RULES["conv2d.forward"] = VJP_RULES["depthwise_conv2d.forward"] = _convolution


@vjp_rule("fully_connected.forward")
def _fully_connected(builder: Differentiation, node: Node) -> None:
    x, w, b = _layer(node)
    g = builder.accumulator_gradient(node)
    builder.contribute(w, "fully_connected.vjp_w", g, x, x_zero=node.attributes["x_zero"])
    builder.contribute(b, "bias_gradient.forward", g)
    in_shape = builder.tensors[x].type.shape[1:]
    builder.contribute(x, "fully_connected.vjp_x", g, w, in_shape=in_shape)


@vjp_rule("add.forward")
def _add(builder: Differentiation, node: Node) -> None:
    x1, x2, m1, m2 = node.operands
    y, mask = node.outputs
    assert y is not None
    g = builder.gradient[y]
    builder.contribute(x1, "add.vjp_x", g, mask, m1)
    builder.contribute(x2, "add.vjp_x", g, mask, m2)


@vjp_rule("avg_pool2d.forward")
def _avg_pool2d(builder: Differentiation, node: Node) -> None:
    x, m = node.operands
    y, mask = node.outputs
    assert y is not None
    size = {"in_hw": builder.tensors[x].type.shape[1:3], "kernel": node.attributes["kernel"]}
    builder.contribute(x, "avg_pool2d.vjp_x", builder.gradient[y], mask, m, **size, **_geometry(node))


@vjp_rule("max_pool2d.forward")
def _max_pool2d(builder: Differentiation, node: Node) -> None:
    (x,) = node.operands
    y, mask, index = node.outputs
    assert y is not None
    size = {"in_hw": builder.tensors[x].type.shape[1:3], "kernel": node.attributes["kernel"]}
    builder.contribute(x, "max_pool2d.vjp_x", builder.gradient[y], index, mask, **size, **_geometry(node))


@vjp_rule("softmax_cross_entropy.forward")
@vjp_rule("softmax_cross_entropy.from_probabilities")
def _softmax_cross_entropy(builder: Differentiation, node: Node) -> None:
    """The forward pass gives the gradient as well: it is what it computes on the way to the loss."""
    q, dq = node.operands[0], node.outputs[1]
    assert dq is not None
    builder.gradient[q] = dq


@rule("TRAIN-S4", "TRAIN-S6")
def differentiate(forward: Graph, loss: str, optimizer: str = "sgd") -> Graph:
    """Forward, backward and updates of every weight and bias, as one graph of ordinary nodes.

    ``forward`` ends in a node whose result ``loss`` is to fall; each of its operands that depends on a parameter
    gets a gradient.  ``optimizer`` is a name of :data:`~goldgrad.optimizers.OPTIMIZERS`.  Updates come last, in
    the order of the parameters' first use; ``passes/reorder.py`` moves them.
    """
    require(
        loss in forward.outputs and forward[loss].role == "loss",
        "TRAIN-C4",
        f"{loss} is no loss that {forward.name} gives",
        "name an output of a loss function",
    )
    builder = Differentiation(forward)
    for node in reversed(forward.nodes):
        wanted = any(name in builder.gradient or name == loss for name in node.results)
        if wanted and not builder.trains.isdisjoint(node.results):
            require(
                node.function in VJP_RULES,
                "TRAIN-C5",
                f"{node.function} has no vjp rule",
                "add one to autodiff.VJP_RULES",
            )
            VJP_RULES[node.function](builder, node)
    rate = builder.outside("lr", Type((1,), "float32"), "rate")
    order = dict.fromkeys(name for node in forward.nodes for name in node.operands)
    for name in order:
        if name in builder.gradient and builder.tensors[name].role in ("weight", "bias"):
            OPTIMIZERS[optimizer].emit(builder, name, builder.gradient[name], rate)
    return validate(Graph(forward.name, builder.tensors, tuple(builder.nodes), forward.outputs, builder.updates))
