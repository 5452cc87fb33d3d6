"""What cycles look like: ``goldgrad cycles ELF --function NAME``, and the table and the picture of ``run --cycles``."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..board.elf import Elf
from ..board.function import TracedCall, read_arguments, trace_function
from ..board.memory_map import FLASH, FLASH_AXI
from ..board.timing.cost import CLOCK_HZ, PARTS, Cycles, Estimate, Model
from ..board.timing.edges import Block, Trace
from ..board.timing.memory import watched
from ..board.timing.table import load
from ..errors import GoldgradError
from .files import check_outputs, write_json

if TYPE_CHECKING:
    from ..jobs.on_board import BoardRun

LABELS = {
    "issue": "issue",
    "mispredict": "mispredicted",
    "flash_data": "flash, data",
    "flash_instruction": "flash, instructions",
    "sram": "SRAM1",
    "unaligned": "unaligned access",
}


SHORT = {
    "issue": "issue",
    "mispredict": "missed",
    "flash_data": "data",
    "flash_instruction": "code",
    "sram": "SRAM1",
    "unaligned": "odd",
}
"""For columns: mispredicted branches; lines of flash, for data and for code; unaligned loads."""


MEMORY = {"flash_data": "a line of flash", "sram": "a line of SRAM1", "unaligned": "unaligned"}
"""Why a load waited for memory, by part."""
PLACES = {
    "dtcm": "code and data without wait states",
    "sram": "arrays in SRAM1 behind an empty data cache, code without wait states",
    "flash-aware": "arrays in SRAM1, code and constants in flash, caches empty at first",
}
"""Where a function on its own is timed, by ``--memory``."""


def milliseconds(cycles: float) -> float:
    """At the clock of the board."""
    return 1e3 * cycles / CLOCK_HZ


# --- one function --------------------------------------------------------------------------------------------------


def run(
    console: Console,
    elf: Path,
    function: str,
    arguments: Path | None,
    budget: int,
    explain: bool,
    document: Path | None,
    memory: str = "dtcm",
) -> int:
    """Call a function once and show what the timing model makes of it."""
    check_outputs(document)
    with_memory = watched(memory) == "memory"
    image = Elf.read(elf)
    if memory == "flash-aware" and not in_flash(image):
        raise GoldgradError(
            f"{elf} has nothing in flash, at {FLASH_AXI.start:#010x} or {FLASH.start:#010x}, of which the timing model "
            "could be aware; link it there, or use --memory sram"
        )
    given = read_arguments(arguments) if arguments else []
    call = trace_function(image, function, given, budget, memory=with_memory)
    model = Model(load(), call.code, memory)
    estimate = model.estimate(call.trace)
    estimate.changed = changed(image, call, model)
    total = estimate.total()
    cost = call.cost
    console.print(
        f"[bold]{function}[/bold]: {round(total.total):,} cycles ± {estimate.band:g} % "
        f"({milliseconds(total.total):.3f} ms at {CLOCK_HZ // 1_000_000} MHz), {cost.instructions:,} instructions "
        f"({cost.instructions / max(total.total, 1):.2f} a cycle), {cost.stack:,} bytes of stack"
    )
    console.print(f"model {estimate.table.name}, {PLACES[memory]}: {_parts(total)}")
    for line in outside(estimate):
        console.print(f"[yellow]outside the model[/yellow]: {line}")
    listing = listed(model, call.trace)
    if explain:
        _show(console, image, listing, total.total)
    if document:
        content = {**cost.as_json(), "cycles": {**estimate.as_json(total), "memory": memory}}
        if explain:
            content["listing"] = listing
        write_json(document, content)
    return 0


def changed(elf: Elf, call: TracedCall, model: Model) -> int:
    """Instructions executed in blocks that memory does not hold as the ELF does (TIM-S9)."""
    counts: Counter[Block] = Counter()
    for edge, count in call.trace.count.items():
        counts[edge.block] += count
    loaded = {(s.address, s.address + len(s.data)): s for s in elf.segments}
    found = 0
    for block, count in counts.items():
        held = next((s for (first, end), s in loaded.items() if first <= block.start < end), None)
        if held is None or held.data[block.start - held.address :][: block.size] != call.code(*block):
            found += count * len(model.instructions(block))
    return found


def in_flash(elf: Elf) -> bool:
    """Whether some of its code or data lies in flash, on either bus."""
    return any(segment.address in FLASH or segment.address in FLASH_AXI for segment in elf.segments)


def outside(estimate: Estimate) -> list[str]:
    """What the model does not know, a line each."""
    lines = [f"{text}, executed {count:,} times" for text, count in estimate.unknown.most_common(5)]
    if estimate.unknown:
        total, all_ = sum(estimate.unknown.values()), estimate.instructions.total()
        lines.append(
            f"in all {total:,} of {all_:,} instructions have no row in the table: a cycle alone was taken each"
        )
    if estimate.changed:
        lines.append(f"{estimate.changed:,} instructions ran in code that is not as in the ELF")
    return lines


def _parts(cycles: Cycles) -> str:
    shown = {part: getattr(cycles, part) for part in PARTS}
    return ", ".join(f"{LABELS[part]} {round(value):,}" for part, value in shown.items() if value)


def listed(model: Model, trace: Trace) -> list[dict[str, Any]]:
    """Every instruction that was executed, in the order of addresses: how often, what it cost, and why.

    ``cycle`` and ``slot`` are those in its block after the predecessor that came most often, counted from the block's
    first cycle; ``cycles`` are all that it took: from the issue before it to its own, over all predecessors.
    """
    edges: dict[Block, Counter[Any]] = defaultdict(Counter)
    for edge, count in trace.count.items():
        edges[edge.block][edge.before] += count
    rows: dict[int, dict[str, Any]] = {}
    for block, befores in edges.items():
        for rank, (before, count) in enumerate(befores.most_common()):
            issues, start = model.issues(before, block)
            previous = start
            for issue in issues:
                at = issue.instruction.address
                row = rows.setdefault(
                    at,
                    {
                        "address": at,
                        "size": issue.instruction.size,
                        "text": issue.instruction.text,
                        "count": 0,
                        "cycles": 0,
                        "reasons": Counter(),
                    },
                )
                row["count"] += count
                end = issue.cycle + issue.instruction.cycles - 1
                row["cycles"] += count * (end - previous)
                previous = end
                if issue.reason:
                    row["reasons"][issue.reason] += count
                if rank == 0 and count > row.get("most", 0):
                    row |= {"most": count, "cycle": issue.cycle - issues[0].cycle, "slot": issue.slot}
                    row["row"] = issue.instruction.row.id
    for (_, at), waited in model.waits(trace).items():
        if at in rows and waited.total:
            rows[at]["cycles"] += waited.total
            parts = {part: getattr(waited, part) for part in PARTS if getattr(waited, part)}
            costliest = max(parts, key=lambda part: parts[part])
            rows[at]["reasons"][MEMORY.get(costliest, "the same bank as the load beside it")] += round(parts[costliest])
    for row in rows.values():
        reasons = row.pop("reasons")
        row["why"] = reasons.most_common(1)[0][0] if reasons else ""
        del row["most"]
    return [rows[at] for at in sorted(rows)]


def _show(console: Console, elf: Elf, listing: list[dict[str, Any]], total: float) -> None:
    table = Table(caption="cycle and slot: in its block, after what came before it most often", caption_justify="left")
    for column in ("address", "instruction", "times", "cycles", "%", "cycle", "slot", "why not earlier"):
        left = column in ("instruction", "slot", "why not earlier")
        table.add_column(column, justify="left" if left else "right", no_wrap=True)
    function, end = "", 0
    for row in listing:
        name = elf.function_at(row["address"]).partition("+")[0]
        if name != function:
            table.add_section()
            table.add_row("", f"[bold]{name or '?'}[/bold]")
        elif row["address"] != end:
            table.add_row("", "...")
        function, end = name, row["address"] + row["size"]
        share = f"{100 * row['cycles'] / total:.1f}" if total and row["cycles"] >= 0.0005 * total else ""
        table.add_row(
            f"{row['address']:x}",
            escape(row["text"]),
            f"{row['count']:,}",
            f"{row['cycles']:,}",
            share,
            str(row["cycle"]),
            row["slot"],
            row["why"],
        )
    console.print(table)


# --- a training step -----------------------------------------------------------------------------------------------


def by_operator(run_: BoardRun) -> dict[str, Cycles]:
    """Cycles of a step (a mean), by operator, the costliest first."""
    estimate, steps = run_.estimate, run_.measurement.steps
    assert estimate
    found: dict[str, Cycles] = defaultdict(Cycles)
    for i, region in enumerate(run_.measurement.regions):
        found[region.op].add(estimate.regions[i])
    found["between operators"].add(estimate.regions[-1])
    for cycles in found.values():
        for part in PARTS:
            setattr(cycles, part, getattr(cycles, part) / steps)
    return dict(sorted(found.items(), key=lambda item: -item[1].total))


def operators(run_: BoardRun) -> Table:
    """Cycles of a step by operator, and of what they consist."""
    estimate, steps = run_.estimate, run_.measurement.steps
    assert estimate
    found = by_operator(run_)
    shown = [part for part in PARTS if any(getattr(cycles, part) for cycles in found.values())]
    table = Table(
        caption=f"thousands of cycles of a step by the timing model {estimate.table.name}, ± {estimate.band:g} %, "
        f"memory {estimate.memory}, on {run_.emulator}; milliseconds at {CLOCK_HZ // 1_000_000} MHz; "
        "i/c: instructions a cycle",
        caption_justify="left",
    )
    for column in ("operator", "cycles", "ms", "i/c", *(SHORT[part] for part in shown)):
        left = column == "operator"
        table.add_column(column, justify="left" if left else "right", no_wrap=left)
    instructions: Counter[str] = Counter()
    for region in run_.measurement.regions:
        instructions[region.op] += region.instructions
    instructions["between operators"] = run_.measurement.between
    whole = estimate.total(-1)
    for name, cycles in found.items():
        table.add_row(name, *_numbers(cycles, instructions[name] / steps, shown, 1))
    table.add_section()
    table.add_row("a step", *_numbers(whole, run_.measurement.instructions / steps, shown, steps))
    return table


def _numbers(cycles: Cycles, instructions: float, shown: list[str], steps: int) -> list[str]:
    total = cycles.total / steps
    parts = [f"{getattr(cycles, part) / steps / 1e3:,.1f}" for part in shown]
    each = f"{instructions / total:.2f}" if total else ""
    return [f"{total / 1e3:,.1f}", f"{milliseconds(total):.2f}", each, *parts]


def picture(plt: Any, name: str, run_: BoardRun) -> Any:
    """Cycles of a step by operator, stacked by part."""
    assert run_.estimate
    found = by_operator(run_)
    whole = sum(cycles.total for cycles in found.values())
    shown = {op: cycles for op, cycles in found.items() if cycles.total >= 0.005 * whole}
    names = list(shown)[::-1]
    figure, axis = plt.subplots(figsize=(9, 0.4 * len(shown) + 1.8), layout="constrained")
    left = [0.0] * len(names)
    for i, part in enumerate(PARTS):
        widths = [getattr(shown[op], part) / 1e6 for op in names]
        if any(widths):
            bars = axis.barh(names, widths, left=left, color=f"C{i}", label=LABELS[part])
            left = [a + b for a, b in zip(left, widths, strict=True)]
    axis.bar_label(bars, [f" {x:,.2f}  ({milliseconds(1e6 * x):.1f} ms)" for x in left])
    axis.margins(x=0.15)
    axis.set_xlabel(
        f"million cycles a step, by the timing model {run_.estimate.table.name} (± {run_.estimate.band:g} %)"
    )
    axis.set_title(f"{name}: {round(whole):,} cycles a step, memory {run_.estimate.memory}")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=8, frameon=False, loc="lower right")
    return figure
