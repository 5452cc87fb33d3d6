"""The judge of class DOT is judged: just inside and just outside of every bound, and what no bound sees."""

from __future__ import annotations

import numpy as np
import pytest

from goldgrad import kernels, ops
from goldgrad.conformance import Case, Mismatch, PythonKernels, verify
from goldgrad.conformance.dot import PRODUCTS, judgement, sums
from goldgrad.conformance.properties import DOT, PROPERTIES
from goldgrad.conformance.search import search
from goldgrad.conformance.strategies import CASES, Flavour, cases
from goldgrad.ops import FUNCTIONS

mark = pytest.mark
SUMS = sorted(PRODUCTS)


def drawn(function: str, flavour: Flavour = Flavour.REAL, count: int = 8) -> list[Case]:
    """The same cases each time."""
    from hypothesis import HealthCheck, Phase, given, settings

    found: list[Case] = []

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
        deadline=None,
    )
    @given(cases(CASES[function], flavour))
    def each(case: Case) -> None:
        found.append(case)

    each()
    return found


def answering(function: str, *results: np.ndarray) -> PythonKernels:
    """A provider that gives these results whatever it is asked."""
    return PythonKernels("planted", {function: lambda *arrays, **attributes: results})


def planted(function: str, kernel) -> PythonKernels:
    return PythonKernels("planted", {function: kernel})


def faults(name: str, case: Case, provider: PythonKernels) -> str:
    try:
        verify(name, case, provider)
    except Mismatch as mismatch:
        return mismatch.fault
    return ""


def edge(value: float, bound: float, up: bool) -> tuple[np.float32, np.float32]:
    """The last float32 within the bound on one side, and the next one beyond it."""
    inside, far = np.float32(value), np.float32(np.inf if up else -np.inf)
    with np.errstate(over="ignore"):
        inside = np.float32(value + (bound if up else -bound))
        while abs(float(inside) - value) > bound:
            inside = np.nextafter(inside, -far)
        while abs(float(np.nextafter(inside, far)) - value) <= bound:
            inside = np.nextafter(inside, far)
    return inside, np.nextafter(inside, far)


@mark.rules("NUM-N15", "SCE-N1")
@pytest.mark.parametrize("function", sorted(DOT))
@pytest.mark.parametrize("up", [True, False])
def test_the_last_number_within_a_bound_passes_and_the_next_does_not(function, up):
    """At every place of an element, the first and the last among them."""
    tried = 0
    for case in drawn(function):
        results = dict(zip(case.entry.outputs, case.reference(), strict=True))
        for name, (value, bound) in judgement(case).items():
            for at in {0, value.size - 1, int(np.argmax(np.abs(value)))}:
                if not np.isfinite(bound.flat[at]):
                    continue
                inside, outside = edge(float(value.flat[at]), float(bound.flat[at]), up)
                for number, passes in ((inside, True), (outside, False)):
                    changed = {n: a.copy() for n, a in results.items()}
                    changed[name].flat[at] = number
                    said = faults("bound", case, answering(function, *changed.values()))
                    assert bool(said) is not passes, (case, name, at, value.flat[at], bound.flat[at], number)
                    if not passes:
                        assert said.startswith(f"1 of {value.size} elements of {name} out of bounds, first at ")
                        assert f"0x{number.view(np.uint32):08x}" in said
                        assert "times as far as it may be" in said
                    tried += 1
    assert tried >= 20


@mark.rules("NUM-N15", "SCE-N1")
@pytest.mark.parametrize("function", sorted(DOT))
@pytest.mark.parametrize("factor", [1.24, 0.76, -1.0, np.nan])
def test_a_function_that_is_24_percent_wrong_fails(function, factor):
    def wrong(*arrays, **attributes):
        results = FUNCTIONS[function](*arrays, **attributes)
        return tuple(r * np.float32(factor) for r in results)

    with np.errstate(all="ignore"):
        assert search("bound", function, planted(function, wrong), examples=60, same=True) is not None


