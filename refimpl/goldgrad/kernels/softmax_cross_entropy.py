"""softmax_cross_entropy in C (kernels_c/include/goldgrad/softmax_cross_entropy.h)."""

from __future__ import annotations

from typing import Any

from ..ops.softmax_cross_entropy import check_classes, check_probabilities
from ._binding import binds, lib, namespace, pointer, samples

__getattr__ = namespace("softmax_cross_entropy").__getattr__


@binds("softmax_cross_entropy.forward")
def _forward(inputs: Any, outputs: Any, scratch: Any) -> None:
    q, target, s = inputs
    loss, dq = outputs
    check_classes(target, q.shape[1])  # C would read outside q
    losses = None if loss is None else loss.reshape(-1, 1)
    for q_n, target_n, loss_n, dq_n in samples(q, target.reshape(-1, 1), losses, dq):
        lib.gg_softmax_cross_entropy_forward(
            q.shape[1],
            pointer("int8_t", q_n),
            pointer("int32_t", target_n),
            pointer("float", s),
            pointer("float", loss_n),
            pointer("float", dq_n),
        )


@binds("softmax_cross_entropy.from_probabilities")
def _from_probabilities(inputs: Any, outputs: Any, scratch: Any) -> None:
    q, target, s = inputs
    loss, dq = outputs
    check_probabilities(target)
    losses = None if loss is None else loss.reshape(-1, 1)
    for q_n, target_n, loss_n, dq_n in samples(q, target, losses, dq):
        lib.gg_softmax_cross_entropy_from_probabilities(
            q.shape[1],
            pointer("int8_t", q_n),
            pointer("float", target_n),
            pointer("float", s),
            pointer("float", loss_n),
            pointer("float", dq_n),
        )
