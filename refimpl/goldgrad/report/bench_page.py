"""``goldgrad bench kernels --html``: what kernels cost as one page that needs nothing else, pictures inside."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from .._version import __version__
from ..board.timing.table import load
from ..jobs.bench_baseline import RATES
from ..jobs.latency import Step
from .bench import SHORT, Sweep, by_kind
from .bench_pictures import by_layer, roofline
from .peer_counts import counts, peers


def page(sweep: Sweep, steps: Sequence[Step], notes: Sequence[str]) -> bytes:
    """The page; ``steps`` are drawn by layer."""
    environment = Environment(
        loader=PackageLoader("goldgrad.report", "pages"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    changes = {} if sweep.comparison is None else {(c.key, c.cost): c for c in sweep.comparison.changes}
    written = environment.get_template("bench.html").render(
        sweep=sweep,
        version=__version__,
        timing=load(),
        kinds=by_kind(sweep.found),
        groups=[(name, list(group)) for name, group in groupby(sweep.found, key=lambda m: m.function)],
        peers=[(name, SHORT[name]) for name in peers()],
        names=peers(),
        counts={m.key: counts(m.call) for m in sweep.found},
        changes=changes,
        rates=RATES,
        notes=notes,
        roofline=_inline(roofline(sweep.found, ".svg")) if any(m.unit == "MAC" for m in sweep.found) else None,
        layers=[(step, _inline(by_layer(step, ".svg"))) for step in steps],
    )
    return written.encode()


def _inline(svg: bytes) -> Markup:
    """A picture as a part of the page: without the XML declaration and document type of a file of its own."""
    text = svg.decode()
    return Markup(text[text.index("<svg") :])
