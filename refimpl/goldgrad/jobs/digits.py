"""``goldgrad run digits``: an int8 network, pre-trained on some scans, learns from scans that it has never seen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import GoldgradError
from ..interpreter import Provider, reference
from ..model import Model
from ..model_file import load
from ..models import digits
from ..numerics import Array, same_bits
from ..ops import Type
from ..random import Stream
from ..sparse import BIAS_ONLY, FULL, HEAD, Scheme, load_scheme
from ..training import Session

TASK = (
    f"pre-trained on {digits.PRETRAINING} upright scans of handwritten digits; learns, one scan a step, "
    "other people's scans turned by a quarter"
)
SCHEMES = ("full", "sparse", "bias", "head")
RATES_WITHOUT_QAS = (300.0, 600.0, 1000.0)
"""Learning rates to try without quantization-aware scaling: steps on codes, so of another size."""
WITHOUT_QAS = ("full", "sparse", "bias")
"""Schemes to train without quantization-aware scaling as well."""
SEED = 746
"""Order of the samples."""

Progress = Callable[[int, float], None]
_PACKAGE = Path(__file__).parents[1]


@dataclass
class Result:
    """What a run found.  ``bit_exact`` is None where only one implementation ran; ``compared`` counts values."""

    scheme: str
    steps: int
    qas: bool
    rate: float
    trained_bytes: int
    accuracy_before: float
    accuracy_after: float = 0.0
    loss: list[float] = field(default_factory=list)
    bit_exact: bool | None = None
    compared: int = 0
    first_difference: str | None = None
    seconds: float = 0.0

    @property
    def label(self) -> str:
        """The run's name in tables and pictures."""
        return self.scheme if self.qas else f"{self.scheme}, no QAS"

    @property
    def title(self) -> str:
        """The label, with the rate where it is not told by the label."""
        return self.label if self.qas else f"{self.label}, {self.rate:g}"

    @property
    def gain(self) -> float:
        """Accuracy after less before."""
        return self.accuracy_after - self.accuracy_before

    def document(self) -> dict[str, Any]:
        """The content of ``--json``."""
        return asdict(self)


def model(file: Path | None = None) -> Model:
    """The pre-trained network that goldgrad ships, or one from a file (specs/model-format.md).

    It takes a scan, ``image`` uint8 [1, 8, 8, 1] and ``target`` int32 [1], and gives ``classifier.y`` and ``loss``.
    """
    found = load(file or _PACKAGE / "models" / "digits.json")
    wanted = {
        "image": Type((1, 8, 8, 1), "uint8"),
        "target": Type((1,), "int32"),
        "classifier.y": Type((1, 10), "int8"),
    }
    for name, expected in wanted.items():
        if name not in found.graph.tensors or found.graph[name].type != expected:
            raise GoldgradError(
                f"{file} is no network for digits: it has no {name} of type {expected}; give one that has"
            )
    if set(found.graph.outputs) != {"classifier.y", "loss"}:
        raise GoldgradError(f"{file} is no network for digits: its outputs must be classifier.y and loss")
    return found


def scheme(name: str) -> Scheme:
    """A scheme by name, or from a TOML file."""
    named = {"full": FULL, "bias": BIAS_ONLY, "head": HEAD}
    if name in named:
        return named[name]
    if name == "sparse":
        return load_scheme(_PACKAGE / "schemes" / "digits-sparse.toml")
    if not Path(name).exists():
        raise GoldgradError(f"there is no scheme or file {name!r}; use {', '.join(SCHEMES)} or a TOML file")
    return load_scheme(Path(name))


def held_out_count() -> int:
    """How many scans accuracy is measured on."""
    return digits.HELD_OUT


def accuracy(session: Session, scans: digits.Scans) -> float:
    """The share of scans whose largest logit is the label's (the first, where logits are equal)."""
    logits = session.predict(scans.feeds())["classifier.y"]
    return float((logits.argmax(axis=1) == scans.labels).mean())


def order(count: int, steps: int) -> Iterator[int]:
    """Indices of samples: permutation after permutation, ``steps`` in all."""
    stream, done = Stream(SEED), 0
    while done < steps:
        for index in stream.permutation(count)[: steps - done]:
            yield int(index)
            done += 1


def first_difference(ours: Mapping[str, Array], theirs: Mapping[str, Array]) -> str | None:
    """The first tensor in which two sets of values differ, and where; None if every bit agrees."""
    for name, value in ours.items():
        same = same_bits(value, theirs[name])
        if not same.all():
            index = tuple(int(i) for i in np.unravel_index(int(np.argmin(same)), same.shape))
            return f"{name}{list(index)}: {value[index]!r} and {theirs[name][index]!r}"
    return None


def run(
    network: Model, chosen: Scheme, steps: int, rate: float, kernels: bool = True, progress: Progress | None = None
) -> Result:
    """Train ``steps`` samples in the interpreter and, with ``kernels``, step by step beside it through C."""
    from .. import kernels as c

    return _train(network, chosen, steps, rate, (reference, c.run) if kernels else (reference,), True, progress)


def run_c(
    network: Model, chosen: Scheme, steps: int, rate: float, qas: bool = True, progress: Progress | None = None
) -> Result:
    """Train through the C kernels alone."""
    from .. import kernels as c

    return _train(network, chosen, steps, rate, (c.run,), qas, progress)


def _train(
    network: Model,
    chosen: Scheme,
    steps: int,
    rate: float,
    providers: tuple[Provider, ...],
    qas: bool,
    progress: Progress | None,
) -> Result:
    start = time.perf_counter()
    train, held_out = digits.new_scans()
    sessions = [Session(network, chosen, provider, qas=qas) for provider in providers]
    first, *others = sessions
    before = accuracy(first, held_out)
    result = Result(chosen.name, steps, qas, rate, first.trained_bytes, before, bit_exact=True if others else None)
    for step, index in enumerate(order(len(train), steps)):
        sample = train.sample(index)
        outputs = first.step(sample, rate)
        for other in others:
            values = {**outputs, **first.weights()}
            difference = first_difference(values, {**other.step(sample, rate), **other.weights()})
            result.compared += sum(value.size for value in values.values())
            if difference and result.bit_exact:
                result.bit_exact, result.first_difference = False, f"step {step}, {difference}"
        result.loss.append(float(outputs["loss"][0]))
        if progress:
            progress(step, result.loss[-1])
    result.accuracy_after = accuracy(first, held_out)
    result.seconds = time.perf_counter() - start
    return result
