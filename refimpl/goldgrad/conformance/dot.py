"""The judge of class DOT (NUM-N15): what a gradient is exactly, and how far a float32 sum in any order may be from it.

Written apart from the operators: where a tap lies is told by a window over the numbers of the pixels, and products are
summed in float64.  That is 2^29 times finer than what is judged; the bound allows for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..numerics import F64, Array, dot_bound, quiet
from .case import Case
from .linear import LINEAR, exact, geometry, windows


@dataclass(frozen=True)
class Sums:
    """For each element of a gradient: the exact sum, the sum of magnitudes, and how many terms they have."""

    value: F64
    magnitude: F64
    terms: Array
    lost: F64 | float = 0.0
    """What a factor that is rounded, and subnormal, may add."""
    products: F64 | float = 0.0
    """The exact sum without what it starts from."""

    @property
    def bound(self) -> F64:
        """How far a result may be from :attr:`value`; infinite where the class asks nothing."""
        with np.errstate(all="ignore"):
            bound = dot_bound(self.magnitude, self.terms) + self.terms * 2.0**-51 * self.magnitude + self.lost
            return np.where(np.isfinite(self.value) & np.isfinite(self.magnitude), bound, np.inf)


Products = Callable[[Case, F64, F64], F64]
"""``f(case, g, factors)``: each element's sum of products, without a start; linear in both."""

PRODUCTS: dict[str, Products] = {}


@quiet
def sums(case: Case) -> Sums:
    """Value, magnitude and terms of each element of the gradient that ``case`` asks for."""
    linear, products = LINEAR[case.function], PRODUCTS[case.function]
    g, factors = exact(case, linear.cotangent), linear.made_of(case)
    if "mask" in case.operands:  # what the clamp held takes no part, NaN included
        g, factors = np.where(factors == 0, 0.0, g), np.where(factors == 0, 0.0, factors)
    value = without_start = products(case, g, factors)
    magnitude = products(case, np.abs(g), np.abs(factors))
    terms = products(case, np.ones_like(g), np.ones_like(factors)).astype(np.int64)
    lost: F64 | float = 0.0
    if case.function == "avg_pool2d.vjp_x":  # the share is rounded too
        terms, lost = terms + 1, products(case, np.abs(g), np.ones_like(factors)) * 2.0**-149
    start = case.operands.get(next((row.input for row in case.entry.aliases if row.input in case.entry.optional), ""))
    if start is not None:
        value, magnitude, terms = value + start, magnitude + np.abs(start.astype(np.float64)), terms + 1
    return Sums(value, magnitude, np.maximum(terms, 1), lost, without_start)


def _pixels(case: Case, kernel: tuple[int, int]) -> Array:
    """[OH, OW, KH, KW]: the number of the pixel that a tap of an output sees, -1 in the padding."""
    height, width = case.attributes["in_hw"]
    numbers = np.arange(height * width, dtype=np.float64).reshape(1, height, width, 1)
    return windows(numbers, kernel, **geometry(case), fill=-1.0)[0, :, :, 0].astype(int)


def _scattered(case: Case, products: F64, kernel: tuple[int, int]) -> F64:
    """Products [N, OH, OW, KH, KW, C], added up where their taps lie."""
    height, width = case.attributes["in_hw"]
    place = _pixels(case, kernel)
    sums: F64 = np.zeros((height * width + 1, len(products), products.shape[-1]))
    np.add.at(sums, place.reshape(-1), np.moveaxis(products, 0, 4).reshape(place.size, len(products), -1))
    return np.moveaxis(sums[:-1], 1, 0).reshape(len(products), height, width, -1)  # the last is the padding


def _conv_x(case: Case, g: F64, w: F64) -> F64:
    return _scattered(case, np.einsum("nabo,okli->nabkli", g, w, optimize=True), (w.shape[1], w.shape[2]))


def _conv_w(case: Case, g: F64, x: F64) -> F64:
    seen = windows(x, case.attributes["kernel"], **geometry(case))
    result: F64 = np.einsum("nabo,nabikl->okli", g, seen, optimize=True)
    return result


def _depthwise_x(case: Case, g: F64, w: F64) -> F64:
    return _scattered(case, g[:, :, :, None, None] * w, (w.shape[0], w.shape[1]))


def _depthwise_w(case: Case, g: F64, x: F64) -> F64:
    channels = case.operands["channels"]
    seen = windows(x, case.attributes["kernel"], **geometry(case))
    chosen = g if channels is None else g[..., channels]
    result: F64 = np.einsum("nabc,nabckl->klc", chosen, seen, optimize=True)
    return result


def _pooled_x(case: Case, gy: F64, shares: F64) -> F64:
    kernel = case.attributes["kernel"]
    seen = (*gy.shape[:3], *kernel, gy.shape[3])
    return _scattered(case, np.broadcast_to((gy * shares)[:, :, :, None, None], seen), kernel)


def _won_x(case: Case, gy: F64, through: F64) -> F64:
    kernel = case.attributes["kernel"]
    taps = np.arange(kernel[0] * kernel[1]).reshape(*kernel, 1)
    won = exact(case, "index")[:, :, :, None, None] == taps
    return _scattered(case, np.where(won, (gy * through)[:, :, :, None, None], 0.0), kernel)


