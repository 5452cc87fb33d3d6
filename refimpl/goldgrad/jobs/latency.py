"""What a training step of a published network takes on the board: full and sparse, with plain kernels and fast ones."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import starmap
from typing import Any

from .. import schemes
from ..board.errors import DoesNotFit
from ..board.program import BETWEEN
from ..board.timing.cost import CLOCK_HZ
from ..board.timing.functions import Spent
from ..graph import Graph
from ..memory.plan import plan
from ..memory.unfold import unfolded
from ..sparse import FULL
from . import on_board

EMULATOR, MEMORY = "unicorn", "dtcm"
"""Where a step runs, and where the timing model takes code and data to be: without wait states."""
CASES = ((FULL.name, "portable"), ("", "portable"), ("", "m7"))
"""Updates and kernels of the article's figure 21; the update without a name is the scheme of about 100 KB."""


STAGES = ("forward", "backward", "gradients", "update")
"""Stages of a step: what computes the loss; gradients of activations; gradients of parameters; their update."""
STREAMING = ("stream-forward", "stream-backward", "fuse", "group")
"""What a plan leaves out that calls each operator once, on whole maps."""


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
    arena_bytes: int
    sram_bytes: int
    """Arena, scratch, stack, .data and .bss; arena and scratch as planned, the stack as measured."""
    cycles: int
    """By the timing model, which is named with its band in percent."""
    timing_model: str
    band_percent: float
    layers: Mapping[str, Mapping[str, int]]
    """Cycles by layer, in the order of the forward pass, and stage; what no operator takes is not among them."""
    kinds: Mapping[str, str]
    """What each convolution or addition is."""
    forward: Mapping[str, int]
    """Instructions of the forward pass by kind of layer."""
    functions: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """What each C function took (TIM-S11): :class:`~goldgrad.board.timing.functions.Spent` as plain values."""

    @property
    def milliseconds(self) -> float:
        """At 216 MHz."""
        return 1000 * self.cycles / CLOCK_HZ

    @property
    def stages(self) -> dict[str, int]:
        """Cycles by stage."""
        return {stage: sum(layer.get(stage, 0) for layer in self.layers.values()) for stage in STAGES}

    def as_json(self) -> dict[str, Any]:
        """Plain values, functions left out."""
        plain = {name: value for name, value in asdict(self).items() if name != "functions"}
        return {**plain, "stages": self.stages, "milliseconds": round(self.milliseconds, 2)}

    @property
    def profile(self) -> dict[str, Spent]:
        """What each C function took, the most cycles first."""
        return {name: Spent(**spent) for name, spent in self.functions.items()}  # type: ignore[arg-type]


def scheme_of_100_kb(model: str) -> str:
    """The published scheme whose name is nearest to 100 KB."""
    return min(schemes.names(model), key=lambda name: abs(int(name.removesuffix("kb")) - 100))


Each = Callable[[Callable[..., Any], Sequence[tuple[Any, ...]]], Iterable[Any]]
"""Calls a function with each of several argument lists, as itertools.starmap does; the results in their order."""


def measure(models: Sequence[str], tell: Callable[[str], None] = lambda what: None, each: Each = starmap) -> list[Step]:
    """Every case of each model."""
    cases = [(m, scheme or scheme_of_100_kb(m), kernels) for m in models for scheme, kernels in CASES]
    found = []
    for step in each(take, cases):
        tell(f"{step.model}, {step.scheme}: a step with {step.kernels} kernels")
        found.append(step)
    return found


@dataclass(frozen=True)
class Streaming:
    """What streaming costs: the same step, each operator once on whole maps, and as it is planned for the board."""

    whole: Step
    streamed: Step

    @property
    def percent(self) -> float:
        """By how much the cycles are more."""
        return 100 * (self.streamed.cycles / self.whole.cycles - 1)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"percent": self.percent, "whole": self.whole.as_json(), "streamed": self.streamed.as_json()}


def streaming(model: str, scheme: str, kernels: str = on_board.KERNELS, room: int = 0) -> Streaming:
    """Take the step both ways."""
    return Streaming(take(model, scheme, kernels, STREAMING), take(model, scheme, kernels, room=room))


def take(model: str, scheme: str, kernels: str, without: Collection[str] = (), room: int = 0) -> Step:
    """Plan, build and run one step; where it does not fit, on a board that does not exist.

    ``without`` leaves passes out of the plan, ``room`` is how many bytes more than the least it may take.
    """
    session = on_board.session(model, scheme)
    planned, projected = unfolded(plan(session.graph, without, room=room)), False
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
    layers: dict[str, Counter[str]] = defaultdict(Counter)
    forward = Counter[str]()
    for i, region in enumerate(run.measurement.regions):
        stage = stage_of(region.op)
        layers[region.layer][stage] += round(estimate.regions[i].total)
        if stage == "forward":
            forward[kinds.get(region.layer, "others")] += region.instructions
    whole = estimate.as_json(estimate.total(BETWEEN))
    order = [name for name in _layers(session.model.graph) if name in layers]
    return Step(
        model=model,
        scheme=scheme,
        kernels=kernels,
        projected=projected,
        bit_exact=run.bit_exact,
        instructions=run.measurement.instructions,
        arena_bytes=run.measurement.sram.arena,
        sram_bytes=run.measurement.sram.total,
        cycles=whole["total"],
        timing_model=whole["model"],
        band_percent=whole["band_percent"],
        layers={name: dict(layers[name]) for name in dict.fromkeys((*order, *layers))},
        kinds=kinds,
        forward=dict(forward),
        functions={name: spent.as_json() for name, spent in estimate.functions(BETWEEN).items()},
    )


def stage_of(function: str) -> str:
    """The stage that a function belongs to, one of :data:`STAGES`."""
    operator, _, name = function.partition(".")
    if name == "vjp_w" or operator in ("bias_gradient", "bias_step"):  # the latter's larger part: mask, scale and sum
        return "gradients"
    if name == "update":
        return "update"
    is_forward = name in ("forward", "from_uint8") and operator not in ("softmax_cross_entropy", "mask_scale")
    return "forward" if is_forward else "backward"


def _layers(forward: Graph) -> Iterator[str]:
    """Layers in the order of the forward pass; several nodes may be of one."""
    for node in forward.nodes:
        yield node.results[0].partition(".")[0]


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
