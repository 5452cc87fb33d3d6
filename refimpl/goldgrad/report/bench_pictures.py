"""Two pictures of what kernels cost: a roofline of every shape, and the layers of a training step by stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..board.timing.cost import CLOCK_HZ
from ..board.timing.table import load
from ..jobs.limits import LOADS, MAC_FUNCTIONS, WORD, moved, multiplied
from .figure_pictures import render

if TYPE_CHECKING:
    from ..jobs.bench import Measured
    from ..jobs.latency import Step

KINDS: Mapping[str, tuple[str, str, str]] = {
    "pointwise": ("#2f6f9f", "o", "pointwise, forward"),
    "convolution": ("#123f63", "P", "convolution, forward"),
    "depthwise": ("#3f9b56", "s", "depthwise, forward"),
    "fully_connected": ("#8a63a8", "D", "fully connected, forward"),
    "vjp_x": ("#d1544a", "^", "gradient of x, pointwise"),
    "depthwise vjp_x": ("#f08c2e", "v", "gradient of x, depthwise"),
    "vjp_w": ("#7a3b2e", "X", "gradient of w"),
}
"""Colour, marker and name of each kind of multiply-accumulate."""
INT8, FLOAT32 = 0.5, 1.0
"""Least cycles of a multiply-accumulate."""
WORST = 6
"""Shapes that are named: those that take most cycles above their limit."""
NAMES_AT = 8.5
"""Cycles a multiply-accumulate at whose height their numbers stand."""
STAGE_COLOUR = {"forward": "#8fb7d8", "backward": "#d1544a", "gradients": "#f08c2e", "update": "#3f9b56"}
STAGE_WORDS = {
    "forward": "forward",
    "backward": "backward: gradients of activations",
    "gradients": "gradients of weights and biases",
    "update": "update",
}
LINE = 32
"""Bytes of a line of flash."""


# --- roofline ------------------------------------------------------------------------------------------------------


def roofline(found: Sequence[Measured], suffix: str) -> bytes:
    """Cycles a multiply-accumulate of each shape over its bytes, and below it what dual issue allows."""
    shown = [m for m in found if m.function.partition(".")[0] in MAC_FUNCTIONS]

    def draw(axes: Sequence[Any]) -> None:
        axis = axes[0]
        _roofs(axis, max(40, *(2 * _cycles_a_mac(m) for m in shown)))
        for kind, (colour, marker, words) in KINDS.items():
            members = [m for m in shown if _kind(m) == kind]
            if members:
                _points(axis, members, colour, marker, words)
        worst = sorted(shown, key=lambda m: m.limit.cycles - m.cycles)[:WORST]
        _name(axis, worst)
        axis.set_xlabel("bytes of operands and results a multiply-accumulate, each moved once (padding adds none)")
        axis.set_ylabel("cycles a multiply-accumulate")
        axis.set_title(f"Kernels for the Cortex-M7, timing model {load().name}: {len(shown)} shapes", loc="left")
        axis.legend(loc="upper left", ncols=2, fontsize=9, framealpha=1)
        lines = [
            "A line below a point ends where every instruction of it would be paired with another: i/MAC over two.",
            "Most cycles above their limits:",
        ]
        for i, m in enumerate(worst):
            times = f"{m.distance:.2f} x the limit ({m.limit.by})"
            lines.append(f"{i + 1}  {m.function}, {m.shape}: {_cycles_a_mac(m):.2f} cycles a MAC, {times}")
        axis.figure.supxlabel("\n".join(lines), x=0.06, ha="left", fontsize=9)

    return render(draw, 1, (10.5, 8.2), suffix, False)


def _kind(m: Measured) -> str:
    operator, _, function = m.function.partition(".")
    if operator == "conv2d" and function == "forward":
        return "pointwise" if m.call.named["w"].shape[1:3] == (1, 1) else "convolution"
    if operator == "depthwise_conv2d":
        return "depthwise" if function == "forward" else f"depthwise {function}"
    return operator if function == "forward" else function


def _cycles_a_mac(m: Measured) -> float:
    return m.cycles / multiplied(m.call)


def _bytes_a_mac(m: Measured) -> float:
    return sum(moved(m.call)) / multiplied(m.call)


def _points(axis: Any, members: Sequence[Measured], colour: str, marker: str, words: str) -> None:
    x, y = [_bytes_a_mac(m) for m in members], [_cycles_a_mac(m) for m in members]
    issue = [m.instructions / 2 / multiplied(m.call) for m in members]
    axis.vlines(x, issue, y, color=colour, linewidth=0.8, alpha=0.55)
    axis.scatter(x, y, s=42, c=colour, marker=marker, edgecolors="white", linewidths=0.6, label=words, zorder=3)


def _name(axis: Any, worst: Sequence[Measured]) -> None:
    """A number for each, in a row above the points, with a line that leads to its own."""
    right = 0.0
    for m in sorted(worst, key=_bytes_a_mac):
        x = right = max(_bytes_a_mac(m), right * 1.3)
        axis.annotate(
            f"{worst.index(m) + 1}",
            (_bytes_a_mac(m), _cycles_a_mac(m)),
            (x, NAMES_AT),
            ha="center",
            fontsize=10,
            fontweight="bold",
            arrowprops={"arrowstyle": "-", "color": "#777777", "linewidth": 0.8, "shrinkB": 3},
        )


def _roofs(axis: Any, top: float) -> None:
    """What arithmetic takes at the least, and what moving the bytes does."""
    x = np.geomspace(0.015, 24, 200)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlim(x[0], x[-1])
    axis.set_ylim(0.2, top)
    flash = load().memory.flash_itcm / LINE
    memory = {
        "two words a cycle, no wait states": 1 / (LOADS * WORD),
        f"all from flash: {LINE} bytes in {LINE * flash:.0f} cycles": flash,
    }
    for level, words in ((INT8, "int8: SMLAD, two products a cycle"), (FLOAT32, "float32: VFMA, one a cycle")):
        axis.axhline(level, color="#333333", linewidth=1.1)
        place = {"xytext": (-3, -12), "textcoords": "offset points", "ha": "right", "fontsize": 9}
        axis.annotate(f"{words}: {level:g}", (x[-1], level), **place, bbox={"color": "white", "pad": 0.5})
    for style, (words, cycles) in zip(("-.", ":"), memory.items(), strict=True):
        axis.plot(x, cycles * x, color="#555555", linestyle=style, linewidth=1.1, label=words)
    _plain(axis.xaxis)
    _plain(axis.yaxis)
    axis.grid(which="major", color="#e3e5e8", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def _plain(axis: Any) -> None:
    """Numbers of a logarithmic axis as they are, at 1, 2 and 5."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=20))
    axis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:,g}"))
    axis.set_minor_formatter(NullFormatter())


