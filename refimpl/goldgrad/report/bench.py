"""What ``goldgrad bench kernels`` shows: a line a kernel and shape, beside limits, peers and a baseline."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from math import prod
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..board.build import build_kernels
from ..board.kernels import KernelMachine
from ..board.timing.functions import together
from ..board.timing.table import load
from ..board.toolchain import Toolchain, find_toolchain
from ..errors import GoldgradError
from ..jobs import bench_baseline, latency
from ..jobs.bench import SCHEMES, Bench, Call, Measured, of_file, of_networks
from ..jobs.bench_baseline import COSTS, RATES, Baseline, Budgets, Change, Comparison, costs_of
from ..jobs.latency import Step
from ..jobs.on_board import KERNELS
from ..kernels import check_set
from .files import as_json, check_outputs, write_files
from .functions import by_function, listed
from .peer_counts import counts, peers
from .plan_picture import check_formats

FOLDER = Path("out/bench")
"""Where objects are kept, so that only what was changed is compiled again."""
SHORT = {"tinyengine": "TE", "cmsis_nn": "CN", "tflm": "TFLM"}
"""Peers, for columns."""
NAMES = {"forward": "int8", "vjp_x": "float32, gradient of x:", "vjp_w": "float32, gradient of w:"}
DEEP = 40
"""Channels from which on a pointwise convolution's products outweigh what comes with each output."""


@dataclass(frozen=True)
class Wanted:
    """What the command line asks for."""

    op: str | None = None
    shapes: Path | None = None
    kernels: str = KERNELS
    compiler: str | None = None
    baseline: Path | None = None
    budgets: Budgets = field(default_factory=Budgets)
    document: Path | None = None
    page: Path | None = None
    pictures: tuple[Path, ...] = ()
    functions: bool = False
    """Whether to show what each C function took."""


@dataclass(frozen=True)
class Sweep:
    """Calls that were measured, and with what; ``comparison`` with a baseline, if one was named."""

    kernels: str
    toolchain: Toolchain
    found: Sequence[Measured]
    seconds: float
    comparison: Comparison | None = None

    def baseline(self) -> Baseline:
        """The costs, to be kept or compared."""
        found = costs_of(self.found)
        return Baseline(self.kernels, self.toolchain.name, self.toolchain.version, load().name, found)


def run(console: Console, wanted: Wanted) -> int:
    """Measure, show, and write; 1 if a cost is over its budget."""
    wanted.budgets.check()
    check_formats(wanted.pictures)
    check_outputs(wanted.document, wanted.page, *wanted.pictures)
    old = bench_baseline.read(wanted.baseline) if wanted.baseline else None
    sweep = measure(_calls(wanted), *_tools(wanted, old))
    if old:
        sweep = Sweep(**{**vars(sweep), "comparison": _compared(old, sweep, wanted)})
    console.print(f"kernels: {sweep.kernels}; compiler: {sweep.toolchain.version}", markup=False)
    console.print(_table(sweep))
    if len(by_kind(sweep.found)) > 1:
        console.print(_kinds(sweep.found))
    if wanted.functions:
        console.print(by_function(together(m.spent for m in sweep.found)))
    for line in notes(sweep):
        console.print(line, markup=False)
    if sweep.comparison:
        _say(console, sweep.comparison)
    contents = _contents(sweep, wanted)
    write_files(contents)
    console.print(f"{len(sweep.found)} calls in {sweep.seconds:.1f} s", markup=False)
    if contents:
        console.print(f"written: {', '.join(map(str, contents))}", markup=False, soft_wrap=True)
    return int(bool(sweep.comparison and sweep.comparison.regressions))


def measure(calls: Sequence[Call], kernels: str, toolchain: Toolchain) -> Sweep:
    """Build what the calls need, and run them one after the other on one machine."""
    start = time.perf_counter()
    functions = {f"gg_{call.function.replace('.', '_')}" for call in calls}
    elf = build_kernels(kernels, FOLDER / f"{kernels}-{toolchain.name}.elf", toolchain, functions)
    found = list(Bench(kernels, KernelMachine(elf, watched=True)).measure(calls))
    return Sweep(kernels, toolchain, found, time.perf_counter() - start)


