"""``goldgrad run digits``: an int8 network, pre-trained on some scans, learns from scans that it has never seen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ..interpreter import Provider, reference
from ..model import Model
from ..models import digits
from ..numerics import Array, same_bits
from ..random import Stream
from ..sparse import Scheme
from ..training import Session

SEED = 746
"""Order of the samples."""


@dataclass
class Result:
    """What a run found.  ``bit_exact`` is None where only one implementation ran."""

    scheme: str
    steps: int
    qas: bool
    rate: float
    trained_bytes: int
    accuracy_before: float
    accuracy_after: float = 0.0
    loss: list[float] = field(default_factory=list)
    bit_exact: bool | None = None
    first_difference: str | None = None
    seconds: float = 0.0

    @property
    def label(self) -> str:
        """The run's name in tables and pictures."""
        return self.scheme if self.qas else f"{self.scheme}, no QAS"

    def document(self) -> dict[str, Any]:
        """The content of ``--json``."""
        return asdict(self)


def accuracy(session: Session, scans: digits.Scans) -> float:
    """The share of scans whose largest logit is the label's (the first, where logits are equal)."""
    logits = session.predict(scans.feeds())["classifier.y"]
    return float((logits.reshape(len(scans), -1).argmax(axis=1) == scans.labels).mean())


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
    model: Model,
    scheme: Scheme,
    steps: int,
    rate: float,
    provider: Provider | None = None,
    qas: bool = True,
    progress: Callable[[int, float], None] = lambda step, loss: None,
) -> Result:
    """Train ``steps`` samples in the interpreter and, step by step beside it, through ``provider``.

    Without a provider the interpreter runs alone.
    """
    start = time.perf_counter()
    train, held_out = digits.new_scans()
    session = Session(model, scheme, reference, qas=qas)
    other = Session(model, scheme, provider, qas=qas) if provider else None
    result = Result(
        scheme.name, steps, qas, rate, session.trained_bytes, accuracy(other or session, held_out),
        bit_exact=True if other else None,
    )  # fmt: skip
    for step, index in enumerate(order(len(train), steps)):
        sample = train.sample(index)
        outputs = session.step(sample, rate)
        if other:
            difference = first_difference(
                {**outputs, **session.parameters}, {**other.step(sample, rate), **other.parameters}
            )
            if difference and result.bit_exact:
                result.bit_exact, result.first_difference = False, f"step {step}, {difference}"
        result.loss.append(float(outputs["loss"][0]))
        progress(step, result.loss[-1])
    result.accuracy_after = accuracy(session, held_out)
    result.seconds = time.perf_counter() - start
    return result