PRODUCTS |= {
    "conv2d.vjp_x": _conv_x,
    "conv2d.vjp_w": _conv_w,
    "depthwise_conv2d.vjp_x": _depthwise_x,
    "depthwise_conv2d.vjp_w": _depthwise_w,
    "fully_connected.vjp_x": lambda case, g, w: (g @ w).reshape(case.types[0].shape),
    "fully_connected.vjp_w": lambda case, g, x: g.T @ x.reshape(len(x), -1),
    "bias_gradient.forward": lambda case, g, ones: (g * ones).reshape(-1, g.shape[-1]).sum(axis=0),
    "avg_pool2d.vjp_x": _pooled_x,
    "max_pool2d.vjp_x": _won_x,
}

SIGMAS = 8.0
"""Standard deviations of a fair coin beyond which signs are no accident."""
SHARE = 0.25
"""And how far from half and half they must be: correlated elements stray a little."""
FEWEST = 64
"""Elements below which nothing is said."""


def leaning(found: Sums, got: Array) -> tuple[str, float, int] | None:
    """Whether the errors of a result lean to one side, as rounding down or toward zero makes them.

    ``(side, share, elements)``, or None.  Rounding to nearest errs to either side alike, whatever the order of the sum.
    Elements whose exact sums of products agree in magnitude, to float32, may be one and the same sum, whatever they
    start from, and count once; so do those whose errors are as many ulps: sums of two terms that share one err alike,
    as far as their other terms are whole ulps.
    """
    with np.errstate(all="ignore"):
        error = np.asarray(got, np.float64) - found.value
        telling = (error != 0) & np.isfinite(found.bound) & np.isfinite(error) & (found.magnitude > 2.0**-100)
    told, value = error[telling], found.value[telling]
    products = np.broadcast_to(found.products, error.shape)[telling]
    _, first = np.unique(np.abs(products).astype(np.float32), return_index=True)
    told, value = told[first], value[first]
    ulps = np.abs(told) / np.spacing(np.maximum(np.abs(value), 2.0**-126).astype(np.float32)).astype(np.float64)
    _, first = np.unique(np.rint(ulps * 2.0**20), return_index=True)
    signs, values = np.sign(told)[first], np.sign(value)[first]
    sides = {"down": -signs, "up": signs, "toward zero": -signs * values, "away from zero": signs * values}
    for side, leans in sides.items():
        count = int(np.count_nonzero(leans))
        mean = float(leans.sum()) / (count or 1)
        if count >= FEWEST and mean > SHARE and mean * np.sqrt(count) > SIGMAS:
            return side, (1 + mean) / 2, count
    return None


Judgement = dict[str, tuple[F64, F64]]
"""By result: what it is exactly, and how far from that it may be; infinite where nothing is asked."""

EXP_ULPS = LOG_ULPS = 0.9
"""E and K of SCE-N1: those of exp32 and log32 (NUM-N10, NUM-N11)."""
SECOND_ORDER = 1 + 2.0**-10
"""SCE-N1 holds to first order in u; what is left out is far below this part of the bound."""


def judgement(case: Case) -> Judgement:
    """What class DOT asks of each result: NUM-N15, or SCE-N1 for the loss."""
    if case.function in PRODUCTS:
        found = sums(case)
        return {case.entry.outputs[0]: (found.value, found.bound)}
    return _softmax(case)


@quiet
def _softmax(case: Case) -> Judgement:
    u = 2.0**-24
    q, s, target = exact(case, "q"), exact(case, "s").item(), exact(case, "target")
    d = (q - q.max(axis=1, keepdims=True)) * s
    e = np.exp(d)
    total = e.sum(axis=1, keepdims=True)
    p, log_total = e / total, np.log(total)
    relative = (np.abs(d) + 2 * EXP_ULPS) * u
    wrong = e * relative + np.where(e < 2.0**-126, (EXP_ULPS + 1) * 2.0**-149, 0)
    of_total = wrong.sum(axis=1, keepdims=True) / total + (q.shape[1] - 1) * u
    of_log = of_total + 2 * LOG_ULPS * u * log_total
    t = target if target.ndim == 2 else 1.0 * (np.arange(q.shape[1]) == target[:, None])
    loss = (t * (log_total - d)).sum(axis=1)
    if target.ndim == 2:
        of_loss = (t * (of_log + u * (np.abs(d) + log_total - d))).sum(axis=1) + q.shape[1] * u * loss
    else:
        of_loss = of_log[:, 0] + u * ((t * np.abs(d)).sum(axis=1) + loss)
    of_dq = s * (wrong / total + p * (of_total + u) + 2 * u * np.abs(p - t)) + 2.0**-149
    asks = s * 255 < np.finfo(np.float32).max
    return {
        "loss": (loss, np.where(asks, of_loss * SECOND_ORDER + 2.0**-149, np.inf)),
        "dq": ((p - t) * s, np.where(asks, of_dq * SECOND_ORDER, np.inf)),
    }
