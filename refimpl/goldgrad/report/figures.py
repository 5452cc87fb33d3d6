"""What ``goldgrad report figure20`` and ``figure21`` show: published numbers beside goldgrad's own, stage by stage."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import starmap
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from .. import schemes
from ..board.toolchain import find_toolchain
from ..errors import GoldgradError, show
from ..jobs import latency
from ..jobs.latency import Step
from ..memory.plan import CHOICES, plan
from ..models import architecture
from . import figure_pictures, kept
from .console import kb, tell_files
from .files import as_json, check_outputs, write_files
from .plan_picture import check_formats
from .planned import training_graph
from .published_numbers import (
    DIFFERENCES,
    FORWARD_COUNTS,
    KINDS,
    PUBLISHED,
    RELEASED_ARENA,
    RELEASED_DATA,
    REORDERING,
    SOURCE,
)

STAGES: Mapping[str, Collection[str]] = {
    "sparse": CHOICES,
    "reordered": ("stream-forward", "stream-backward"),
    "streamed forward": ("stream-backward",),
    "streamed backward": (),
}
"""Stages of compilation, and the passes that each leaves out."""
HEADINGS = ("no passes:\nupdates last", "reordered,\nin place, fused", "+ streamed\nforward", "+ streamed\nbackward")
FULL = "full"


@dataclass(frozen=True)
class Row:
    """A model under a scheme: bytes by stage, and what any way needs that computes nothing twice."""

    model: str
    scheme: str
    arena_bytes: Mapping[str, int]
    live_peak_bytes: Mapping[str, int]
    floor_bytes: int


def measure(
    models: Sequence[str], tell: Callable[[str], None] = lambda what: None, each: latency.Each = starmap
) -> list[Row]:
    """Plan each model under the full update and each of its schemes, stage by stage; ``each`` as in latency."""
    cases = [(name, scheme) for name in models for scheme in (FULL, *schemes.names(name))]
    rows = []
    for row in each(_row, cases):
        tell(f"{row.model}, {row.scheme}: planned")
        rows.append(row)
    return rows


def _row(name: str, scheme: str) -> Row:
    model = architecture(name).model()
    graph, arena, live, floor = training_graph(model, schemes.named(model, scheme)), {}, {}, 0
    for stage, without in STAGES.items():
        found = plan(graph, without)
        arena[stage], live[stage], floor = found.arena_bytes, found.live_peak_bytes, found.floor_bytes
    return Row(name, scheme, arena, live, floor)


Tables = Callable[[Sequence[Row], Sequence[Step]], Iterator[Table | str]]
Draw = Callable[[Sequence[Row], Sequence[Step], str], bytes]


def run(
    console: Console,
    figure: str,
    models: Sequence[str],
    document: Path | None,
    pictures: Sequence[Path],
    on_board: bool = False,
) -> int:
    """Measure, show a figure's tables, write the files; ``on_board`` also measures steps on the emulated board."""
    tables, draw = FIGURES[figure]
    for name in models:
        if name not in PUBLISHED:
            raise GoldgradError(f"nothing is published of {show(name)}; use {', '.join(PUBLISHED)}")
    check_formats(pictures)
    check_outputs(document, *pictures)
    rows, steps = _measure(console, list(dict.fromkeys(models or PUBLISHED)), on_board)
    contents = {picture: draw(rows, steps, picture.suffix) for picture in pictures}
    if document is not None:
        contents[document] = as_json(content(figure, rows, steps))
    write_files(contents)
    for part in (*tables(rows, steps), *_notes(rows)):
        console.print(part)
    tell_files(console, pictures, document)
    return 0


