"""How a parameter's gradient becomes its next value: the update nodes of each named optimizer (specs/training.md)."""

from __future__ import annotations

from collections.abc import Callable

from .graph import Builder, Tensor
from .ops import Type
from .rules import rule

Optimizer = Callable[[Builder, str, str, str], None]
"""Emits the update of one parameter: ``optimizer(builder, parameter, gradient, rate)``."""


def _channels(builder: Builder, parameter: str) -> Type:
    """One float32 a channel that has a scale of its own: the first axis of OHWI and OI, the last of HWC."""
    shape = builder.tensors[parameter].type.shape
    return Type((shape[-1] if len(shape) == 3 else shape[0],), "float32")


def _next(builder: Builder, tensor: Tensor, function: str, operands: tuple[str, ...], *results: str) -> None:
    roles = ("parameter",) * (1 + len(results))
    builder.emit(function, (tensor.name, *operands), (f"{tensor.name}.new", *results), roles)
    builder.updates[tensor.name] = f"{tensor.name}.new"


def _bias(builder: Builder, parameter: str, gradient: str, rate: str) -> None:
    tensor = builder.tensors[parameter]
    q = builder.outside(f"{parameter}.q", _channels(builder, parameter), "constant")
    limit = builder.outside(f"{parameter}.limit", tensor.type, "constant")
    _next(builder, tensor, "sgd_update_bias.update", (gradient, q, limit, rate))


@rule("TRAIN-S6")
def sgd(builder: Builder, parameter: str, gradient: str, rate: str) -> None:
    """Quantization-aware scaled SGD, int8 weights and int32 biases in place."""
    tensor = builder.tensors[parameter]
    if tensor.role == "bias":
        _bias(builder, parameter, gradient, rate)
    else:
        q = builder.outside(f"{parameter}.q", _channels(builder, parameter), "constant")
        _next(builder, tensor, "sgd_update_weight.update", (gradient, q, rate))


OPTIMIZERS: dict[str, Optimizer] = {"sgd": sgd}
