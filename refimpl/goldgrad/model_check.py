"""What must hold of a model besides the validity of its graph (specs/model-format.md)."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

from .errors import require, show
from .graph import Graph, Node, Tensor, validate
from .model import DERIVATIONS, FORWARD, LAYERS, Model, fold_degenerate_channels, layer_name
from .numerics import Array
from .ops import Type
from .rules import rule

RESULT_ROLES = {"y": ("activation",), "mask": ("mask",), "loss": ("loss",)}
"""Roles of results by the name that their function gives them; the others are kept for the backward pass."""
KEPT = ("saved", "gradient")
SPLIT = ("trained", "channels")
"""Operands of a weight that trains in part (TRAIN-S13)."""
CODES = {"int8": (-128, 127), "uint8": (0, 255)}


def check_model(model: Model) -> Model:
    """The model with degenerate channels folded, or a :class:`~goldgrad.errors.ConstraintError` naming the fault.

    What this gives can run forward with any sample, and no accumulator overflows.
    """
    check_roles(validate(model.graph))
    check_quantization(model.graph)
    check_parameters(model)
    return fold_degenerate_channels(model)


@rule("MODEL-C1", "MODEL-C8")
def check_roles(graph: Graph) -> None:
    """Only forward functions; each tensor in its role; each parameter and constant read once; layers named apart."""
    reads: Counter[str] = Counter()
    layers: set[str] = set()
    for index, node in enumerate(graph.nodes):
        where = f"node {index} ({node.function})"
        require(
            node.function in FORWARD,
            "MODEL-C1",
            f"{where} is no part of a model",
            f"give a forward graph of {', '.join(FORWARD)}",
        )
        for operand, name in zip(node.definition.inputs, node.inputs, strict=False):
            if name is not None:
                require(
                    operand not in SPLIT,
                    "MODEL-C1",
                    f"{where} has a split weight",
                    "give the whole weight; a scheme splits what it trains in part",
                )
                _check_role(where, operand, graph[name], _operand_roles(node, operand))
                reads[name] += 1
        for result, name in zip(node.definition.outputs, node.outputs, strict=True):
            if name is not None:
                _check_role(where, result, graph[name], RESULT_ROLES.get(result, KEPT))
        if node.function in LAYERS:
            layer = layer_name(node)
            require(
                layer != "" and layer not in layers,
                "MODEL-C8",
                f"the weight of {where} is {node.operand('w')}",
                "name it LAYER.w, with a LAYER of its own",
            )
            layers.add(layer)
    require(bool(layers), "MODEL-C1", f"{graph.name} has no layer with weights", "give it a classifier at least")
    require(not graph.updates, "MODEL-C1", f"{graph.name} has updates", "give the forward graph")
    for tensor in graph.outside():
        times = reads[tensor.name]
        once = tensor.role in ("weight", "bias", "constant")
        require(
            times == 1 or (times > 1 and not once),
            "MODEL-C1",
            f"{tensor.role} {tensor.name} is read {times} times",
            "have one node read it" if once else "remove it",
        )


def _operand_roles(node: Node, operand: str) -> tuple[str, ...]:
    if (node.function, operand) in DERIVATIONS:
        return ("constant",)
    if node.function in LAYERS and operand in ("w", "b"):
        return ("weight",) if operand == "w" else ("bias",)
    return ("input", "activation")


def _check_role(where: str, operand: str, tensor: Tensor, roles: tuple[str, ...]) -> None:
    require(
        tensor.role in roles,
        "MODEL-C1",
        f"{operand} of {where} is {tensor.name}, whose role is {tensor.role}",
        f"give it the role {' or '.join(roles)}",
    )


@rule("MODEL-C2", "MODEL-C3", "MODEL-C4")
def check_quantization(graph: Graph) -> None:
    """Images and activations in codes have a scale and a zero point, the nodes' own; nothing else has one."""
    for tensor in graph.tensors.values():
        scale, zero, name = tensor.scale, tensor.zero_point, tensor.name
        if tensor.role not in ("input", "activation") or tensor.type.dtype not in CODES:
            require(
                scale is None and zero is None,
                "MODEL-C4",
                f"{name} has a scale or a zero point, as {tensor.role} of {tensor.type.dtype}",
                "remove them",
            )
            continue
        require(scale is not None, "MODEL-C4", f"{name} has no scale", "give every quantized tensor one")
        require(
            isinstance(scale, float) and 0 < scale < math.inf,
            "MODEL-C2",
            f"the scale of {name} is {show(scale)}",
            "give a positive finite number",
        )
        least, most = CODES[tensor.type.dtype]
        require(
            type(zero) is int and least <= zero <= most,
            "MODEL-C2",
            f"the zero point of {name} is {show(zero)}",
            f"give an integer from {least} to {most}",
        )
    for index, node in enumerate(graph.nodes):
        _check_agreement(graph, node, f"node {index} ({node.function})")


