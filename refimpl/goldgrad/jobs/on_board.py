"""Training on the emulated board, sample after sample, held to the interpreter's bits at every step."""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import paths, schemes
from ..board.board import Board
from ..board.build import build
from ..board.elf import Elf
from ..board.emulators import BACKENDS, backend, can_watch, find_emulator, present, watching
from ..board.errors import EmulatorMissing
from ..board.measure import Measurement, measurement
from ..board.program import BETWEEN
from ..board.timing.edges import Trace
from ..board.timing.memory import watched
from ..board.toolchain import Toolchain, find_toolchain
from ..codegen import generate
from ..kernels import scratch_bytes
from ..memory.plan import Plan, plan
from ..memory.unfold import unfolded
from ..models import architecture
from ..models import digits as digits_data
from ..models.synthetic import samples as synthetic_samples
from ..numerics import Array, float32
from ..random import Stream
from ..rules import rule
from ..training import Session
from . import digits

RATE = 0.02
"""The learning rate unless another is named."""

KERNELS = "m7"
"""The set of kernels that a board runs unless told; :data:`goldgrad.kernels.SETS` has them all."""

if TYPE_CHECKING:
    from ..board.timing.cost import Estimate

Samples = Iterable[Mapping[str, Array]]
Progress = Callable[[int, float], None]


@dataclass(frozen=True)
class Firmware:
    """A session's training step as an ELF, with the plan that it follows and the C that it was made from."""

    plan: Plan
    source: str
    elf: Elf
    toolchain: Toolchain


@dataclass
class BoardRun:
    """What training on one emulator came to; ``compared`` counts values whose bits were compared."""

    emulator: str
    version: str
    measurement: Measurement
    bit_exact: bool
    compared: int
    first_difference: str | None
    loss: list[float] = field(default_factory=list)
    seconds: float = 0.0
    memory: Mapping[str, bytes] = field(default_factory=dict)
    """Arena and scratch after the last step."""
    estimate: Estimate | None = None
    """Cycles by region, if they were asked for."""


def session(model: str, scheme: str, weights: Path | None = None, model_file: Path | None = None) -> Session:
    """A network and a scheme by name, ready to train; digits may come from another file, others have other weights."""
    if model == "digits":
        return Session(digits.model(model_file), digits.scheme(scheme))
    network = architecture(model).model(weights)
    return Session(network, schemes.named(network, scheme))


def samples(model: str, training: Session, steps: int) -> Iterator[Mapping[str, Array]]:
    """Real scans for digits, in the order of ``goldgrad run digits``; seeded images for the other networks."""
    if model == "digits":
        scans = digits_data.new_scans()[0]
        yield from (scans.sample(index) for index in digits.order(len(scans), steps))
        return
    stream = Stream(digits.SEED)
    yield from (synthetic_samples(training.model.graph, 1, stream) for _ in range(steps))


def firmware(
    session: Session,
    folder: Path | None = None,
    planned: Plan | None = None,
    toolchain: Toolchain | None = None,
    kernels: str = KERNELS,
    projected: bool = False,
    room: int = 0,
    itcm: bool = True,
) -> Firmware:
    """Plan a step, write it as C, build it with a set of kernels; the files stay in ``folder``, if one is named.

    ``projected`` builds it for a board with more SRAM than there is (BOARD-M3); ``room`` is for :func:`plan`;
    ``itcm`` False leaves all code in flash (BOARD-M4).

    Raises :class:`~goldgrad.board.errors.DoesNotFit` with each region of memory that overflows, and by how much.
    """
    planned = unfolded(plan(session.graph, room=room)) if planned is None else planned
    scratch_of = functools.partial(scratch_bytes, kernels=kernels)
    source, toolchain = generate(session, planned, scratch_of), toolchain or find_toolchain()
    place = paths.passing() if folder is None else folder
    place.mkdir(parents=True, exist_ok=True)
    name = f"{session.graph.name}-{session.scheme.name}"
    program = place / f"{name}.c"
    program.write_text(source)
    elf = build([program], place / f"{name}.elf", toolchain=toolchain, kernels=kernels, projected=projected, itcm=itcm)
    return Firmware(planned, source, elf, toolchain)


def chosen_emulators(name: str | None, memory: str | None = None) -> list[str]:
    """The emulators to run on: one by name (None: the first that is here), or ``all`` that are; none is an error.

    With ``memory`` the first that can watch it for the timing model; of all, one has to.
    """
    if memory is not None and name in (None, "all"):
        able = [candidate for candidate in present() if watches(candidate, memory)]
        if not able:
            others = " or ".join(watching(watched(memory)))
            raise EmulatorMissing(f"no emulator that is here can count cycles with --memory {memory}; install {others}")
        return able[:1] if name is None else present()
    if name == "all":
        found = present()
        if not found:
            raise EmulatorMissing(f"no emulator is here; pip install 'goldgrad[board]' brings {next(iter(BACKENDS))}")
        return found
    found_one = find_emulator(name)
    if memory is not None:
        can_watch(found_one, watched(memory))
    return [found_one.name]


def watches(name: str, memory: str | None) -> bool:
    """Whether an emulator can count what the cycles that are wanted take."""
    return memory is not None and watched(memory) in backend(name).watches


def feeds(session: Session, sample: Mapping[str, Array], rate: float) -> dict[str, Array]:
    """What a host writes before a step, whether the program asks for it or not."""
    scalars = {"lr": float32([rate]), "mu": float32([session.mu]), "step": np.array([session.steps], np.int32)}
    return {**sample, **scalars}


