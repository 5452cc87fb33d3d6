"""The article's figures 20 and 21 as bar charts: published numbers beside goldgrad's own."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..board.memory_map import DTCM, SRAM
from .plan_picture import SETTINGS
from .published_numbers import PUBLISHED, REORDERING

if TYPE_CHECKING:
    from ..jobs.latency import Step
    from .figures import Row

KB = 1024
STAGE_COLOUR = {
    "sparse": "#d1544a",
    "reordered": "#f08c2e",
    "streamed forward": "#8fb7d8",
    "streamed backward": "#2f6f9f",
}
WORDS = {
    "sparse": "sparse, updates last",
    "reordered": "+ reordered, in place, fused",
    "streamed forward": "+ streamed forward",
    "streamed backward": "+ streamed backward",
}
PUBLISHED_COLOUR = "#5f6368"


def figure20(rows: Sequence[Row], _steps: Sequence[Step], suffix: str) -> bytes:
    """A panel a model, a group of bars a scheme, a bar a stage; published numbers as lines."""
    models = list(dict.fromkeys(row.model for row in rows))

    def draw(axes: Sequence[Any]) -> None:
        for axis, model in zip(axes, models, strict=True):
            _stages(axis, [row for row in rows if row.model == model])
        axes[0].set_ylabel("memory of a training step, KB")
        handles, labels = axes[0].get_legend_handles_labels()
        axes[0].figure.legend(handles, labels, loc="outside lower center", ncols=3)

    return render(draw, len(models), (6.2 * len(models) + 1, 6), suffix, True)


def _stages(axis: Any, rows: Sequence[Row]) -> None:
    (full, *own), published = rows, PUBLISHED[rows[0].model]
    width = 0.8 / len(STAGE_COLOUR)
    for position, (stage, colour) in enumerate(STAGE_COLOUR.items()):
        heights = [row.arena_bytes[stage] / KB for row in own]
        left = np.arange(len(own)) - 0.4 + width * position
        bars = axis.bar(left, heights, width, align="edge", color=colour, label=WORDS[stage])
        axis.bar_label(bars, [f"{height:.0f}" for height in heights], fontsize=7, padding=1)
    for kb, words, style in (
        (published.sparse_kb, "published: sparse", "--"),
        (published.reordered_kb, "published: sparse, reordered", ":"),
    ):
        axis.axhline(kb, color=PUBLISHED_COLOUR, linestyle=style, linewidth=1.2, label=words)
        axis.annotate(f"{kb}", (len(own) - 0.1, kb), (0, 2), textcoords="offset points", fontsize=8, ha="right")
    axis.set_xlim(-0.6, len(own) - 0.1)
    axis.set_xticks(range(len(own)), [row.scheme for row in own])
    least = full.arena_bytes["streamed backward"] / KB
    axis.set_title(
        f"{full.model}\nfull update: {full.arena_bytes['sparse'] / KB:,.0f} KB, with all passes {least:,.0f}; "
        f"published {published.full_kb:,}",
        fontsize=10,
        loc="left",
    )
    _clean(axis)


def figure21(rows: Sequence[Row], steps: Sequence[Step], suffix: str) -> bytes:
    """Peak memory by model, MCUNet before and after reordering, latency; ``steps`` are goldgrad's own on the board."""
    models = list(dict.fromkeys(row.model for row in rows))

    def draw(axes: Sequence[Any]) -> None:
        if steps:
            _sram(axes[0], models, steps)
        else:
            _peaks(axes[0], rows, models)
        _before_and_after(axes[1], [row for row in rows if row.model == "mcunet-5fps" and row.scheme != "full"])
        _latency(axes[2], models, steps)

    return render(draw, 3, (19, 6), suffix, False)


@dataclass(frozen=True)
class Series:
    """Bars of one colour, one a model; hatched where they are projected."""

    words: str
    colour: str
    heights: Sequence[float]
    projected: bool = False


