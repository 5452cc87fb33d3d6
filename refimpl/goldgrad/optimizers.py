"""How a parameter's gradient becomes its next value: the update nodes of each named optimizer (specs/training.md).

An optimizer is a choice of the weights' update function; biases take ``sgd_update_bias`` under every one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .graph import Builder
from .ops import Type
from .rules import rule

SCALAR = {dtype: Type((1,), dtype) for dtype in ("float32", "int32")}


@dataclass(frozen=True)
class Optimizer:
    """The update function of weights, and what it reads besides (w, dw, q, lr), in order.

    ``further`` names operands: ``master`` and ``velocity`` are a weight's state and have a next value; ``seed`` is a
    weight's constant; ``mu`` and ``step`` are one for all weights.  ``by_element``: what an element gets depends on
    where it is in the dense weight.
    """

    function: str
    further: tuple[str, ...] = ()
    by_element: bool = False

    @rule("TRAIN-S6", "TRAIN-S12", "TRAIN-S13")
    def emit(
        self, builder: Builder, parameter: str, gradient: str, rate: str, part_of: tuple[str, int] | None = None
    ) -> None:
        """Append the one update of a parameter and record its next value.

        ``part_of`` is for the trained part of a split weight: the list of its channels, and how many the dense
        weight has.
        """
        shape = builder.tensors[parameter].type.shape
        channels = Type((shape[-1] if len(shape) == 3 else shape[0],), "float32")  # HWC; OHWI, OI and a bias
        q = builder.outside(f"{parameter}.q", channels, "constant")
        if builder.tensors[parameter].role == "bias":
            limit = builder.outside(f"{parameter}.limit", SCALAR["int32"], "constant")
            _update(builder, "sgd_update_bias.update", (parameter, gradient, q, limit, rate), (parameter,))
            return
        attributes: dict[str, Any] = {}
        further = tuple(self._operand(builder, name, parameter, gradient) for name in self.further)
        state = tuple(name for name in further if builder.tensors[name].role == "state")
        if part_of is not None and self.by_element:
            listed, dense = part_of
            further, attributes = (*further, listed), {"dense_channels": dense}
        _update(builder, self.function, (parameter, gradient, q, rate, *further), (parameter, *state), **attributes)

    @staticmethod
    def _operand(builder: Builder, name: str, parameter: str, gradient: str) -> str:
        match name:
            case "master" | "velocity":
                return builder.outside(f"{parameter}.{name}", builder.tensors[gradient].type, "state")
            case "seed":
                return builder.outside(f"{parameter}.seed", SCALAR["int32"], "constant")
            case "mu":
                return builder.outside("mu", SCALAR["float32"], "rate")
            case "step":
                return builder.outside("step", SCALAR["int32"], "rate")
        raise ValueError(name)


def _update(
    builder: Builder, function: str, operands: tuple[str, ...], replaced: tuple[str, ...], **attributes: Any
) -> None:
    """Emit an update whose results are the next values of ``replaced``, in order."""
    results = [f"{name}.new" for name in replaced]
    builder.emit(function, operands, results, ["parameter"] * len(results), **attributes)
    builder.updates.update(zip(replaced, results, strict=True))


OPTIMIZERS = {
    "sgd": Optimizer("sgd_update_weight.update"),
    "master": Optimizer("sgd_update_weight_master.update", ("master",)),
    "momentum": Optimizer("sgd_update_weight_momentum.update", ("velocity", "mu")),
    "stochastic": Optimizer("sgd_update_weight_stochastic.update", ("seed", "step"), by_element=True),
}
"""Optimizers by name (TRAIN-S12)."""