def _check_agreement(graph: Graph, node: Node, where: str) -> None:
    """``x_zero`` is the zero point of the operand x, and so on; a pool that takes maxima changes neither."""
    definition = node.definition
    for attribute, value in node.attributes.items():
        of = attribute.removesuffix("_zero")
        name = node.operand(of) if of in definition.inputs else node.result(of) if of in definition.outputs else None
        if of != attribute and name is not None:
            zero = graph[name].zero_point
            require(
                value == zero,
                "MODEL-C3",
                f"{where} has {attribute} = {value}, and {name} has the zero point {zero}",
                "make them equal",
            )
    if node.function == "max_pool2d.forward":
        x, y = graph[node.operands[0]], graph[node.results[0]]
        require(
            (x.scale, x.zero_point) == (y.scale, y.zero_point),
            "MODEL-C3",
            f"{where} reads {x.name} at scale {x.scale} and gives {y.name} at scale {y.scale}",
            "give both one scale and zero point",
        )


def scale_types(graph: Graph) -> dict[str, Type]:
    """The arrays of scales that a model needs, as ``<weight>.scale``: float32, one element an output channel."""
    types = {}
    for node in graph.nodes:
        if node.function in LAYERS:
            w = graph[str(node.operand("w"))]
            axis = -1 if node.function.startswith("depthwise") else 0
            types[f"{w.name}.scale"] = Type((w.type.shape[axis],), "float32")
    return types


@rule("MODEL-C9", "MODEL-C10")
def check_parameters(model: Model) -> None:
    """Every weight and bias has its array, every weight its scales, and no array is left over."""
    parameters = {t.name: t for t in model.graph.outside() if t.role in ("weight", "bias")}
    for name in sorted({*model.arrays, *parameters}):
        require(name in parameters, "MODEL-C9", f"the array {show(name)} belongs to no weight or bias", "remove it")
        require(name in model.arrays, "MODEL-C9", f"{name} has no array", f"give {parameters[name].type}")
        given, wanted = Type.of(model.arrays[name]), parameters[name].type
        require(given == wanted, "MODEL-C9", f"the array of {name} is {given}", f"give {wanted}")
    types = {name.removesuffix(".scale"): type_ for name, type_ in scale_types(model.graph).items()}
    for name in sorted({*model.scales, *types}):
        require(name in types, "MODEL-C9", f"there are scales for {show(name)}, which is no weight", "remove them")
        require(name in model.scales, "MODEL-C9", f"{name} has no scales", f"give {types[name]}")
        given, wanted = Type.of(model.scales[name]), types[name]
        require(given == wanted, "MODEL-C9", f"the scales of {name} are {given}", f"give {wanted}")
        _check_weight(name, model.arrays[name], model.scales[name])


def _check_weight(name: str, codes: Array, scales: Array) -> None:
    good = np.isfinite(scales) & (scales > 0)
    bad = int(np.argmin(good))
    require(
        bool(good.all()),
        "MODEL-C10",
        f"the scale of {name}, output channel {bad}, is {float(scales[bad])}",
        "give a positive finite number",
    )
    least = np.unravel_index(int(np.argmin(codes)), codes.shape)
    require(
        codes[least] >= -127,
        "MODEL-C10",
        f"{name}[{', '.join(map(str, least))}] is {codes[least]}",
        "use weights from -127 to 127",
    )
