"""What ``goldgrad run MODEL --board stm32f746`` shows: bits, instructions, memory, and two pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ..board.emulators import BACKENDS
from ..board.errors import EmulatorDied
from ..board.memory_map import DTCM, FLASH, ITCM, SRAM
from ..board.timing.memory import watched
from ..errors import GoldgradError
from ..jobs import digits, on_board
from ..kernels import check_set
from ..models import digits as digits_data
from ..training import Session
from . import cycles
from .console import console as wide
from .digits import progress, sparkline
from .files import check_outputs, write_json

BOARDS = ("stm32f746",)
STEPS = {"digits": 500}
"""How many steps a model trains unless told; others: one."""
PEER = {
    ("mcunet-5fps", "49kb"): {"instructions": 106_373_300, "sram": 253_296, "flash": 662_324},
}
"""TinyEngine's released program for the same network and scheme, counted the same way (docs/board.md)."""


SHARE = 0.005
"""Operators with less than this share of a step are drawn as one."""


@dataclass(frozen=True)
class Wanted:
    """What the command line asks for."""

    model: str
    scheme: str
    board: str
    emulator: str | None
    steps: int | None
    rate: float
    weights: Path | None
    model_file: Path | None
    kernels: str | None
    keep: Path | None
    picture: Path
    document: Path | None
    memory: str | None = None
    """Where the timing model takes code and data to be; None: no cycles."""
    room: int = 0
    """Bytes that the plan may take for speed, beyond the least."""
    itcm: bool = True
    """Whether some of the kernels run from ITCM."""


def run(console: Console, wanted: Wanted) -> int:
    """Train on the board and show what was found; 1 if a bit or an emulator differs."""
    steps = _check(wanted)
    names = on_board.chosen_emulators(wanted.emulator, wanted.memory)
    kernels = wanted.kernels or on_board.KERNELS
    made = on_board.firmware(_session(wanted), wanted.keep, kernels=kernels, room=wanted.room, itcm=wanted.itcm)
    count = f"{steps:,} step{'s' if steps > 1 else ''}"
    console.print(f"[bold]{wanted.model}[/bold], scheme {wanted.scheme}: {count} on an emulated STM32F746")
    console.print(f"kernels: {kernels}; compiler: {made.toolchain.version}")
    runs, accuracies, died = [], [], list[EmulatorDied]()
    for name in names:
        session = _session(wanted)
        before = _accuracy(wanted, session)
        with progress(console, f"{wanted.model} on {name}", steps) as step:
            memory = wanted.memory if on_board.watches(name, wanted.memory) else None
            samples = on_board.samples(wanted.model, session, steps)
            try:
                runs.append(on_board.train(session, made, samples, wanted.rate, name, step, memory))
            except EmulatorDied as error:  # what the others find is shown all the same
                died.append(error)
                continue
        accuracies.append((before, _accuracy(wanted, session)))
    if not runs:
        raise died[0]
    content = on_board.document(_session(wanted), made, runs)
    content |= {
        "kernels": kernels,
        "accuracy_before": accuracies[0][0],
        "accuracy_after": accuracies[0][1],
        "rate": wanted.rate,
        "died": [str(error) for error in died],
    }
    timed = next((run_ for run_ in runs if run_.estimate), None)
    pictures = _draw(made, runs[0], timed, wanted.picture)
    if wanted.document:
        write_json(wanted.document, content)
    for table in (_operators(runs[0]), _memory(runs[0], made)):
        console.print(table)
    if timed:
        wide().print(cycles.operators(timed))
    _say(console, wanted, runs, accuracies[0], content)
    written = [*pictures, *([wanted.document] if wanted.document else []), *([wanted.keep] if wanted.keep else [])]
    console.print(f"written: {', '.join(map(str, written))}")
    if died:
        raise died[0]
    return 0 if content["bit_exact"] and not content["disagreements"] else 1


