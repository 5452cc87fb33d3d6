"""The command line: a function a command, each importing what it needs when it runs."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ._version import __version__
from .errors import GoldgradError, show

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
board = typer.Typer(no_args_is_help=True, help="What code costs on the emulated board.")
app.add_typer(board, name="board")
vectors = typer.Typer(no_args_is_help=True, help="Test vectors: those that stay, and those for other places.")
app.add_typer(vectors, name="vectors")
timing = typer.Typer(no_args_is_help=True, help="The timing model itself.")
app.add_typer(timing, name="timing")
report = typer.Typer(no_args_is_help=True, help="Published numbers beside goldgrad's own.")
app.add_typer(report, name="report")
bench = typer.Typer(no_args_is_help=True, help="What kernels cost, shape by shape.")
app.add_typer(bench, name="bench")


def main() -> None:
    """Run a command; a fault in what the user gave is one line on stderr and its exit code."""
    try:
        app()
    except GoldgradError as error:
        print(f"goldgrad: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"goldgrad {__version__}")
        raise typer.Exit


@app.callback()
def goldgrad(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """The golden model of training on microcontrollers."""


@app.command()
def spec(
    rule: Annotated[str | None, typer.Argument(help="Show this rule, for example CONV-S2.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 and list each fault, if there is one.")] = False,
) -> None:
    """Table of the operators, from the sources: specified, interpreted, in C, tested."""
    from .report import ties

    if check:
        raise typer.Exit(ties.check())
    raise typer.Exit(ties.show_rule(rule) if rule else ties.show_table())


Room = Annotated[
    int, typer.Option(metavar="BYTES", help="How many more bytes than the least the plan may take, for speed.")
]


@app.command()
def run(
    model: Annotated[str, typer.Argument(help="What to train: digits; with --board any network.")],
    scheme: Annotated[
        str, typer.Option(help="What trains: full, sparse, bias, head, a network's own as 49kb, or a TOML file.")
    ] = "sparse",
    on: Annotated[str | None, typer.Option("--board", help="Train on this emulated board: stm32f746.")] = None,
    emulator: Annotated[str | None, typer.Option(help="unicorn, qemu, renode, or all that are here.")] = None,
    kernels: Annotated[
        str | None,
        typer.Option(
            help="c (default): compare with the C kernels at every step; none: interpreter alone. "
            "With --board: m7 (default) or portable."
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="How many samples to train on, one a step (2,000; on a board 500, or 1).")
    ] = None,
    rate: Annotated[float, typer.Option(help="Learning rate.")] = 0.02,
    model_file: Annotated[Path | None, typer.Option("--model", help="Another pre-trained network: FILE.json.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Published weights (.npz) instead of seeded ones.")] = None,
    compare: Annotated[bool, typer.Option("--compare", help="All schemes, and no QAS, side by side, in C.")] = False,
    keep: Annotated[Path | None, typer.Option(help="Folder for the generated C and the ELF.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Where to draw (out/MODEL.png, out/MODEL-board.png).")] = None,
    room: Room = 0,
    itcm: Annotated[
        str, typer.Option(help="With --board: auto runs some of the kernels from ITCM, none leaves all code in flash.")
    ] = "auto",
    json: Annotated[Path | None, typer.Option(help="Where to write what was found.")] = None,
    cycles: Annotated[bool, typer.Option("--cycles", help="Cycles by the timing model; needs --board.")] = False,
    memory: Annotated[
        str | None, typer.Option(help="For --cycles: dtcm (no wait states, the default), sram, or flash-aware.")
    ] = None,
) -> None:
    """Train a network: in the interpreter and through the C kernels, or on the emulated board."""
    from rich.console import Console

    console = Console(highlight=False)
    if memory is not None and not cycles:
        raise GoldgradError(f"--memory {memory} says nothing without --cycles; add it")
    if cycles and on is None:
        raise GoldgradError("--cycles are the board's; add --board stm32f746")
    if itcm not in ("auto", "none"):
        raise GoldgradError(f"--itcm is {show(itcm)}; use auto or none")
    if on is None and itcm != "auto":
        raise GoldgradError(f"--itcm {itcm} is the board's; add --board stm32f746")
    if on is not None:
        from .report import board

        drawn = picture or Path(f"out/{model}-board.png")
        wanted = board.Wanted(model, scheme, on, emulator, steps, rate, weights, model_file, kernels, keep, drawn, json)
        wanted = replace(wanted, memory=(memory or "dtcm") if cycles else None, room=room, itcm=itcm == "auto")
        raise typer.Exit(board.run(console, wanted))
    from .models import architecture
    from .report import digits

    if model != "digits":
        architecture(model)
        raise GoldgradError(f"{model} trains on the board only, add --board stm32f746; without it, use digits")
    count, drawn = 2000 if steps is None else steps, picture or Path("out/digits.png")
    if compare:
        raise typer.Exit(digits.compare(console, count, rate, drawn, json, model_file))
    raise typer.Exit(digits.run(console, scheme, kernels or "c", count, rate, drawn, json, model_file))


@app.command()
def graph(
    model: Annotated[str, typer.Argument(help="A network by name, for example mcunet-5fps.")],
    scheme: Annotated[str, typer.Option(help="What trains: a scheme by name, for example 49kb, or a TOML file.")],
    stage: Annotated[
        str, typer.Option(help="forward, backward (full update), pruned, or ordered (all passes made).")
    ] = "pruned",
    dot: Annotated[bool, typer.Option("--dot", help="Draw: Graphviz's DOT on standard output.")] = False,
    svg: Annotated[bool, typer.Option("--svg", help="Draw: SVG on standard output.")] = False,
    weights: Annotated[Path | None, typer.Option(help="Published weights (.npz) instead of seeded ones.")] = None,
) -> None:
    """A network's graph at one stage of compilation, as text or as a picture of what was pruned and what trains."""
    from .report.graph import text

    if dot and svg:
        raise GoldgradError("--dot and --svg cannot both be; choose one")
    print(text(model, scheme, stage, "dot" if dot else "svg" if svg else None, weights), end="")