def write_baseline(console: Console, file: Path, kernels: str, compiler: str | None) -> int:
    """Measure the shapes of the networks, built by zig unless told otherwise, and keep what they cost."""
    check_outputs(file)
    wanted = Wanted(kernels=kernels, compiler=compiler or "zig")
    sweep = measure(_calls(wanted), *_tools(wanted, None))
    write_files({file: sweep.baseline().text()})
    console.print(f"{len(sweep.found)} shapes by {sweep.toolchain.version}: {file}", markup=False, soft_wrap=True)
    return 0


def compare(
    console: Console, file: Path, op: str | None, budgets: Budgets, everything: bool, document: Path | None
) -> int:
    """Measure the shapes of the networks as the file's were, and show what changed; 1 if a cost is over its budget."""
    budgets.check()
    check_outputs(document)
    old = bench_baseline.read(file)
    wanted = Wanted(op=op, budgets=budgets)
    sweep = measure(_calls(wanted), *_tools(wanted, old))
    found = _compared(old, sweep, wanted)
    if found.changes or found.new or found.gone:
        console.print(_changes(found, everything))
    _say(console, found)
    if document:
        write_files({document: as_json({"baseline": str(file), **comparison_content(found)})})
    return int(bool(found.regressions))


def _calls(wanted: Wanted) -> list[Call]:
    calls = of_networks(wanted.op) if wanted.shapes is None else of_file(wanted.shapes, wanted.op)
    if not calls:
        raise GoldgradError(f"{wanted.shapes} has no call of {wanted.op}; leave --op out, or name another")
    return calls


def _tools(wanted: Wanted, old: Baseline | None) -> tuple[str, Toolchain]:
    """Kernels and compiler; a baseline's own, if there is one."""
    kernels = old.kernels if old else wanted.kernels
    check_set(kernels)
    return kernels, find_toolchain(wanted.compiler or (old.toolchain if old else None))


def _compared(old: Baseline, sweep: Sweep, wanted: Wanted) -> Comparison:
    found = bench_baseline.compare(old, sweep.baseline(), wanted.budgets, wanted.op)
    if wanted.shapes is not None:  # shapes of the networks were not asked for
        found = Comparison(**{**vars(found), "gone": ()})
    return found


# --- tables --------------------------------------------------------------------------------------------------------


def _table(sweep: Sweep) -> Table:
    """Each shape; peers where no baseline takes their place."""
    counted = {m.key: counts(m.call) for m in sweep.found}
    shown = [name for name in peers() if any(c and name in c.each for c in counted.values())]
    changed = _growth(sweep.comparison) if sweep.comparison else None
    table = Table(box=SIMPLE_HEAD)
    last = ("change of i, c",) if changed is not None else tuple(SHORT[name] for name in shown)
    for column in ("kernel", "cycles", "i", "c", "x limit", "scratch", "stack", "text", *last):
        table.add_column(column, justify="left" if column == "kernel" else "right", no_wrap=column != "kernel")
    for function, group in groupby(sweep.found, key=lambda each: each.function):
        members = list(group)
        table.add_row(function, style="bold")
        table.add_row(*_total(members), style="bold")
        for m in members:
            numbers = (f"{m.cycles:,.0f}", f"{m.each:.2f}", f"{m.cycles_each:.2f}", f"{m.distance:.2f} {m.limit.by}")
            sizes = (f"{m.scratch:,}", f"{m.stack:,}", f"{m.text:,}")
            theirs = counted[m.key]
            beside = [_count(theirs.each.get(name) if theirs else None) for name in shown]
            table.add_row(f"  {m.shape}", *numbers, *sizes, *(beside if changed is None else (changed.get(m.key, ""),)))
        table.add_section()
    return table


def _total(members: Sequence[Measured]) -> tuple[str, ...]:
    """All shapes of a function, each once."""
    total, work, cycles = (sum(getattr(m, name) for m in members) for name in ("instructions", "work", "cycles"))
    least = sum(m.limit.cycles for m in members)
    shapes = f"  {len(members)} shape{'s' * (len(members) > 1)}, {members[0].per}"
    return shapes, f"{cycles:,.0f}", f"{total / work:.2f}", f"{cycles / work:.2f}", f"{cycles / least:.2f}{' ' * 7}"


