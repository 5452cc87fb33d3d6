"""Picture of a training run: loss over steps, accuracy before and after."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..jobs.digits import Result

WINDOW = 100
"""Steps over which the drawn loss is averaged."""


def smooth(loss: Sequence[float]) -> list[float]:
    """The mean of each loss and up to WINDOW - 1 before it."""
    total = np.cumsum([0.0, *loss])
    return [float((total[i] - total[max(0, i - WINDOW)]) / min(i, WINDOW)) for i in range(1, len(total))]


def draw(results: Sequence[Result], path: Path) -> None:
    """Write the loss curves of one or more runs, and their accuracies, to an image file."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5), width_ratios=[1, 1], layout="constrained")
    colours = [f"C{i}" for i in range(len(results))]
    for result, colour in zip(results, colours, strict=True):
        style = "-" if result.qas else ":"
        left.plot(
            range(1, result.steps + 1), smooth(result.loss), style, color=colour, label=result.title, linewidth=1.2
        )
    left.set_yscale("log")
    left.set_xlabel("training step (one scan each)")
    left.set_ylabel(f"loss (mean over {WINDOW} steps)")
    left.grid(alpha=0.3)
    positions = np.arange(len(results))
    right.barh(positions, [100 * r.accuracy_after for r in results], color=colours)
    right.plot([100 * r.accuracy_before for r in results], positions, "k|", markersize=14, label="before training")
    for position, r in zip(positions, results, strict=True):
        right.annotate(f" {100 * r.accuracy_after:.1f}", (100 * r.accuracy_after, position), va="center")
    right.set_yticks(positions, [r.title for r in results])
    right.invert_yaxis()
    right.set_xlim(0, 100)
    right.set_xlabel("accuracy on held-out scans, %")
    right.legend(frameon=False, loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)