@app.command()
def plan(
    model: Annotated[str, typer.Argument(help="A network by name, for example mcunet-5fps.")],
    scheme: Annotated[str, typer.Option(help="What trains: a scheme by name, for example 49kb, or a TOML file.")],
    without: Annotated[
        list[str] | None, typer.Option(metavar="PASS", help="Leave a pass out; can be repeated.")
    ] = None,
    also: Annotated[
        list[str] | None, typer.Option(metavar="PASS", help="Make an optional pass; can be repeated.")
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="Published weights (.npz) instead of seeded ones.")] = None,
    solver: Annotated[
        float, typer.Option(metavar="SECONDS", help="Time for the constraint solver, if placement leaves a gap.")
    ] = 0.0,
    room: Room = 0,
    json: Annotated[Path | None, typer.Option(help="Where to write what was found.")] = None,
    picture: Annotated[
        list[Path] | None,
        typer.Option(help="Where to draw every tensor's life, .svg or .png; else out/plan.svg and .png."),
    ] = None,
    kernels: Annotated[
        str | None, typer.Option(help="Say how much scratch these want besides: m7 or portable.")
    ] = None,
) -> None:
    """The memory plan of a network's training step: peak, what makes it, bounds, and every tensor's place and life."""
    from .report.console import console
    from .report.plan import run

    pictures = picture or [Path("out/plan.svg"), Path("out/plan.png")]
    chosen = (without or (), also or (), weights, solver, room, json, pictures, kernels)
    raise typer.Exit(run(console(), model, scheme, *chosen))


Map = Annotated[Path | None, typer.Option("--map", help="TOML: how the kernels are called, if not by goldgrad's ABI.")]
Semantics = Annotated[str, typer.Option(help="Whose rules: goldgrad, tte, tflite-double-rounding, ...")]
Flags = Annotated[list[str] | None, typer.Option("--cflag", help="For the C compiler; can be repeated.")]