@mark.rules("NUM-N15")
@pytest.mark.parametrize("function", SUMS)
def test_hard_operands_ask_nothing_or_can_be_met(function):
    """Overflow, infinities and NaN: the stated order is always within what is asked of it."""
    for case in drawn(function, Flavour.HARD, 25):
        assert not faults("bound", case, answering(function, *case.reference()))


def test_what_overflows_asks_nothing():
    case = Case("bias_gradient.forward", (np.array([[2.0**127, 2.0**127, -(2.0**127)]], np.float32).T, None))
    assert np.isinf(sums(case).bound).all()
    assert not faults("bound", case, answering("bias_gradient.forward", np.array([7], np.float32)))


# Another order is no fault


def in_pairs(g, db0=None):
    rows = [*g.reshape(-1, g.shape[-1])] + ([] if db0 is None else [db0])
    while len(rows) > 1:
        rows = [rows[i] + rows[i + 1] if i + 1 < len(rows) else rows[i] for i in range(0, len(rows), 2)]
    return rows[0]


def by_matrix(g, x, dw0=None, *, x_zero):
    dw = g.T @ (x.reshape(len(x), -1).astype(np.float32) - np.float32(x_zero))
    return dw if dw0 is None else dw + dw0


def backwards(g, w, dx0=None, trained=None, channels=None, in_shape=None):
    w = ops._split_weight.merge(w, trained, channels)
    dx = ops.fully_connected.vjp_x(np.ascontiguousarray(g[:, ::-1]), np.ascontiguousarray(w[::-1]))
    return dx if dx0 is None else dx + dx0


@mark.rules("NUM-N15", "NUM-N16")
@pytest.mark.parametrize(
    ("function", "kernel"),
    [
        ("bias_gradient.forward", in_pairs),
        ("fully_connected.vjp_w", by_matrix),
        ("fully_connected.vjp_x", backwards),
    ],
)
def test_sums_in_another_order_conform(function, kernel):
    with np.errstate(all="ignore"):
        for name in ("bound", "bias", "update"):
            if PROPERTIES[name].applies(FUNCTIONS[function]):
                found = search(name, function, planted(function, kernel), examples=60, same=True)
                assert found is None, str(found)
    assert search("bits", function, planted(function, kernel), examples=60, same=True) is not None


# What no bound sees


def leaning(g, db0, to):
    """The bias gradient with every addition rounded to one side, unless that is more than three quarters of the way.

    Were it always, two additions to a power of two would be enough to leave the bound.
    """
    total = np.zeros(g.shape[-1], np.float32) if db0 is None else db0.copy()
    for row in g.reshape(-1, g.shape[-1]):
        exact = total.astype(np.float64) + row
        near = exact.astype(np.float32)
        beside = np.nextafter(near, to).astype(np.float64)
        is_between = (near > exact) == (beside < exact)
        is_near = np.abs(beside - exact) <= 3 * np.abs(near - exact)
        total = np.where(is_between & (near != exact) & is_near, beside.astype(np.float32), near)
    return total


def down(g, db0=None):
    return leaning(g, db0, np.float32(-np.inf))


def toward_zero(g, db0=None):
    return leaning(g, db0, np.float32(0))


@mark.rules("NUM-N15")
@pytest.mark.parametrize(("kernel", "side"), [(down, "lean down"), (toward_zero, "lean toward zero")])
def test_a_kernel_that_rounds_to_one_side_is_within_bounds_and_found(kernel, side):
    function = "bias_gradient.forward"
    with np.errstate(all="ignore"):
        assert search("bound", function, planted(function, kernel), examples=60, same=True) is None
        found = search("bias", function, planted(function, kernel), examples=200, same=True)
    assert found is not None
    assert side in found.fault


@mark.rules("NUM-N15")
@pytest.mark.parametrize("function", [f for f in SUMS if PROPERTIES["bias"].applies(FUNCTIONS[f])])
def test_rounding_to_nearest_leans_to_no_side(function):
    assert search("bias", function, PythonKernels("c", {function: _c(function)}), examples=60, same=True) is None