def _measure(console: Console, models: Sequence[str], on_board: bool) -> tuple[list[Row], list[Step]]:
    """With a bar in a terminal, and a process a core; what was measured before of the same sources is not again."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    total = sum(1 + len(schemes.names(name)) for name in models) + len(latency.CASES) * len(models) * on_board
    with (
        Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar,
        ProcessPoolExecutor(mp_context=get_context("spawn")) as pool,
    ):
        task = bar.add_task("", total=total)

        def tell(what: str) -> None:
            bar.update(task, advance=1, description=what)

        plans = f"{kept.sources(False)} {STAGES}"
        rows = measure(models, tell, partial(kept.each, pool, Row, content=plans))
        if not on_board:
            return rows, []
        tools = find_toolchain()
        runs = f"{kept.sources(True)} {tools.version} {tools.flags}"
        return rows, latency.measure(models, tell, partial(kept.each, pool, Step, content=runs))


def content(figure: str, rows: Sequence[Row], steps: Sequence[Step] = ()) -> dict[str, Any]:
    """The content of ``--json``: goldgrad's bytes, and what is published, in KB and milliseconds."""
    models = dict.fromkeys(row.model for row in rows)
    return {
        "figure": figure,
        "source": SOURCE,
        "differences": list(DIFFERENCES),
        "published": {name: asdict(PUBLISHED[name]) for name in models},
        "published_reordering": [asdict(r) for r in REORDERING] if "mcunet-5fps" in models else [],
        "goldgrad": [asdict(row) for row in rows],
        "steps": [step.as_json() for step in steps],
    }


# --- tables ------------------------------------------------------------------------------------------------------


def figure20(rows: Sequence[Row], _steps: Sequence[Step] = ()) -> Iterator[Table | str]:
    """Memory by stage: without passes, reordered, streamed."""
    yield "[bold]Figure 20: memory of a training step in KB, by what the compiler does[/]"
    table = _table("model", "update")
    for heading in (*HEADINGS, "floor"):
        table.add_column(heading, justify="right")
    for name in dict.fromkeys(row.model for row in rows):
        published = PUBLISHED[name]
        for row in (row for row in rows if row.model == name):
            if row.scheme == FULL:
                table.add_row("", "[dim]published: full[/]", _dim(published.full_kb), "", "", "", "")
            arenas = [_kb(nbytes) for nbytes in row.arena_bytes.values()]
            table.add_row(name if row.scheme == FULL else "", row.scheme, *arenas, _kb(row.floor_bytes))
            if row.scheme == FULL:
                numbers = (_dim(published.sparse_kb), _dim(published.reordered_kb))
                table.add_row("", "[dim]published: sparse[/]", *numbers, "", "", "")
        table.add_section()
    yield table


def figure21(rows: Sequence[Row], steps: Sequence[Step] = ()) -> Iterator[Table | str]:
    """Peak memory and latency: full update, sparse, sparse with all that the compiler does."""
    by_model = {name: [row for row in rows if row.model == name] for name in dict.fromkeys(row.model for row in rows)}
    yield "[bold]Figure 21 (a): peak memory in KB, and how much less than the full update's[/]"
    table = _table("model", "by")
    for heading in ("full update", "sparse", "sparse,\nreordered", "sparse,\nreordered, streamed"):
        table.add_column(heading, justify="right")
    for name, (full, *own) in by_model.items():
        p, whole = PUBLISHED[name], full.arena_bytes["sparse"]
        less = [f"{kb_} ({p.full_kb / kb_:.1f}x)" for kb_ in (p.sparse_kb, p.reordered_kb)]
        table.add_row(name, "published", f"{p.full_kb:,}", *less, "")
        for row in own:
            stages = [row.arena_bytes[stage] for stage in ("sparse", "reordered", "streamed backward")]
            numbers = [f"{_kb(nbytes)} ({whole / nbytes:.1f}x)" for nbytes in stages]
            table.add_row("", f"goldgrad, {row.scheme}", _kb(whole), *numbers)
        table.add_section()
    yield table
    if "mcunet-5fps" in by_model:
        yield "[bold]Figure 21 (b): peak memory of MCUNet-5FPS in KB, before and after reordering[/]"
        yield _reordering(by_model["mcunet-5fps"])
    yield "[bold]Figure 21 (c): milliseconds of a training step at 216 MHz[/]"
    yield _latency(list(by_model), steps)
    yield from latency_notes(steps)
    forward = [step for step in steps if step.model == "mcunet-5fps" and step.scheme != FULL]
    if forward:
        yield "[bold]Forward pass of MCUNet-5FPS, million instructions by kind of layer[/]"
        yield _forward(forward)


