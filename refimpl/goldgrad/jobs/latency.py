"""What a training step of a published network takes on the board: full and sparse, with plain kernels and fast ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .. import schemes
from ..board.errors import DoesNotFit
from ..board.program import BETWEEN
from ..board.timing.cost import CLOCK_HZ
from ..graph import Graph
from ..memory.plan import plan
from ..memory.unfold import unfolded
from ..sparse import FULL
from . import on_board

EMULATOR, MEMORY = "unicorn", "dtcm"
"""Where a step runs, and where the timing model takes code and data to be: without wait states."""
CASES = ((FULL.name, "portable"), ("", "portable"), ("", "m7"))
"""Updates and kernels of the article's figure 21; the update without a name is the scheme of about 100 KB."""


@dataclass(frozen=True)
class Step:
    """A step of training, measured on the emulated board and held to the interpreter's bits."""

    model: str
    scheme: str
    kernels: str
    projected: bool
    """It does not fit: measured on a board with more SRAM than there is (BOARD-M3)."""
    bit_exact: bool
    instructions: int
    sram_bytes: int
    """Arena, scratch, stack, .data and .bss; arena and scratch as planned, the stack as measured."""
    cycles: int
    """By the timing model, which is named with its band in percent."""
    timing_model: str
    band_percent: float
    stages: Mapping[str, int]
    """Cycles of the forward pass, and of loss, backward pass and updates."""
    forward: Mapping[str, int]
    """Instructions of the forward pass by kind of layer."""

    @property
    def milliseconds(self) -> float:
        """At 216 MHz."""
        return 1000 * self.cycles / CLOCK_HZ

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "milliseconds": round(self.milliseconds, 2)}


def scheme_of_100_kb(model: str) -> str:
    """The published scheme whose name is nearest to 100 KB."""
    return min(schemes.names(model), key=lambda name: abs(int(name.removesuffix("kb")) - 100))


def measure(models: Sequence[str], tell: Callable[[str], None] = lambda what: None) -> list[Step]:
    """Every case of each model."""
    found = []
    for model in models:
        for scheme, kernels in CASES:
            update = scheme or scheme_of_100_kb(model)
            tell(f"{model}, {update}: a step with {kernels} kernels")
            found.append(take(model, update, kernels))
    return found


def take(model: str, scheme: str, kernels: str) -> Step:
    """Plan, build and run one step; where it does not fit, on a board that does not exist."""
    session = on_board.session(model, scheme)
    planned, projected = unfolded(plan(session.graph)), False
    try:
        made = on_board.firmware(session, planned=planned, kernels=kernels)
    except DoesNotFit:
        projected = True
        made = on_board.firmware(session, planned=planned, kernels=kernels, projected=True)
    samples = on_board.samples(model, session, 1)
    run = on_board.train(session, made, samples, on_board.RATE, EMULATOR, memory=MEMORY)
    estimate = run.estimate
    assert estimate is not None
    kinds = kinds_of(session.model.graph)
    stages, forward = Counter[str](), Counter[str]()
    for i, region in enumerate(run.measurement.regions):
        operator, _, function = region.op.partition(".")
        is_forward = function in ("forward", "from_uint8") and _is_layer(operator)
        stages["forward" if is_forward else "backward"] += round(estimate.regions[i].total)
        if is_forward:
            forward[kinds.get(region.layer, "others")] += region.instructions
    whole = estimate.as_json(estimate.total(BETWEEN))
    return Step(
        model=model,
        scheme=scheme,
        kernels=kernels,
        projected=projected,
        bit_exact=run.bit_exact,
        instructions=run.measurement.instructions,
        sram_bytes=run.measurement.sram.total,
        cycles=whole["total"],
        timing_model=whole["model"],
        band_percent=whole["band_percent"],
        stages=dict(stages),
        forward=dict(forward),
    )


def _is_layer(operator: str) -> bool:
    return operator not in ("softmax_cross_entropy", "mask_scale", "bias_gradient")


def kinds_of(forward: Graph) -> dict[str, str]:
    """The kind of each convolution and addition by the name of its layer."""
    found = {}
    for node in forward.nodes:
        layer = node.results[0].partition(".")[0]
        if node.function == "conv2d.forward":
            height = forward[node.operands[1]].type.shape[1]
            found[layer] = "pointwise" if height == 1 else f"convolution {height}x{height}"
        elif node.function == "depthwise_conv2d.forward":
            height = forward[node.operands[1]].type.shape[0]
            found[layer] = f"depthwise {height}x{height}"
        elif node.function == "add.forward":
            found[layer] = "add"
    return found
