"""What ``goldgrad run digits`` shows: progress while it runs, then what was found, a picture, a JSON file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ..errors import GoldgradError
from ..jobs import digits as job
from .curve import draw
from .files import check_outputs

KERNELS = ("c", "none")


def run(
    console: Console,
    scheme: str,
    kernels: str,
    steps: int,
    rate: float,
    picture: Path,
    document: Path | None,
    model_file: Path | None = None,
) -> int:
    """Train under one scheme, show what was found; 1 if the C kernels and the interpreter differ in a bit."""
    _check(kernels, steps, rate, picture, document)
    model, chosen = job.model(model_file), job.scheme(scheme)
    console.print(f"[bold]digits[/bold]: {job.TASK}")
    with progress(console, chosen.name, steps) as step:
        result = job.run(model, chosen, steps, rate, kernels == "c", progress=step)
    _write([result], picture, document, result.document())
    console.print(_table([result], None))
    console.print(sparkline(result.loss))
    console.print(_verdict(result))
    console.print(f"picture: {picture}" + (f", JSON: {document}" if document else ""))
    return 0 if result.bit_exact in (True, None) else 1


def compare(
    console: Console, steps: int, rate: float, picture: Path, document: Path | None, model_file: Path | None = None
) -> int:
    """Train under every scheme, with and without quantization-aware scaling, through the C kernels."""
    _check("c", steps, rate, picture, document)
    model, results = job.model(model_file), []
    console.print(f"[bold]digits[/bold]: {job.TASK}")
    for name in job.SCHEMES:
        with progress(console, name, steps) as step:
            results.append(job.run_c(model, job.scheme(name), steps, rate, progress=step))
    full, tried = results[0], []
    for name in job.WITHOUT_QAS:
        for other_rate in (rate, *job.RATES_WITHOUT_QAS):
            with progress(console, f"{name}, no QAS, rate {other_rate:g}", steps) as step:
                tried.append(job.run_c(model, job.scheme(name), steps, other_rate, qas=False, progress=step))
        mine = [result for result in tried if result.scheme == name]
        results += [mine[0], max(mine[1:], key=lambda result: result.accuracy_after)]
    _write(results, picture, document, {"runs": [r.document() for r in (*results[: len(job.SCHEMES)], *tried)]})
    console.print(_table(results, full))
    rates = ", ".join(f"{r:g}" for r in job.RATES_WITHOUT_QAS)
    console.print(f"Without QAS: at the same rate, then at the best of {rates}.")
    console.print("Bits were not compared here: every run used the C kernels alone.")
    console.print(f"picture: {picture}" + (f", JSON: {document}" if document else ""))
    return 0


def _check(kernels: str, steps: int, rate: float, *files: Path | None) -> None:
    if kernels not in KERNELS:
        raise GoldgradError(f"--kernels is {kernels!r}; use one of {', '.join(KERNELS)}")
    if steps < 1:
        raise GoldgradError(f"--steps is {steps}; give at least 1")
    if not 0 < rate < float("inf"):
        raise GoldgradError(f"--rate is {rate}; give a positive number")
    check_outputs(*files)


def _write(results: Sequence[job.Result], picture: Path, document: Path | None, content: object) -> None:
    try:
        draw(results, picture)
        if document is not None:
            document.parent.mkdir(parents=True, exist_ok=True)
            document.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    except (OSError, ValueError) as error:
        raise GoldgradError(f"the result cannot be written ({error}); name another file") from None


@contextmanager
def progress(console: Console, title: str, steps: int) -> Iterator[Callable[[int, float], None]]:
    """A bar in a terminal; elsewhere a line now and then."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(title, total=steps)
        recent: list[float] = []

        def step(index: int, loss: float) -> None:
            recent.append(loss)
            mean = sum(recent[-50:]) / len(recent[-50:])
            bar.update(task, completed=index + 1, description=f"{title}: loss {mean:.3f}")
            if not console.is_terminal and (index + 1) % max(1, steps // 4) == 0:
                console.print(f"{title}: step {index + 1} of {steps}, loss {mean:.3f} (mean of the last 50)")

        yield step


def _table(results: Sequence[job.Result], full: job.Result | None) -> Table:
    table = Table(caption=f"accuracy on {job.held_out_count()} held-out scans of the new task", caption_justify="left")
    columns = ["update", "bytes trained", "rate", "steps", "accuracy before", "after", "gain"]
    for column in (*columns, "of full" if full else "seconds"):
        table.add_column(column, justify="left" if column == "update" else "right")
    for r in results:
        row = [r.label, f"{r.trained_bytes:,}", f"{r.rate:g}", f"{r.steps:,}"]
        row += [f"{100 * r.accuracy_before:.1f} %", f"{100 * r.accuracy_after:.1f} %", f"{100 * r.gain:+.1f}"]
        table.add_row(*row, f"{100 * r.gain / full.gain:.0f} %" if full else f"{r.seconds:.1f}")
    return table


BARS = "▁▂▃▄▅▆▇█"


def sparkline(loss: Sequence[float], width: int = 60) -> str:
    """The loss curve in a line of text: means of equal stretches."""
    count = min(width, len(loss))
    edges = [round(i * len(loss) / count) for i in range(count + 1)]
    means = [sum(loss[a:b]) / (b - a) for a, b in pairwise(edges)]
    top = max(means) or 1.0
    line = "".join(BARS[min(7, int(8 * mean / top))] for mean in means)
    return f"loss {means[0]:.3f} {line} {means[-1]:.3f}"


def _verdict(result: job.Result) -> str:
    if result.bit_exact is None:
        return "bit-exact: not compared (--kernels none: the interpreter ran alone)"
    if result.bit_exact:
        return (
            f"[green]bit-exact[/green]: interpreter and C kernels agreed in every bit of {result.compared:,} "
            f"values of weights, biases, logits and losses over {result.steps:,} steps"
        )
    return f"[red]not bit-exact[/red]: interpreter and C kernels differ, first at {result.first_difference}"