def _bars(axis: Any, models: Sequence[str], series: Sequence[Series]) -> None:
    """Bars beside each other on a logarithmic scale, their numbers above them, the legend above all."""
    width = 0.84 / len(series)
    for position, each in enumerate(series):
        left = np.arange(len(models)) - 0.42 + width * position
        style = {"hatch": "///", "edgecolor": "white", "linewidth": 0} if each.projected else {}
        bars = axis.bar(left, each.heights, width, align="edge", color=each.colour, label=each.words, **style)
        axis.bar_label(bars, [f"{height:,.0f}" for height in each.heights], fontsize=7.5, padding=2, rotation=90)
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter(lambda value, _position: f"{value:,.0f}")
    axis.yaxis.set_minor_formatter(lambda _value, _position: "")
    axis.legend(fontsize=7.5, loc="upper center", ncols=2, framealpha=1)
    _clean(axis)


def _peaks(axis: Any, rows: Sequence[Row], models: Sequence[str]) -> None:
    """Published, and goldgrad's largest scheme."""
    last = {model: [row for row in rows if row.model == model][-1] for model in models}
    full = {row.model: row for row in rows if row.scheme == "full"}
    series = [*_published_peaks(models)]
    series.append(Series("goldgrad: full", "#f2b8b3", [full[m].arena_bytes["sparse"] / KB for m in models]))
    for stage, words in WORDS.items():
        if stage != "streamed forward":
            own = [last[m].arena_bytes[stage] / KB for m in models]
            series.append(Series(f"goldgrad: {words}", STAGE_COLOUR[stage], own))
    _bars(axis, models, series)
    axis.set_ylim(50, 30_000)
    axis.set_ylabel("peak memory, KB (logarithmic)")
    axis.set_xticks(range(len(models)), [f"{model}\n({last[model].scheme})" for model in models])
    axis.set_title("(a) peak memory; goldgrad's largest scheme", fontsize=10, loc="left")


def _published_peaks(models: Sequence[str]) -> Iterator[Series]:
    yield Series("published: full", "#b8bcc2", [PUBLISHED[m].full_kb for m in models])
    yield Series("published: sparse", "#8a8f96", [PUBLISHED[m].sparse_kb for m in models])
    yield Series("published: sparse, reordered", PUBLISHED_COLOUR, [PUBLISHED[m].reordered_kb for m in models])


CASES = (
    ("full, plain kernels", "#f2b8b3"),
    ("sparse, plain kernels", "#d0524a"),
    ("sparse, M7 kernels", "#2d6da0"),
)
"""Words and colours of goldgrad's own steps, in their order."""


def _own(models: Sequence[str], steps: Sequence[Step], value: Callable[[Step], float]) -> Iterator[Series]:
    """A series a case of goldgrad's own steps."""
    by_case = zip(*([step for step in steps if step.model == m] for m in models), strict=True)
    for (words, colour), case in zip(CASES, by_case, strict=True):
        projected = all(step.projected for step in case)
        mark = " (projected)" if projected else ""
        yield Series(f"goldgrad: {words}{mark}", colour, [value(step) for step in case], projected)


def _named(models: Sequence[str], steps: Sequence[Step]) -> list[str]:
    """Models, with goldgrad's sparse scheme of each."""
    scheme = {step.model: step.scheme for step in steps if step.scheme != "full"}
    return [f"{model}\n({scheme[model]})" if model in scheme else model for model in models]


def _sram(axis: Any, models: Sequence[str], steps: Sequence[Step]) -> None:
    """Published peaks, and all SRAM that goldgrad's steps take on the board."""
    series = [*_published_peaks(models), *_own(models, steps, lambda step: step.sram_bytes / KB)]
    there = (SRAM.size + DTCM.size) / KB
    axis.axhline(there, color="#333333", linestyle=":", linewidth=1.2, label=f"SRAM of the board: {there:.0f} KB")
    _bars(axis, models, series)
    axis.set_ylim(50, 30_000)
    axis.set_ylabel("peak memory, KB (logarithmic)")
    axis.set_xticks(range(len(models)), _named(models, steps))
    axis.set_title("(a) peak memory; goldgrad: arena, scratch, stack and data of a step", fontsize=10, loc="left")