def by_kind(found: Sequence[Measured]) -> dict[str, list[Measured]]:
    """Shapes of multiply-accumulates by what decides how fast a kernel can be: kind, window, depth, map."""
    kinds: dict[str, list[Measured]] = defaultdict(list)
    for m in found:
        operator, _, function = m.function.partition(".")
        if operator in ("conv2d", "depthwise_conv2d"):
            weight = m.call.results[0] if function == "vjp_w" else m.call.named["w"]
            depthwise = operator == "depthwise_conv2d"
            size, stride = weight.shape[0 if depthwise else 1], m.call.attributes.get("stride", (1, 1))[0]
            words = (
                "pointwise" if size == 1 else f"{'depthwise' if depthwise else 'convolution'} {size}x{size} s{stride}"
            )
            if function == "forward" and size == 1:
                words += f", K {'>=' if weight.shape[-1] >= DEEP else '<'} {DEEP}"
            elif function != "forward" and not depthwise:
                rows = m.call.named["x"].shape[1] if function == "vjp_w" else m.call.attributes["in_hw"][0]
                words += f", {rows} x {rows}"
            kinds[f"{NAMES[function]} {words}"].append(m)
    return dict(sorted(kinds.items()))


def _kinds(found: Sequence[Measured]) -> Table:
    table = Table(box=SIMPLE_HEAD, caption="each shape once", caption_justify="left")
    for column in ("kind", "shapes", "i/MAC", "cycles/MAC", "least", "most", "x limit"):
        table.add_column(column, justify="left" if column == "kind" else "right")
    for name, members in by_kind(found).items():
        total, work, cycles = (sum(getattr(m, name) for m in members) for name in ("instructions", "work", "cycles"))
        each = sorted(m.cycles_each for m in members)
        rates = (total / work, cycles / work, each[0], each[-1], cycles / sum(m.limit.cycles for m in members))
        table.add_row(name, f"{len(members)}", *(f"{rate:.2f}" for rate in rates))
    return table


def _count(each: float | None) -> str:
    return "" if each is None else f"{each:.3g}"


def _growth(found: Comparison) -> dict[tuple[str, str], str]:
    """By shape: change of instructions and of cycles in percent, where there is one."""
    changes = {(change.key, change.cost): f"{change.percent:+.2f}" for change in found.changes}
    keys = dict.fromkeys(change.key for change in found.changes)
    texts = {key: [changes.get((key, cost), "0") for cost in RATES] for key in keys}
    return {key: f"{', '.join(pair)} %" for key, pair in texts.items() if pair != ["0", "0"]} | dict.fromkeys(
        found.new, "new"
    )


def notes(sweep: Sweep) -> Iterator[str]:
    """What the columns are."""
    yield (
        "i, c: instructions and cycles a multiply-accumulate, those of padding counted, or an element; x limit: times "
        "the least cycles that SMLAD (two products of int8), VFMA, other float operations (FP), memory (two words "
        "loaded or one stored) or the issue of all of them take; padding is not in it"
    )
    counted = [c for m in sweep.found if (c := counts(m.call))]
    if counted:
        names = [name for name in peers() if any(name in c.each for c in counted)]
        words = ", ".join(f"{SHORT[name]}: {peers()[name]}" for name in names)
        yield f"instructions of peers, by gcc 12.2: {words}"
    described = dict.fromkeys(line for line in map(_described, sweep.found) if line)
    if described:
        yield f"peers were counted for: {'; '.join(described)}"
    own = own_with_update(sweep.found)
    if own is not None:
        yield f"conv2d.vjp_w and the update of the same weights, as TE's were counted: {own:.2f} instructions a MAC"


def _described(m: Measured) -> str | None:
    c = counts(m.call)
    return f"{m.function}, {c.of}" if c and c.of else None