@rule("MEAS-S8")
def train(
    session: Session,
    made: Firmware,
    samples: Samples,
    rate: float,
    emulator: str,
    progress: Progress | None = None,
    memory: str | None = None,
) -> BoardRun:
    """Train on the board and in the interpreter, and compare every kept tensor after every step, bit for bit.

    ``memory``, one of :data:`~goldgrad.board.timing.memory.KINDS`, has the timing model's cycles estimated as well.
    """
    trace = Trace()
    start, counts, steps = time.perf_counter(), Counter[int](), 0
    compared, difference, losses = 0, None, list[float]()
    with Board(made.elf, emulator, watch=None if memory is None else watched(memory)) as board:
        if memory is not None:
            board.emulator.trace()  # startup is nobody's step
        known = {buffer.name for buffer in board.program.buffers}
        for step, sample in enumerate(samples):
            outside = feeds(session, sample, rate)
            board.step({name: value for name, value in outside.items() if name in known})
            counts.update(board.instructions)
            if memory is not None:
                trace.update(board.emulator.trace())
            outputs = session.step(sample, rate)
            wanted = {**outputs, **{name: session.parameters[name] for name in session.graph.updates}}
            for name, value in wanted.items():
                compared += value.size
                if difference is None:
                    difference = _difference(name, value, board.read(name), step)
            losses.append(float(outputs["loss"][0]))
            steps += 1
            if progress:
                progress(step, losses[-1])
        found = measurement(board, counts, steps)
        images, version = board.memory(), backend(emulator).version()
    seconds = time.perf_counter() - start
    estimate = None if memory is None else estimated(made.elf, trace, memory)
    return BoardRun(
        emulator, version, found, difference is None, compared, difference, losses, seconds, images, estimate
    )


def estimated(elf: Elf, trace: Trace, memory: str) -> Estimate:
    """The timing model's cycles of what was watched."""
    from ..board.timing.cost import Model
    from ..board.timing.table import load

    return Model(load(), elf.load, memory, elf.functions).estimate(trace)


def _difference(name: str, value: Array, held: bytes, step: int) -> str | None:
    """The first element whose bits the board has otherwise."""
    if held == np.ascontiguousarray(value).tobytes():
        return None
    theirs = np.frombuffer(held, value.dtype).reshape(value.shape)
    size = value.dtype.itemsize
    bits = (np.ascontiguousarray(array).view(f"u{size}").reshape(-1) for array in (value, theirs))
    first = int(np.argmax(next(bits) != next(bits)))
    index = [int(i) for i in np.unravel_index(first, value.shape)]
    where = tuple(index)
    return f"step {step}, {name}{index}: {value[where]!r} in the interpreter, {theirs[where]!r} on the board"


@rule("MEAS-S8")
def disagreements(runs: Sequence[BoardRun]) -> list[str]:
    """In what several emulators differ, in a line each: instructions by region, memory images, stack."""
    first, faults = runs[0], list[str]()
    for other in runs[1:]:
        pair = f"{first.emulator} and {other.emulator}"
        for mine, theirs in zip(first.measurement.regions, other.measurement.regions, strict=True):
            if mine != theirs:
                counts = f"{mine.instructions:,} and {theirs.instructions:,}"
                faults.append(f"{pair} count {counts} instructions in {mine.name}")
        if first.measurement.between != other.measurement.between:
            faults.append(f"{pair} differ between operators")
        if first.measurement.sram != other.measurement.sram:
            faults.append(
                f"{pair} find {first.measurement.sram.stack} and {other.measurement.sram.stack} bytes of stack"
            )
        faults += [
            f"{pair} end with another {name}" for name in first.memory if first.memory[name] != other.memory[name]
        ]
    return faults


def document(session: Session, made: Firmware, runs: Sequence[BoardRun]) -> dict[str, Any]:
    """The content of ``--json``: what the first emulator measured, and what each found."""
    first = runs[0]
    return {
        "model": session.graph.name,
        "scheme": session.scheme.name,
        "steps": first.measurement.steps,
        "bit_exact": all(run.bit_exact for run in runs),
        "first_difference": next((run.first_difference for run in runs if run.first_difference), None),
        "compared": sum(run.compared for run in runs),
        **{k: v for k, v in first.measurement.as_json().items() if k in ("instructions", "regions", "sram", "flash")},
        "between": first.measurement.between,
        "emulator": first.emulator,
        "emulators": [{"name": run.emulator, "version": run.version, "seconds": run.seconds} for run in runs],
        "absent": {name: backend(name).missing() for name in BACKENDS if backend(name).missing()},
        "disagreements": disagreements(runs),
        "compiler": made.toolchain.version,
        "flags": list(made.toolchain.flags),
        "arena_bytes": made.plan.arena_bytes,
        "loss": first.loss,
        **_cycles(runs),
    }


@rule("TIM-S8")
def _cycles(runs: Sequence[BoardRun]) -> dict[str, Any]:
    """Cycles of all steps, and by region, from the first emulator that watched."""
    watched_by = next((run for run in runs if run.estimate), None)
    if watched_by is None or watched_by.estimate is None:
        return {}
    estimate = watched_by.estimate
    steps = estimate.as_json(estimate.total(BETWEEN))
    regions = [
        {"name": region.name, "op": region.op, "layer": region.layer, **estimate.regions[i].as_json()}
        for i, region in enumerate(watched_by.measurement.regions)
    ]
    return {"cycles": {**steps, "memory": estimate.memory, "emulator": watched_by.emulator, "regions": regions}}