def _reordering(rows: Sequence[Row]) -> Table:
    table = _table("by", "update")
    for heading in ("before", "after", "and streamed"):
        table.add_column(heading, justify="right")
    for r in REORDERING:
        table.add_row("published", f"average accuracy {r.accuracy} %", f"{r.sparse_kb}", f"{r.reordered_kb}", "")
    for row in rows:
        if row.scheme != FULL:
            stages = [row.arena_bytes[stage] for stage in ("sparse", "reordered", "streamed backward")]
            table.add_row("goldgrad", row.scheme, *map(_kb, stages))
    return table


def _latency(models: Sequence[str], steps: Sequence[Step]) -> Table:
    table = _table("model", "by")
    for heading in ("full,\nplain kernels", "sparse,\nplain kernels", "sparse,\nfast kernels"):
        table.add_column(heading, justify="right")
    for name in models:
        p = PUBLISHED[name]
        table.add_row(name, "published", f"{p.projected_full_ms:,} *", f"{p.tflm_sparse_ms:,}", f"{p.sparse_ms:,}")
        own = [step for step in steps if step.model == name]
        if own:
            scheme = next(step.scheme for step in own if step.scheme != FULL)
            marked = [f"{step.milliseconds:,.0f}{' *' if step.projected else ''}" for step in own]
            table.add_row("", f"goldgrad, {scheme}", *marked)
            table.add_row("", "  million instructions", *(f"{step.instructions / 1e6:,.1f}" for step in own))
            table.add_row("", "  SRAM, KB", *(_kb(step.sram_bytes) for step in own))
        table.add_section()
    return table


def latency_notes(steps: Sequence[Step]) -> Iterator[str]:
    """What the milliseconds are, and that every step had the interpreter's bits."""
    yield "* projected: it does not fit. Published: TF Lite Micro full and sparse, Tiny Training Engine sparse."
    if not steps:
        yield "goldgrad's own steps on the board: --on-board"
        return
    first, exact = steps[0], sum(step.bit_exact for step in steps)
    bands = [step.band_percent for step in steps]
    yield (
        f"goldgrad: cycles by the timing model {first.timing_model}, code and data without wait states, ± "
        f"{min(bands):.1f} to {max(bands):.1f} %; {exact} of {len(steps)} steps bit-exact with the interpreter"
    )
    yield "goldgrad, projected: as on a board with more SRAM than there is, of the same code (BOARD-M3)"


def _forward(steps: Sequence[Step]) -> Table:
    table = _table("kernels")
    for heading in (*KINDS, "all"):
        table.add_column(heading, justify="right")
    counts = dict(FORWARD_COUNTS)
    counts |= {f"goldgrad, {step.kernels}": tuple(step.forward[kind] / 1e6 for kind in KINDS) for step in steps}
    for name, numbers in counts.items():
        table.add_row(name, *(f"{number:,.1f}" for number in (*numbers, sum(numbers))))
    return table


def _notes(rows: Sequence[Row]) -> Iterator[str]:
    """What is counted otherwise, and how far arenas are above the bytes that live."""
    yield f"Published: {SOURCE}. What differs:"
    for line in DIFFERENCES:
        yield f"- {line}"
    if any((row.model, row.scheme) == ("mcunet-5fps", "49kb") for row in rows):
        yield (
            f"- released program for mcunet-5fps, 49kb: an arena of {kb(RELEASED_ARENA)} and initialized data of "
            f"{kb(RELEASED_DATA)}"
        )
    gaps = [
        (row.arena_bytes[stage] - row.live_peak_bytes[stage], f"{row.model}, {row.scheme}, {stage}")
        for row in rows
        for stage in STAGES
    ]
    apart = [gap for gap in gaps if gap[0]]
    yield f"Arena and live peak are equal in {len(gaps) - len(apart)} of {len(gaps)} plans." + (
        f" The largest gap: {max(apart)[0]:,} bytes ({max(apart)[1]})." if apart else ""
    )


def _table(*columns: str) -> Table:
    return Table(*columns, box=SIMPLE_HEAD)


def _kb(nbytes: int) -> str:
    return f"{nbytes / 1024:,.1f}"


def _dim(number: int) -> str:
    return f"[dim]{number:,}[/]"


FIGURES: Mapping[str, tuple[Tables, Draw]] = {
    "figure20": (figure20, figure_pictures.figure20),
    "figure21": (figure21, figure_pictures.figure21),
}
"""The figures of the article by name: their tables and their picture."""