def _before_and_after(axis: Any, rows: Sequence[Row]) -> None:
    names = [*(f"published,\n{r.accuracy} %" for r in REORDERING), *(f"goldgrad,\n{row.scheme}" for row in rows)]
    stages: Mapping[str, Sequence[float]] = {
        "sparse": [*(r.sparse_kb for r in REORDERING), *(row.arena_bytes["sparse"] / KB for row in rows)],
        "reordered": [*(r.reordered_kb for r in REORDERING), *(row.arena_bytes["reordered"] / KB for row in rows)],
        "streamed backward": [np.nan] * len(REORDERING) + [row.arena_bytes["streamed backward"] / KB for row in rows],
    }
    width = 0.8 / len(stages)
    for position, (stage, heights) in enumerate(stages.items()):
        left = np.arange(len(names)) - 0.4 + width * position
        bars = axis.bar(left, heights, width, align="edge", color=STAGE_COLOUR[stage], label=WORDS[stage])
        labels = ["" if np.isnan(height) else f"{height:.0f}" for height in heights]
        axis.bar_label(bars, labels, fontsize=7.5, padding=2, rotation=90)
    axis.axvline(len(REORDERING) - 0.5, color="#b8bcc2", linewidth=1)
    axis.set_ylim(0, 1.25 * axis.dataLim.ymax)
    axis.set_xticks(range(len(names)), names, fontsize=7.5)
    axis.set_ylabel("peak memory, KB")
    axis.set_title("(b) MCUNet-5FPS, by average accuracy (published) or scheme", fontsize=10, loc="left")
    axis.legend(fontsize=7.5)
    _clean(axis)


def _latency(axis: Any, models: Sequence[str], steps: Sequence[Step]) -> None:
    """Published bars, and where steps were measured goldgrad's."""
    series = [
        Series("TF Lite Micro, full (projected)", "#d7d9dc", [PUBLISHED[m].projected_full_ms for m in models], True),
        Series("TF Lite Micro, sparse", "#8a8f96", [PUBLISHED[m].tflm_sparse_ms for m in models]),
        Series("Tiny Training Engine, sparse", PUBLISHED_COLOUR, [PUBLISHED[m].sparse_ms for m in models]),
    ]
    if steps:
        series += _own(models, steps, lambda step: step.milliseconds)
    _bars(axis, models, series)
    axis.set_ylim(50, 200_000)
    axis.set_xticks(range(len(models)), _named(models, steps))
    axis.set_ylabel("ms of a training step at 216 MHz (logarithmic)")
    band = (
        f"; goldgrad: timing model {steps[0].timing_model}, ± {max(s.band_percent for s in steps):.0f} %"
        if steps
        else ""
    )
    axis.set_title(f"(c) latency{band}" if steps else "(c) published latency", fontsize=10, loc="left")


def _clean(axis: Any) -> None:
    axis.grid(axis="y", color="#e3e5e8", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def render(
    draw: Callable[[Sequence[Any]], None], panels: int, size: tuple[float, float], suffix: str, share: bool
) -> bytes:
    """A figure of panels beside each other as the content of a file."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    settings: Any = SETTINGS
    with mpl.rc_context(settings):
        figure, axes = plt.subplots(1, panels, figsize=size, layout="constrained", squeeze=False, sharey=share)
        draw(list(axes[0]))
        file = io.BytesIO()
        figure.savefig(file, format=suffix[1:], dpi=110, metadata={"Date": None} if suffix == ".svg" else None)
        plt.close(figure)
    return file.getvalue()
