"""Which new task is harder for the digits network: classes never seen, or turned scans of other people.

Both by the same measure: pre-train as the shipped model is, then the full update of one scan a step, then the accuracy
on held-out scans.  ``goldgrad run digits`` takes the harder.  Usage::

    python refimpl/tools/choose_digits_task.py
"""

from __future__ import annotations

from pretrain_digits import pretrain

from goldgrad import kernels
from goldgrad.jobs import digits as job
from goldgrad.model import Model
from goldgrad.models import digits
from goldgrad.sparse import FULL
from goldgrad.training import Session

STEPS, RATE = 2000, 0.02


def learn(model: Model, train: digits.Scans, held_out: digits.Scans) -> tuple[float, float]:
    """Accuracy on the held-out scans before and after the full update."""
    session = Session(model, FULL, kernels.run)
    before = job.accuracy(session, held_out)
    for index in job.order(len(train), STEPS):
        session.step(train.sample(index), RATE)
    return before, job.accuracy(session, held_out)


def main() -> None:
    """Print the accuracy before and after for both tasks."""
    scans = digits.load_scans()
    *_, (five, _) = pretrain(scans[scans.labels < 5], 8, 0.02, kernels.run)
    others = scans[scans.labels >= 5]
    classes = learn(five, others[: -digits.HELD_OUT], others[-digits.HELD_OUT :])
    turned = learn(job.model(), *digits.new_scans())
    for name, (before, after) in (("classes 5 to 9 after 0 to 4", classes), ("turned scans", turned)):
        print(f"{name}: accuracy {100 * before:.1f} % before, {100 * after:.1f} % after {STEPS} steps")


if __name__ == "__main__":
    main()
