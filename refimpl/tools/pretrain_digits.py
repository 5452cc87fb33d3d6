"""Makes the pre-trained digits model, byte for byte the same on every machine.

All arithmetic of the training is goldgrad's own (int8 forward, float32 backward in a named order, float32 master
copies), run by the C kernels; what is around it is float64 element by element.  Usage::

    python refimpl/tools/pretrain_digits.py [--epochs N] [--rate R] [--out FOLDER]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from goldgrad import kernels
from goldgrad.interpreter import Provider
from goldgrad.model import Model
from goldgrad.model_file import save
from goldgrad.models import digits
from goldgrad.models.calibrate import RealParameters, calibrate
from goldgrad.models.synthetic import he_uniform
from goldgrad.numerics import F64
from goldgrad.random import Stream
from goldgrad.sparse import FULL
from goldgrad.training import Session

SEED = 20221
HEADROOM = 1.25
CALIBRATION = 128
"""Scans that calibrate the scales of activations."""


def real(session: Session) -> RealParameters:
    """The parameters of a session in real units, weights from their master copies."""
    model: Model = session.model
    arrays: dict[str, F64] = {}
    for node in model.layers():
        w, b = node.operand("w"), node.operand("b")
        assert w is not None and b is not None
        scale = model.scales[w].astype(np.float64)
        weight = session.parameters[f"{w}.master"].astype(np.float64)
        arrays[w] = weight * (scale if weight.ndim == 3 else scale.reshape(-1, *[1] * (weight.ndim - 1)))
        arrays[b] = session.parameters[b].astype(np.float64) * scale * model.scale_of(node.operand("x"))
    return RealParameters(arrays)


def pretrain(scans: digits.Scans, epochs: int, rate: float, provider: Provider) -> Iterator[tuple[Model, float]]:
    """After each epoch: the model, calibrated anew, and the mean loss of the epoch."""
    stream = Stream(SEED)
    parameters = he_uniform(digits.network({}), stream)
    for epoch in range(epochs):
        some = scans[stream.permutation(len(scans))[:CALIBRATION]]
        model = calibrate(digits.network, parameters, some.feeds(), HEADROOM, provider=provider)
        session = Session(model, FULL, provider, "master")
        step = rate * (1 - epoch / epochs)
        losses = [float(session.step(scans.sample(int(i)), step)["loss"][0]) for i in stream.permutation(len(scans))]
        parameters = real(session)
        yield calibrate(digits.network, parameters, some.feeds(), provider=provider), float(np.mean(losses))


def accuracy(model: Model, scans: digits.Scans, provider: Provider) -> float:
    """The share of scans whose largest logit is the label's."""
    logits = Session(model, FULL, provider).predict(scans.feeds())["classifier.y"]
    return float((logits.argmax(axis=1) == scans.labels).mean())


def main() -> None:
    """Pre-train, print progress, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--rate", type=float, default=0.02)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "goldgrad" / "models")
    arguments = parser.parse_args()
    scans = digits.pretraining_scans()
    for epoch, (model, loss) in enumerate(pretrain(scans, arguments.epochs, arguments.rate, kernels.run)):
        print(f"epoch {epoch + 1}: loss {loss:.4f}, accuracy {accuracy(model, scans, kernels.run):.4f}", flush=True)
    save(model, arguments.out / "digits.json")


if __name__ == "__main__":
    main()