@app.command()
def check(
    provider: Annotated[
        str | None, typer.Argument(help="py:MODULE, so:LIB.so, c:FILE.c[@unicorn], elf:FW.elf, dir:PATH, or c.")
    ] = None,
    op: Annotated[list[str] | None, typer.Option(help="Only this operator or function; can be repeated.")] = None,
    klass: Annotated[str, typer.Option("--class", help="exact: every bit; dot: sums in any order, bounded.")] = "exact",
    semantics: Semantics = "goldgrad",
    profile: Annotated[str, typer.Option(help="How much is tried: quick, ci, deep.")] = "quick",
    examples: Annotated[int | None, typer.Option(help="Cases a property, instead of the profile's.")] = None,
    mapping: Map = None,
    cflag: Flags = None,
    json: Annotated[Path | None, typer.Option(help="Where to write all that was found.")] = None,
    junit: Annotated[Path | None, typer.Option(help="The same as JUnit's XML.")] = None,
    html: Annotated[Path | None, typer.Option(help="The same as a page for people.")] = None,
    jobs: Annotated[int, typer.Option(help="Processes side by side; 0: one a core.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a check that was interrupted.")] = False,
    template: Annotated[str | None, typer.Option(metavar="OP", help="Print a map for this operator instead.")] = None,
    shim: Annotated[bool, typer.Option("--shim", help="With --template: a shim in C instead of a map.")] = False,
) -> None:
    """Put your kernels under the suite: they conform, or here is the smallest counterexample and its rule."""
    from .check.command import Wanted, run
    from .check.results import Subject
    from .report.console import console

    if template is not None:
        from .check import template as made

        print(made.shim(template) if shim else made.template(template), end="")
        raise typer.Exit
    if provider is None:
        raise GoldgradError("nothing to check; name a provider, for example c:FILE.c, or see docs/conformance.md")
    subject = Subject(provider, str(mapping) if mapping else None, tuple(cflag or ()), semantics, klass)
    raise typer.Exit(run(console(), Wanted(subject, op or (), profile, examples, jobs, resume, json, junit, html)))


@app.command()
def repro(
    case: Annotated[str, typer.Argument(help="A finding's ID, or the line that it printed.")],
    provider: Annotated[str | None, typer.Option(help="Who is asked, if not who failed.")] = None,
    klass: Annotated[str, typer.Option("--class", help="exact or dot, for a pasted line.")] = "exact",
    semantics: Semantics = "goldgrad",
    mapping: Map = None,
    cflag: Flags = None,
) -> None:
    """Run a failure of goldgrad check again."""
    from .check.command import repro as again
    from .check.results import Subject
    from .report.console import console

    options = (str(mapping) if mapping else None, tuple(cflag or ()))
    subject = Subject(provider, *options, semantics, klass) if provider else None
    raise typer.Exit(again(console(), case, provider, subject))


@vectors.command()
def add(
    finding: Annotated[str, typer.Argument(help="A finding's ID.")],
    to: Annotated[Path, typer.Option(help="The folder; goldgrad check looks into ./vectors.")] = Path("vectors"),
) -> None:
    """Keep a finding's case: every later check here tries it first."""
    from .check.results import kept
    from .check.vectors import add as keep

    print(f"written: {keep(kept(finding), to)}")


@vectors.command()
def export(
    target: Annotated[Path, typer.Argument(help="NAME.c: self-checking C; NAME.elf: for a Cortex-M7; else a folder.")],
    op: Annotated[list[str] | None, typer.Option(help="Only this operator or function; can be repeated.")] = None,
    count: Annotated[int, typer.Option(help="Vectors a function, beside those that stay.")] = 20,
    mapping: Map = None,
    kernels: Annotated[list[Path] | None, typer.Option(help="For an ELF: C to link; can be repeated.")] = None,
    cflag: Flags = None,
) -> None:
    """Write vectors out, with what must come of them: for boards and for whoever only exchanges files."""
    from .check.export import export as write

    print(f"written: {target} ({write(target, op or (), count, mapping, kernels or (), cflag or ())})")