def _check(wanted: Wanted) -> int:
    """The number of steps; whatever cannot be is an error before anything is trained."""
    if wanted.board not in BOARDS:
        raise GoldgradError(f"there is no board {wanted.board!r}; use {', '.join(BOARDS)}")
    if wanted.kernels is not None:
        check_set(wanted.kernels)
    if wanted.emulator not in (None, "all", *BACKENDS):
        raise GoldgradError(f"there is no emulator {wanted.emulator!r}; use {', '.join(BACKENDS)} or all")
    steps = STEPS.get(wanted.model, 1) if wanted.steps is None else wanted.steps
    if steps < 1:
        raise GoldgradError(f"--steps is {steps}; give at least 1")
    if wanted.memory is not None:
        watched(wanted.memory)
    if not 0 < wanted.rate < float("inf"):
        raise GoldgradError(f"--rate is {wanted.rate}; give a positive number")
    check_outputs(wanted.picture, wanted.document)
    return steps


def _session(wanted: Wanted) -> Session:
    return on_board.session(wanted.model, wanted.scheme, wanted.weights, wanted.model_file)


def _accuracy(wanted: Wanted, session: Session) -> float | None:
    return digits.accuracy(session, digits_data.new_scans()[1]) if wanted.model == "digits" else None


# --- tables --------------------------------------------------------------------------------------------------------


def by_operator(run_: on_board.BoardRun) -> dict[str, int]:
    """Instructions a step (a mean), by operator."""
    counts: Counter[str] = Counter()
    for region in run_.measurement.regions:
        counts[region.op] += region.instructions
    counts["between operators"] = run_.measurement.between
    return {name: round(count / run_.measurement.steps) for name, count in counts.most_common()}


def _operators(run_: on_board.BoardRun) -> Table:
    table = Table(caption="instructions of a step, exact; of several steps the mean", caption_justify="left")
    for column in ("operator", "nodes", "instructions", ""):
        table.add_column(column, justify="left" if column == "operator" else "right")
    nodes = Counter(region.op for region in run_.measurement.regions)
    counts = by_operator(run_)
    total = sum(counts.values())
    for name, count in counts.items():
        table.add_row(name, str(nodes[name] or ""), f"{count:,}", f"{100 * count / total:.1f} %")
    table.add_section()
    table.add_row(
        "a step", str(sum(nodes.values())), f"{round(run_.measurement.instructions / run_.measurement.steps):,}", ""
    )
    return table


def _memory(run_: on_board.BoardRun, made: on_board.Firmware) -> Table:
    m = run_.measurement
    table = Table(caption="bytes; the stack as it was measured, all else as it was linked", caption_justify="left")
    for column in ("memory", "bytes", "of"):
        table.add_column(column, justify="left" if column == "memory" else "right")
    table.add_row("arena", f"{m.sram.arena:,}", f"{SRAM.size:,} {SRAM.name}")
    for name in ("scratch", "stack", "data", "bss"):
        table.add_row(
            name if name in ("scratch", "stack") else f".{name}",
            f"{getattr(m.sram, name):,}",
            f"{DTCM.size:,} {DTCM.name}",
        )
    table.add_row("[bold]SRAM[/bold]", f"[bold]{m.sram.total:,}[/bold]", f"{SRAM.size + DTCM.size:,}")
    table.add_section()
    table.add_row("code", f"{m.flash.itcm:,}", f"{ITCM.size:,} {ITCM.name}")
    table.add_section()
    for name in ("text", "itcm", "rodata", "data"):
        table.add_row(f".{name}", f"{getattr(m.flash, name):,}", "")
    table.add_row("[bold]flash[/bold]", f"[bold]{m.flash.total:,}[/bold]", f"{FLASH.size:,}")
    return table


