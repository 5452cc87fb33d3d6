"""What ``goldgrad bench step`` and ``bench streaming`` show: a step of training by layer, and what streaming costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ..board.timing.cost import CLOCK_HZ
from ..errors import GoldgradError, show
from ..jobs import latency
from ..jobs.bench import SCHEMES
from ..jobs.latency import STAGES, Step, Streaming
from ..kernels import check_set
from .bench_pictures import by_layer
from .console import tell_files
from .files import as_json, check_outputs, write_files, write_json
from .functions import by_function, listed
from .plan_picture import check_formats

PEERS_STEP = ("mcunet-5fps", "49kb")
"""The step that a program of TinyEngine is published of."""
MOST_PERCENT = 10
"""By how much streaming may add to a step's cycles (docs/fast-kernels.md)."""


def step(
    console: Console,
    model: str,
    scheme: str | None,
    kernels: str,
    room: int,
    functions: bool,
    document: Path | None,
    pictures: Sequence[Path],
) -> int:
    """Take a step and show its layers, and its C functions if asked; 1 if its bits are not the interpreter's."""
    check_set(kernels)
    check_formats(pictures)
    check_outputs(document, *pictures)
    taken = latency.take(model, scheme or latency.scheme_of_100_kb(model), kernels, room=room)
    contents = {picture: by_layer(taken, picture.suffix) for picture in pictures}
    if document:
        more = {"functions": listed(taken.profile)} if functions else {}
        contents[document] = as_json({**taken.as_json(), **more})
    write_files(contents)
    console.print(_layers(taken))
    if functions:
        console.print(by_function(taken.profile))
    console.print(_exact([taken]))
    tell_files(console, pictures, document)
    return int(not taken.bit_exact)


def _layers(taken: Step) -> Table:
    table = Table(box=SIMPLE_HEAD, caption_justify="left")
    table.caption = (
        f"{taken.model}, {taken.scheme}, {taken.kernels} kernels: thousands of cycles by the timing model "
        f"{taken.timing_model}, ± {taken.band_percent:g} %, code and data without wait states"
        f"{'; projected: it does not fit' if taken.projected else ''}"
    )
    for column in ("layer", "", *STAGES, "all", "ms"):
        table.add_column(column, justify="left" if column in ("layer", "") else "right")
    for name, stages in taken.layers.items():
        table.add_row(name, taken.kinds.get(name, ""), *_numbers(stages, sum(stages.values())))
    between = taken.cycles - sum(taken.stages.values())
    table.add_section()
    table.add_row("between operators", "", *_numbers({}, between))
    table.add_row("a step", "", *_numbers(taken.stages, taken.cycles), style="bold")
    return table


def _numbers(stages: Mapping[str, int], whole: int) -> list[str]:
    parts = [f"{stages[stage] / 1e3:,.1f}" if stages.get(stage) else "" for stage in STAGES]
    return [*parts, f"{whole / 1e3:,.1f}", f"{1e3 * whole / CLOCK_HZ:,.2f}"]


def streaming(console: Console, programs: Sequence[str], kernels: str, room: int, document: Path | None) -> int:
    """Take steps both ways, of the networks under schemes of about 100 KB and of PEERS_STEP unless others are named."""
    check_set(kernels)
    check_outputs(document)
    cases = [_case(text) for text in programs] or [PEERS_STEP, *SCHEMES.items()]
    found = [latency.streaming(model, scheme, kernels, room) for model, scheme in cases]
    console.print(_costs(found))
    console.print(_exact([step for each in found for step in (each.whole, each.streamed)]))
    over = [f"{each.streamed.model}, {each.streamed.scheme}" for each in found if each.percent > MOST_PERCENT]
    if over:
        words = f"above {MOST_PERCENT} %: {'; '.join(over)}; --room BYTES gives streamed blocks more memory"
        console.print(f"[yellow]{words}[/yellow]", soft_wrap=True)
    if document:
        write_json(document, {"kernels": kernels, "room": room, "steps": [each.as_json() for each in found]})
    return int(not all(each.whole.bit_exact and each.streamed.bit_exact for each in found))


def _costs(found: Sequence[Streaming]) -> Table:
    table = Table(box=SIMPLE_HEAD, caption_justify="left")
    table.caption = (
        "whole: each operator once, on whole maps, in the best order and in place; streamed: as planned for the board, "
        "where blocks are streamed that memory asks for. Arena in bytes; thousands of cycles without wait states. "
        "* projected: it does not fit"
    )
    for column in ("step", "arena, whole", "streamed", "", "cycles, whole", "streamed", "", "forward", "the rest"):
        table.add_column(column, justify="left" if column == "step" else "right")
    for each in found:
        whole, streamed = each.whole, each.streamed
        forward = [step.stages["forward"] for step in (whole, streamed)]
        rest = [step.cycles - step.stages["forward"] for step in (whole, streamed)]
        table.add_row(
            f"{streamed.model}, {streamed.scheme}",
            f"{whole.arena_bytes:,}{' *' if whole.projected else ''}",
            f"{streamed.arena_bytes:,}",
            _percent(whole.arena_bytes, streamed.arena_bytes),
            f"{whole.cycles / 1e3:,.1f}",
            f"{streamed.cycles / 1e3:,.1f}",
            f"[bold]{_percent(whole.cycles, streamed.cycles)}[/bold]",
            _percent(*forward),
            _percent(*rest),
        )
    return table


def _percent(old: int, new: int) -> str:
    return f"{100 * (new - old) / old:+.1f} %"


def _exact(steps: Sequence[Step]) -> str:
    exact = sum(step.bit_exact for step in steps)
    return f"{exact} of {len(steps)} step{'s' * (len(steps) > 1)} bit-exact with the interpreter"


def _case(text: str) -> tuple[str, str]:
    model, _, scheme = text.partition(":")
    if not model or not scheme:
        raise GoldgradError(f"--program is {show(text)}; write MODEL:SCHEME, for example mcunet-5fps:49kb")
    return model, scheme