@app.command()
def cycles(
    elf: Annotated[Path, typer.Argument(help="A linked ELF for Cortex-M, with symbols.")],
    function: Annotated[str, typer.Option(help="The function to call.")],
    arguments: Annotated[Path | None, typer.Option(help="TOML: an [[argument]] table a parameter.")] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="List every instruction: cycle, slot, why so late.")
    ] = False,
    memory: Annotated[
        str, typer.Option(help="What the timing model takes memory to be: dtcm, sram, flash-aware.")
    ] = "dtcm",
    budget: Annotated[int, typer.Option(help="Instructions that it may take.")] = 1_000_000_000,
    json: Annotated[Path | None, typer.Option(help="Where to write what was found.")] = None,
) -> None:
    """Cortex-M7 cycles of one call of a function of anybody's firmware, by the timing model, and where they go."""
    from .report.console import console
    from .report.cycles import run

    raise typer.Exit(run(console(), elf, function, arguments, budget, explain, json, memory))


@app.command()
def doctor() -> None:
    """Which compilers and emulators are here, and which of them are used; exit code 3 if the board cannot be run."""
    from .board.doctor import report

    text, complete = report()
    print(text)
    raise typer.Exit(0 if complete else 3)


@board.command()
def measure(
    elf: Annotated[Path, typer.Argument(help="A linked ELF for Cortex-M, with symbols.")],
    function: Annotated[str, typer.Option(help="The function to call.")],
    arguments: Annotated[Path | None, typer.Option(help="TOML: an [[argument]] table a parameter.")] = None,
    budget: Annotated[int, typer.Option(help="Instructions that it may take.")] = 1_000_000_000,
    json: Annotated[Path | None, typer.Option(help="Where to write what was found.")] = None,
) -> None:
    """Instructions and stack high-water of one call of a function of anybody's firmware."""
    from .board.elf import Elf
    from .board.function import measure_function, read_arguments
    from .report.files import write_json

    cost = measure_function(Elf.read(elf), function, read_arguments(arguments) if arguments else [], budget)
    print(f"{cost.function}: {cost.instructions:,} instructions, {cost.stack:,} bytes of stack")
    if json:
        write_json(json, cost.as_json())


@board.command("itcm")
def write_itcm(file: Annotated[Path, typer.Argument(help="Where to write the table: TOML.")]) -> None:
    """Measure what fetching each kernel's code from flash costs, which decides what runs from ITCM (minutes)."""
    from .report.console import console
    from .report.itcm import write

    raise typer.Exit(write(console(), file))


@board.command("baseline")
def write_baseline(
    file: Annotated[Path, typer.Argument(help="Where to keep the costs: JSON.")],
    program: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL:SCHEME[:KERNELS]", help="Measure a step, for example digits:sparse; can be repeated."
        ),
    ] = None,
    function: Annotated[
        list[str] | None,
        typer.Option(metavar="ELF:NAME[:ARGS.toml]", help="Measure a call of a function of an ELF; can be repeated."),
    ] = None,
    compiler: Annotated[str | None, typer.Option(help="What builds the programs: gcc or zig.")] = None,
) -> None:
    """Keep what programs and functions cost; with nothing named, of those that FILE has, or of goldgrad's own."""
    from .report.baseline import write
    from .report.console import console

    raise typer.Exit(write(console(), file, program or (), function or (), compiler))