def _say(
    console: Console,
    wanted: Wanted,
    runs: list[on_board.BoardRun],
    accuracy: tuple[float | None, float | None],
    content: Mapping[str, Any],
) -> None:
    """The verdicts, a line each."""
    first = runs[0]
    for run_ in runs:
        for line in cycles.outside(run_.estimate) if run_.estimate else []:
            console.print(f"[yellow]outside the timing model[/yellow]: {line}")
    if len(first.loss) > 1:
        console.print(sparkline(first.loss))
    before, after = accuracy
    if before is not None and after is not None:
        count = digits.held_out_count()
        console.print(f"accuracy on {count} held-out scans: {100 * before:.1f} % before, {100 * after:.1f} % after")
    for run_ in runs:
        steps = run_.measurement.steps
        if run_.bit_exact:
            console.print(
                f"[green]bit-exact[/green]: {run_.emulator} and the interpreter agreed in every bit of "
                f"{run_.compared:,} values of weights, biases, logits and losses over {steps:,} "
                f"step{'s' if steps > 1 else ''} ({run_.seconds:.1f} s)"
            )
        else:
            console.print(f"[red]not bit-exact[/red] on {run_.emulator}, first at {run_.first_difference}")
    for line in content["disagreements"]:
        console.print(f"[red]emulators disagree[/red]: {line}")
    if len(runs) > 1 and not content["disagreements"]:
        names = ", ".join(run_.emulator for run_ in runs)
        console.print(f"[green]the same[/green] instructions, memory and stack on {names}")
    if wanted.emulator == "all":
        for name, reason in content["absent"].items():
            console.print(f"[yellow]not run[/yellow] on {name}: {reason}")
    peer = PEER.get((wanted.model, wanted.scheme))
    if peer:
        m = first.measurement
        ours = {"instructions": m.instructions / m.steps, "sram": m.sram.total, "flash": m.flash.total}
        ratios = ", ".join(f"{name} {ours[name] / value:.2f} x {value:,}" for name, value in peer.items())
        console.print(f"beside TinyEngine's released program: {ratios}")


# --- pictures ------------------------------------------------------------------------------------------------------


def _draw(made: on_board.Firmware, run_: on_board.BoardRun, timed: on_board.BoardRun | None, path: Path) -> list[Path]:
    """Instructions by operator, memory over time with the measured stack, and cycles; the others beside the first."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    memory = path.with_name(f"{path.stem}-memory{path.suffix}")
    figures = [(path, _instructions_picture(plt, made, run_)), (memory, _memory_picture(plt, made, run_))]
    if timed:
        beside = path.with_name(f"{path.stem}-cycles{path.suffix}")
        figures.append((beside, cycles.picture(plt, made.plan.graph.name, timed)))
    try:
        for target, drawn in figures:
            target.parent.mkdir(parents=True, exist_ok=True)
            drawn.savefig(target, dpi=120)
            plt.close(drawn)
    except (OSError, ValueError) as error:
        raise GoldgradError(f"the picture cannot be written ({error}); name another file") from None
    return [target for target, _ in figures]


def _instructions_picture(plt: Any, made: on_board.Firmware, run_: on_board.BoardRun) -> Any:
    counts = by_operator(run_)
    total = sum(counts.values())
    shown = {name: count for name, count in counts.items() if count >= SHARE * total}
    shown["all others"] = total - sum(shown.values())
    figure, axis = plt.subplots(figsize=(9, 0.4 * len(shown) + 1.5), layout="constrained")
    bars = axis.barh(list(shown)[::-1], [count / 1e6 for count in shown.values()][::-1], color="C0")
    axis.bar_label(bars, [f" {count / 1e6:,.2f}  ({100 * count / total:.1f} %)" for count in shown.values()][::-1])
    axis.margins(x=0.15)
    axis.set_xlabel("million instructions a step")
    axis.set_title(f"{made.plan.graph.name}: {total:,} instructions a step on {run_.emulator}")
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def _memory_picture(plt: Any, made: on_board.Firmware, run_: on_board.BoardRun) -> Any:
    live, m = made.plan.profile.live, run_.measurement.sram
    fixed = {"stack (measured)": m.stack, ".bss and .data": m.bss + m.data, "kernel scratch": m.scratch}
    figure, axis = plt.subplots(figsize=(9, 4.8), layout="constrained")
    times, base = range(len(live) + 1), 0.0
    for i, (name, size) in enumerate(fixed.items()):
        style = {"step": "post", "label": f"{name}: {size:,} B", "color": f"C{i + 1}"}
        axis.fill_between(times, base / 1024, (base + size) / 1024, **style)
        base += size
    levels = [(base + nbytes) / 1024 for nbytes in (*live, live[-1])]
    axis.fill_between(times, base / 1024, levels, step="post", label=f"live in the arena of {m.arena:,} B", color="C0")
    axis.axhline((base + m.arena) / 1024, color="black", linewidth=1, label=f"SRAM in all: {m.total:,} B")
    axis.set_xlabel("node of the step")
    axis.set_ylabel("KiB")
    axis.set_title(f"{made.plan.graph.name}: memory over a step")
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return figure