def own_with_update(found: Sequence[Measured]) -> float | None:
    """Instructions a multiply-accumulate of weight gradients with their updates, where both were measured."""
    updates = {m.call.elements: m.instructions for m in found if m.function == "sgd_update_weight.update"}
    gradients = [m for m in found if m.function == "conv2d.vjp_w"]
    sizes = [prod(m.call.results[0].shape) for m in gradients]
    if not gradients or any(size not in updates for size in sizes):
        return None
    total = sum(m.instructions + updates[size] for m, size in zip(gradients, sizes, strict=True))
    return total / sum(m.work for m in gradients)


def _changes(found: Comparison, everything: bool) -> Table:
    """What changed, a line a shape; where nothing is over, of rates only what changed by a hundredth of a percent."""
    table = Table(box=SIMPLE_HEAD)
    for column in ("kernel and shape", *COSTS):
        table.add_column(column, justify="left" if column.startswith("kernel") else "right")
    changes: dict[tuple[str, str], dict[str, Change]] = defaultdict(dict)
    for change in found.changes:
        changes[change.key][change.cost] = change
    for key, costs in changes.items():
        if everything or any(map(_is_telling, costs.values())):
            table.add_row(escape(" ".join(key)), *(_cell(costs.get(cost)) for cost in COSTS))
    for words, keys in (("new", found.new), ("gone", found.gone)):
        for key in keys:
            table.add_row(escape(" ".join(key)), words)
    return table


def _is_telling(change: Change) -> bool:
    return change.over or change.cost not in RATES or abs(change.percent) >= 0.01


def _cell(change: Change | None) -> str:
    if change is None:
        return ""
    by = f"{change.new - change.old:+,}"
    words = f"{by} ({change.percent:+.2f} %)" if change.cost in RATES else by
    return f"[{'red' if change.over else 'green' if change.new < change.old else 'default'}]{words}[/]"


def _say(console: Console, found: Comparison) -> None:
    for note in found.notes:
        console.print(f"[yellow]note[/yellow]: {escape(note)}", soft_wrap=True)
    console.print(f"[{'red' if found.regressions else 'green'}]{escape(found.verdict)}[/]", soft_wrap=True)


# --- files ---------------------------------------------------------------------------------------------------------


def _contents(sweep: Sweep, wanted: Wanted) -> Mapping[Path, bytes]:
    """What is written where."""
    contents: dict[Path, bytes] = {}
    if wanted.document:
        contents[wanted.document] = as_json(content(sweep, wanted.functions))
    if wanted.pictures:
        from .bench_pictures import roofline

        contents |= {file: roofline(sweep.found, file.suffix) for file in wanted.pictures}
    if wanted.page:
        from .bench_page import page

        steps = steps_of_networks(sweep.kernels) if wanted.op is None and wanted.shapes is None else []
        contents[wanted.page] = page(sweep, steps, tuple(notes(sweep)))
    return contents


def steps_of_networks(kernels: str) -> list[Step]:
    """A step of each network whose shapes are measured."""
    return [latency.take(model, scheme, kernels) for model, scheme in SCHEMES.items()]


def content(sweep: Sweep, functions: bool = False) -> dict[str, Any]:
    """The content of ``--json``."""
    calls = [{**m.as_json(), "peers": _theirs(m)} for m in sweep.found]
    if functions:
        calls = [{**call, "functions": listed(m.spent)} for call, m in zip(calls, sweep.found, strict=True)]
    return {
        "kernels": sweep.kernels,
        "compiler": sweep.toolchain.version,
        "timing_model": load().name,
        "peers": dict(peers()),
        "calls": calls,
        **({"functions": listed(together(m.spent for m in sweep.found))} if functions else {}),
        **({"comparison": comparison_content(sweep.comparison)} if sweep.comparison else {}),
    }


def _theirs(m: Measured) -> dict[str, Any]:
    found = counts(m.call)
    return {} if found is None else {**found.each, **({"of": found.of} if found.of else {})}


def comparison_content(found: Comparison) -> dict[str, Any]:
    """A comparison as plain values."""
    return {
        "over": bool(found.regressions),
        "changes": [
            {"function": c.key[0], "shape": c.key[1], **{k: v for k, v in asdict(c).items() if k != "key"}}
            for c in found.changes
        ],
        "new": [list(key) for key in found.new],
        "gone": [list(key) for key in found.gone],
        "notes": list(found.notes),
    }