# --- layers --------------------------------------------------------------------------------------------------------


def by_layer(step: Step, suffix: str) -> bytes:
    """Milliseconds of each layer of a step, in the order of the forward pass, stage upon stage."""
    names = list(step.layers)

    def draw(axes: Sequence[Any]) -> None:
        axis = axes[0]
        bottom = np.zeros(len(names))
        for stage, colour in STAGE_COLOUR.items():
            heights = np.array([1e3 * step.layers[name].get(stage, 0) / CLOCK_HZ for name in names])
            whole = step.stages[stage]
            words = f"{STAGE_WORDS[stage]}: {1e3 * whole / CLOCK_HZ:.1f} ms, {100 * whole / step.cycles:.0f} %"
            axis.bar(range(len(names)), heights, 0.82, bottom=bottom, color=colour, label=words)
            bottom += heights
        axis.set_xticks(range(len(names)), [_layer(step, name) for name in names], rotation=90, fontsize=8)
        axis.set_xlim(-0.7, len(names) - 0.3)
        axis.set_ylim(0, 1.12 * bottom.max())
        axis.set_ylabel("ms of a training step at 216 MHz")
        right = axis.secondary_yaxis("right", functions=(lambda ms: ms * CLOCK_HZ / 1e9, lambda m: m * 1e9 / CLOCK_HZ))
        right.set_ylabel("million cycles")
        axis.set_xlabel("layer, in the order of the forward pass")
        projected = ", projected: it does not fit" if step.projected else ""
        axis.set_title(
            f"{step.model}, {step.scheme}, {step.kernels} kernels{projected}: {step.milliseconds:,.1f} ms a step, "
            f"{step.cycles / 1e6:,.1f} million cycles by timing model {step.timing_model} (± {step.band_percent:g} %)",
            loc="left",
            fontsize=11,
        )
        axis.legend(loc="upper left", fontsize=9, framealpha=1)
        axis.grid(axis="y", color="#e3e5e8", linewidth=0.6)
        axis.set_axisbelow(True)
        axis.spines["top"].set_visible(False)

    return render(draw, 1, (max(8.0, 2.2 + 0.235 * len(names)), 5.8), suffix, False)


SHORT = {"pointwise": "1x1", "depthwise": "dw", "convolution": "conv"}


def _layer(step: Step, name: str) -> str:
    """A layer's name and its kind in short."""
    words = step.kinds.get(name, "").split()
    return " ".join([name, *(SHORT.get(word, word) for word in words if not name.startswith(word))])
