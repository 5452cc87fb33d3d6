"""Time the compiler and the interpreter of whole training steps: a part of ``make bench``.

Chains of inverted bottlenecks of 10 to 2,000 nodes show how planning grows; the largest case of the published networks,
and one interpreted step of MCUNet under the scheme 49kb, are held beside their limits.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from goldgrad.autodiff import differentiate
from goldgrad.graph import Graph
from goldgrad.interpreter import run, run_in_arena
from goldgrad.memory.bound import bound_of_any_order, floor
from goldgrad.memory.demand import demands
from goldgrad.memory.offsets import place
from goldgrad.memory.plan import CHOICES, check_plan, plan
from goldgrad.models import MODELS, architecture
from goldgrad.models._network import Network
from goldgrad.models.synthetic import samples
from goldgrad.passes import PASSES
from goldgrad.passes.dce import eliminate_dead_code
from goldgrad.passes.reorder import order
from goldgrad.random import Stream
from goldgrad.report.planned import training_graph
from goldgrad.schemes import named, names
from goldgrad.training import Session

BLOCKS = (0, 1, 4, 12, 41, 83)
"""Inverted bottlenecks of the chains: 10 (the classifier trains alone), 41, 113, 305, 1,001 and 2,009 nodes."""
PLAN_SECONDS, STEP_SECONDS, STEP_BYTES = 20, 30, 2 * 2**30
"""Limits, on one core."""


class Clock:
    """Seconds of this process, so that what else the machine does is not counted."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        start = time.process_time()
        yield
        self.seconds[what] = time.process_time() - start


def chain(blocks: int) -> Graph:
    """The training graph of a chain of inverted bottlenecks; all of it trains, or without blocks the classifier."""
    n = Network("chain", {})
    x = n.conv("stem", n.image((1, 32, 32, 3), 1 / 128, 128), 8, kernel=3, stride=2)
    for number in range(blocks):
        x = n.inverted_bottleneck(f"block{number}", x, expanded=32, outputs=8, kernel=3)
    graph = differentiate(n.loss(n.classifier(n.global_average(x), 10)), "loss")
    head = {old: new for old, new in graph.updates.items() if blocks or old.startswith("classifier")}
    return eliminate_dead_code(graph.with_nodes(graph.nodes, updates=head))


def compile_step(graph: Graph) -> Clock:
    """What plan() does, timed part by part."""
    clock = Clock()
    with clock("passes"):
        for change in PASSES.values():
            graph = change(graph)
    with clock("order"):
        graph = order(graph).graph
    with clock("placement"):
        asked = demands(graph)
        placement = place(graph, asked)
    with clock("bounds, checks"):
        check_plan(graph, placement)
        bound_of_any_order(graph, asked)
        floor(graph)
    return clock


def growth() -> None:
    """Print a line a chain."""
    print(f"{'Planning a chain of inverted bottlenecks':42} {'seconds':>9}")
    for blocks in BLOCKS:
        graph = chain(blocks)
        clock = compile_step(graph)
        parts = ", ".join(f"{what} {seconds:.2f}" for what, seconds in clock.seconds.items())
        print(f"{f'{len(graph.nodes):,} nodes':42} {sum(clock.seconds.values()):9.2f}  {parts}")


def largest_plan() -> None:
    """Print the plan that takes longest, over the published networks, their schemes, and what is left out."""
    longest = 0.0, ""
    for name in (name for name, entry in MODELS.items() if entry.published):
        model = architecture(name).model()
        for scheme in ("full", *names(name)):
            graph = training_graph(model, named(model, scheme))
            for without in ((), ("stream-backward",), ("stream-forward", "stream-backward"), ("in-place",), CHOICES):
                clock = Clock()
                with clock("plan"):
                    plan(graph, without)
                what = f"{name}, {scheme}" + (f", without {', '.join(without)}" if without else "")
                longest = max(longest, (clock.seconds["plan"], what))
    seconds, what = longest
    print(f"{'Longest of 90 plans of published networks':42} {seconds:9.2f}  limit {PLAN_SECONDS}; {what}")


def step(in_arena: bool) -> tuple[float, int]:
    """Seconds of one interpreted step of MCUNet 49kb, and the most bytes that its process had."""
    model = architecture("mcunet-5fps").model()
    session = Session(model, named(model, "49kb"))
    everything = {
        **session.constants,
        **session.parameters,
        **samples(model.graph, 1, Stream(1)),
        "lr": np.float32([0.01]),
    }
    found = plan(session.graph)
    feeds = {tensor.name: everything[tensor.name] for tensor in found.graph.outside()}
    start = time.process_time()
    if in_arena:
        run_in_arena(found.graph, feeds, found.placement)
    else:
        run(found.graph, feeds)
    seconds = time.process_time() - start
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def steps() -> None:
    """Print one step in separate buffers, and one inside the arena; each in a process of its own."""
    limits = f"limits {STEP_SECONDS} s, {STEP_BYTES / 2**20:,.0f} MiB"
    for words, in_arena in (("in separate buffers", False), ("inside the planned arena", True)):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            seconds, peak = pool.apply(step, (in_arena,))
        name = f"A step of mcunet-5fps, 49kb, {words}"
        print(f"{name:52} {seconds:7.2f} s, process {peak / 2**20:,.0f} MiB; {limits}")


def main() -> None:
    """Print all of it."""
    growth()
    largest_plan()
    steps()


if __name__ == "__main__":
    main()