@board.command()
def compare(
    file: Annotated[Path, typer.Argument(help="What goldgrad board baseline wrote.")],
    budget_instructions: Annotated[float, typer.Option(metavar="PERCENT", help="By how much they may grow.")] = 0.1,
    budget_stack: Annotated[int, typer.Option(metavar="BYTES", help="By how much the stack may.")] = 0,
    budget_sram: Annotated[int, typer.Option(metavar="BYTES", help="By how much SRAM in total may.")] = 0,
    budget_flash: Annotated[int, typer.Option(metavar="BYTES", help="By how much flash in total may.")] = 0,
    everything: Annotated[bool, typer.Option("--all", help="Also rows that did not change.")] = False,
    json: Annotated[Path | None, typer.Option(help="Where to write what was found.")] = None,
) -> None:
    """Measure what FILE has again; exit code 1 if a cost grew by more than its budget.

    The tables also go to the file that GITHUB_STEP_SUMMARY names.
    """
    from .jobs.baseline import Budgets
    from .report import baseline
    from .report.console import console

    budgets = Budgets(budget_instructions, budget_stack, budget_sram, budget_flash)
    raise typer.Exit(baseline.compare(console(), file, budgets, everything, json))


@timing.command()
def validate(
    folder: Annotated[Path, typer.Argument(help="Where the ELFs are that refimpl/.../validation.toml names.")],
    markdown: Annotated[Path | None, typer.Option(help="Where to write it as a page.")] = None,
    json: Annotated[Path | None, typer.Option(help="Where to write what was found.")] = None,
) -> None:
    """The timing model beside published counts of hardware and llvm-mca, and what each of its parts is worth."""
    from .report.console import console
    from .report.timing import run

    raise typer.Exit(run(console(), folder, markdown, json))


@timing.command()
def fit(
    folder: Annotated[Path, typer.Argument(help="Where the ELFs are that refimpl/.../validation.toml names.")],
) -> None:
    """The fitted numbers of the timing model, from the points that may decide them; an error if the table differs."""
    from .report import timing as found
    from .report.console import console

    raise typer.Exit(found.fit(console(), folder))


Models = Annotated[list[str] | None, typer.Option("--model", metavar="MODEL", help="Only this one; can be repeated.")]
Json = Annotated[Path | None, typer.Option(help="Where to write what was found.")]
BenchOp = Annotated[str | None, typer.Option("--op", help="Only this operator, or function: conv2d, conv2d.forward.")]
BudgetInstructions = Annotated[float, typer.Option(metavar="PERCENT", help="By how much instructions may grow.")]
BudgetCycles = Annotated[float, typer.Option(metavar="PERCENT", help="By how much cycles may.")]
BudgetBytes = Annotated[int, typer.Option(metavar="BYTES", help="By how much scratch, stack and text may, each.")]
Pictures = Annotated[list[Path] | None, typer.Option(help="Where to draw it, .svg or .png; can be repeated.")]


@report.command()
def figure20(model: Models = None, json: Json = None, picture: Pictures = None) -> None:
    """Memory of a training step by what the compiler does: the article's figure 20, and goldgrad's own numbers."""
    _figure("figure20", model, json, picture)


@report.command()
def figure21(
    model: Models = None,
    json: Json = None,
    picture: Pictures = None,
    on_board: Annotated[
        bool, typer.Option("--on-board", help="Measure goldgrad's own steps on the emulated board; takes minutes.")
    ] = False,
) -> None:
    """Peak memory and latency, full update and sparse: the article's figure 21, and goldgrad's own numbers."""
    _figure("figure21", model, json, picture, on_board)


def _figure(
    name: str, models: list[str] | None, json: Path | None, pictures: list[Path] | None, on_board: bool = False
) -> None:
    from .report.console import console
    from .report.figures import run

    files = pictures or [Path(f"out/{name}.svg"), Path(f"out/{name}.png")]
    raise typer.Exit(run(console(), name, models or (), json, files, on_board))