def _c(function):
    return lambda *arrays, **attributes: kernels.run(function, *arrays, **attributes)


# Codes after an update


def stepped(step: int, fraction: float) -> tuple[Case, np.ndarray]:
    """A weight 1 whose gradient is 1.5 less ``fraction``, and its code after the update, off by ``step``."""
    g = np.array([[1.0], [2.0**-20], [0.5 - 2.0**-20 - fraction]], np.float32)
    case = Case("fully_connected.vjp_w", (g, np.ones((3, 1), np.int8), None), {"x_zero": 0})
    case = case.also(w=np.array([[1]], np.int8), q=np.ones(1, np.float32), lr=np.ones(1, np.float32))
    (dw,) = case.reference()
    (code,) = Case("sgd_update_weight.update", (case.extra["w"], dw, case.extra["q"], case.extra["lr"])).reference()
    return case, code + np.int8(step)


@mark.rules("NUM-N16", "UPW-S2")
@pytest.mark.parametrize(
    ("step", "fraction", "passes"),
    [
        (0, 0.0, True),
        (-1, 0.0, True),
        (1, 0.0, False),
        (0, 0.2, True),
        (1, 0.2, False),
        (-1, 0.2, False),
        (-2, 0.0, False),
    ],
)
def test_a_code_may_differ_by_one_only_where_the_bound_straddles_a_half(step, fraction, passes):
    """w - dw is -0.5, which rounds to 0; -1 is in reach too, 1 is not.  At -0.3 only 0 is."""
    case, code = stepped(step, fraction)
    both = PythonKernels(
        "planted",
        {
            "fully_connected.vjp_w": ops.fully_connected.vjp_w,
            "sgd_update_weight.update": lambda *arrays: code,
        },
    )
    said = faults("update", case, both)
    assert bool(said) is not passes, said
    if not passes:
        assert "codes after an update are out of reach, first at [0, 0]" in said


@mark.rules("NUM-N16", "UPB-S1")
def test_a_bias_after_an_update_is_in_reach_too():
    def truncated(b, db, q, limit, lr):
        return np.clip(b - np.trunc(db * (lr * q)).astype(np.int64), -limit, limit).astype(np.int32)

    both = {"bias_gradient.forward": ops.bias_gradient.forward, "sgd_update_bias.update": truncated}
    with np.errstate(all="ignore"):
        found = search("update", "bias_gradient.forward", PythonKernels("planted", both), examples=60, same=True)
    assert found is not None
    assert "out of reach" in found.fault


# The loss


@mark.rules("SCE-N1")
def test_a_loss_with_functions_of_its_own_conforms():
    function = "softmax_cross_entropy.forward"

    def own(q, target, s):
        d = (q.astype(np.int32) - q.max(axis=1, keepdims=True).astype(np.int32)).astype(np.float32) * s
        e = np.exp(d)
        total = e.sum(axis=1, dtype=np.float32, keepdims=True)
        one = (np.arange(q.shape[1]) == target[:, None]).astype(np.float32)
        return np.log(total)[:, 0] - d[np.arange(len(q)), target], (e / total - one) * s

    def without_scale(q, target, s):
        loss, dq = own(q, target, np.ones(1, np.float32))
        return loss, dq

    with np.errstate(all="ignore"):
        assert search("bound", function, planted(function, own), examples=80, same=True) is None
        assert search("bits", function, planted(function, own), examples=80, same=True) is not None
        assert search("bound", function, planted(function, without_scale), examples=80, same=True) is not None


def test_every_function_whose_page_says_dot_is_judged():
    from goldgrad import paths

    said = set()
    for page in (paths.data("specs") / "ops").glob("*.md"):
        for line in page.read_text().splitlines():
            if line.startswith("| ") and ("or DOT" in line or "within SCE-N1" in line):
                said.add(f"{page.stem}.{line.split('|')[1].strip()}")
    assert said | {"softmax_cross_entropy.from_probabilities"} == DOT