@bench.command("kernels")
def bench_kernels(
    op: BenchOp = None,
    shapes: Annotated[
        Path | None, typer.Option(metavar="FILE", help="TOML: a [[call]] table a shape; else those of three networks.")
    ] = None,
    kernels: Annotated[str, typer.Option(help="m7 or portable.")] = "m7",
    compiler: Annotated[str | None, typer.Option(help="gcc or zig; else the baseline's, or what is here.")] = None,
    baseline: Annotated[
        Path | None, typer.Option(help="Compare with this, by goldgrad bench baseline; 1 if a cost is over its budget.")
    ] = None,
    budget_instructions: BudgetInstructions = 0.1,
    budget_cycles: BudgetCycles = 0.5,
    budget_bytes: BudgetBytes = 0,
    json: Json = None,
    html: Annotated[Path | None, typer.Option(help="The same as one page, with pictures.")] = None,
    picture: Annotated[
        list[Path] | None, typer.Option(help="Where to draw cycles a MAC over bytes a MAC, .svg or .png; repeatable.")
    ] = None,
) -> None:
    """Instructions and cycles a multiply-accumulate, distance to the limit, scratch, stack and text of each kernel."""
    from .jobs.bench_baseline import Budgets
    from .report.bench import Wanted, run
    from .report.console import console

    budgets = Budgets(budget_instructions, budget_cycles, budget_bytes)
    wanted = Wanted(op, shapes, kernels, compiler, baseline, budgets, json, html, tuple(picture or ()))
    raise typer.Exit(run(console(), wanted))


@bench.command("baseline")
def bench_baseline(
    file: Annotated[Path, typer.Argument(help="Where to write it.")],
    kernels: Annotated[str, typer.Option(help="m7 or portable.")] = "m7",
    compiler: Annotated[str | None, typer.Option(help="gcc or zig (default: it can be pinned).")] = None,
) -> None:
    """Keep what the kernels cost on the shapes of the three networks."""
    from .report.bench import write_baseline
    from .report.console import console

    raise typer.Exit(write_baseline(console(), file, kernels, compiler))


@bench.command("compare")
def bench_compare(
    file: Annotated[Path, typer.Argument(help="What goldgrad bench baseline wrote.")],
    op: BenchOp = None,
    budget_instructions: BudgetInstructions = 0.1,
    budget_cycles: BudgetCycles = 0.5,
    budget_bytes: BudgetBytes = 0,
    everything: Annotated[bool, typer.Option("--all", help="Also rates that changed by less than 0.01 %.")] = False,
    json: Json = None,
) -> None:
    """Measure the same shapes again, by the same compiler; exit code 1 if a cost grew by more than its budget."""
    from .jobs.bench_baseline import Budgets
    from .report.bench import compare
    from .report.console import console

    budgets = Budgets(budget_instructions, budget_cycles, budget_bytes)
    raise typer.Exit(compare(console(), file, op, budgets, everything, json))


@bench.command("step")
def bench_step(
    model: Annotated[str, typer.Argument(help="A network by name, for example mcunet-5fps.")],
    scheme: Annotated[str | None, typer.Option(help="What trains; else the scheme of about 100 KB.")] = None,
    kernels: Annotated[str, typer.Option(help="m7 or portable.")] = "m7",
    room: Room = 0,
    json: Json = None,
    picture: Pictures = None,
) -> None:
    """Cycles of a training step on the emulated board by layer and stage: forward, backward, gradients, update."""
    from .report.bench_step import step
    from .report.console import console

    files = picture or [Path(f"out/{model}-layers.svg"), Path(f"out/{model}-layers.png")]
    raise typer.Exit(step(console(), model, scheme, kernels, room, json, files))


@bench.command("streaming")
def bench_streaming(
    program: Annotated[
        list[str] | None,
        typer.Option(metavar="MODEL:SCHEME", help="Only this step, for example mcunet-5fps:49kb; can be repeated."),
    ] = None,
    kernels: Annotated[str, typer.Option(help="m7 or portable.")] = "m7",
    room: Room = 0,
    json: Json = None,
) -> None:
    """What streaming costs in cycles and saves in memory: steps as planned, beside each operator once on whole maps."""
    from .report.bench_step import streaming
    from .report.console import console

    raise typer.Exit(streaming(console(), program or (), kernels, room, json))
